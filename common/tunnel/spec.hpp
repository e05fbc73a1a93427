// What an endpoint or a client must know to carry one tunnel. No behaviour, no wire format.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"

namespace dstm {

// Concrete encapsulations (RFC 5572 s7). v6anyv4 is a question, not a tunnel: it becomes one of
// these before anything is installed.
enum class TunnelType {
    v4v6,     // IPv4 in IPv6, protocol 4 (RFC 2473)
    v6v4,     // IPv6 in IPv4, protocol 41 (RFC 4213)
    v6udpv4,  // IPv6 in UDP in IPv4
};

[[nodiscard]] std::string_view to_string(TunnelType type);
[[nodiscard]] std::optional<TunnelType> parse_tunnel_type(std::string_view text);

// Orders two installs of one inner address: the higher generation is the newer one. Given by the
// server, grows across its restarts (microseconds since 1970, or last + 1). 0 is never given.
using Generation = std::uint64_t;

struct TunnelSpec {
    TunnelType type = TunnelType::v4v6;
    IpAddress inner;                         // the client's address inside the tunnel
    std::optional<Ipv6Prefix> inner_prefix;  // delegated behind the client, v6 types only
    IpEndpoint outer_client;                 // port 0 except for v6udpv4
    IpAddress outer_server;                  // the endpoint's own address, outside
    Generation generation = 0;
    WallTime expires_at;  // end of the lease: not a packet is carried after it

    bool operator==(const TunnelSpec&) const = default;
};

}  // namespace dstm
