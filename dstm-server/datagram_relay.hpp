// The edge to endpoints as carriers of signalling: TSP datagrams that came to an endpoint's UDP
// port, and our replies to them (docs/wire/endpoint-link.md). Both may get lost.
#pragma once

#include <string>
#include <string_view>

#include "common/base/ip_address.hpp"

namespace dstm::server {

class RelayListener {
public:
    virtual ~RelayListener() = default;
    virtual void on_datagram(const std::string& endpoint, const IpEndpoint& peer,
                             std::string_view datagram) = 0;
    // What it carried cannot be answered any more.
    virtual void on_relay_gone(const std::string& endpoint) = 0;
};

class DatagramRelay {
public:
    virtual ~DatagramRelay() = default;
    // nullptr: nobody listens any more.
    virtual void set_relay_listener(RelayListener* listener) = 0;
    // False: the endpoint is not connected, or its link has more than enough to do.
    [[nodiscard]] virtual bool relay(const std::string& endpoint, const IpEndpoint& peer,
                                     std::string_view datagram) = 0;
};

}  // namespace dstm::server
