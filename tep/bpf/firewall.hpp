// Whether somebody wants to see IPv4 packets that are forwarded: nftables and iptables hang on the
// kernel's forward hook, which the shortcuts pass by.
#pragma once

namespace dstm::tep::bpf {

enum class ForwardHook {
    empty,
    taken,
    unknown,  // the kernel does not say
};

[[nodiscard]] ForwardHook forward_hook();

}  // namespace dstm::tep::bpf
