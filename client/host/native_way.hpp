// Whether the host reaches IPv4 without the tunnel.
#pragma once

#include <string>

#include "common/dataplane/netlink.hpp"

namespace dstm::client {

// A default route in the main table that leads elsewhere than into `device`, over a link that is
// up, and further than that link.
[[nodiscard]] Result<bool> has_native_ipv4(dataplane::Netlink& netlink, const std::string& device);

}  // namespace dstm::client
