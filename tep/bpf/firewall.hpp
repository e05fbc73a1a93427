// Whether somebody wants to see packets that are forwarded: nftables and iptables hang on the
// kernel's hooks before, in and behind forwarding (filters, address translation, connection
// tracking), which the shortcuts pass by.
#pragma once

#include <string>

namespace dstm::tep::bpf {

enum class ForwardHook {
    empty,
    taken,
    unknown,  // the kernel does not say
};

enum class ForwardFamily { ipv4, ipv6 };

struct ForwardAnswer {
    ForwardHook hook = ForwardHook::unknown;
    std::string why;  // who it is, or why it is not known; of empty: none
};

// As it is now, in the thread's network namespace. Needs CAP_NET_ADMIN.
[[nodiscard]] ForwardAnswer forward_hook(ForwardFamily family);

// Whether the host forwards packets of this family at all; single interfaces may differ.
[[nodiscard]] bool is_forwarding(ForwardFamily family);

// Which way packets go on such an answer when it is left to it: "straight ...".
[[nodiscard]] std::string way_on(const ForwardAnswer& answer);

}  // namespace dstm::tep::bpf
