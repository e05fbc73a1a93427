// Whether somebody wants to see packets that are forwarded: nftables and iptables hang on the
// kernel's hooks before, in and behind forwarding (filters, address translation, connection
// tracking), which the shortcuts pass by.
#pragma once

namespace dstm::tep::bpf {

enum class ForwardHook {
    empty,
    taken,
    unknown,  // the kernel does not say
};

enum class ForwardFamily { ipv4, ipv6 };

[[nodiscard]] ForwardHook forward_hook(ForwardFamily family);

}  // namespace dstm::tep::bpf
