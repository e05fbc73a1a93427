// By what a server is asked (RFC 5572 Figure 4: v4v6 is signalled by TCP or UDP, both over IPv6),
// and what is tried next when nobody answers there (docs/decisions/transport-order.md).
#pragma once

#include <string>

namespace dstm::client {

enum class Transport {
    automatic,  // TCP, then UDP
    udp,        // UDP, then TCP
    tcp,        // TCP only
};

// TSP over TLS, on a port of its own. PEM files.
struct TlsSettings {
    std::string ca;           // empty: the system's
    std::string certificate;  // empty, with the key: none is shown
    std::string key;
    std::string server_name;  // that the certificate must be for; empty: the server's name
};

}  // namespace dstm::client
