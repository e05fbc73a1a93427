// Whether the host has IPsec policies (xfrm), which would encrypt or refuse forwarded packets that
// the shortcuts carry past them.
#pragma once

#include "tep/bpf/firewall.hpp"

namespace dstm::tep::bpf {

// As forward_hook(). Policies of sockets do not count. Needs CAP_NET_ADMIN.
[[nodiscard]] ForwardAnswer ipsec_policy(ForwardFamily family);

}  // namespace dstm::tep::bpf
