// By what a server is asked (RFC 5572 Figure 4: v4v6 is signalled by TCP or UDP, both over IPv6),
// and what is tried next when nobody answers there (docs/decisions/transport-order.md).
#pragma once

namespace dstm::client {

enum class Transport {
    automatic,  // TCP, then UDP
    udp,        // UDP, then TCP
    tcp,        // TCP only
};

}  // namespace dstm::client
