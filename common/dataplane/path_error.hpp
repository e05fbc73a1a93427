// ICMP errors from the path, ICMPv4 and ICMPv6 brought to what a tunnel makes of them. RFC 792,
// RFC 1191, RFC 4443 s3, RFC 2473 s8, RFC 4213 s3.4.
#pragma once

#include <cstdint>

#include "common/base/bytes.hpp"
#include "common/dataplane/tunnel_table.hpp"

namespace dstm::dataplane {

// An error about a packet that was sent down, as the socket's error queue gives it.
struct PathError {
    enum class Kind : std::uint8_t { too_big, unreachable, other };
    Kind kind = Kind::other;
    std::uint32_t mtu = 0;  // too_big; 0 from a router that does not say (RFC 1191 s5)
    Peer peer;              // to which the packet that failed went
    ConstBytes quoted;      // the inner packet, perhaps cut short
};

[[nodiscard]] PathError::Kind kind_of_icmpv6(std::uint8_t type, std::uint8_t code);
// `outer` is the encapsulation of the packet that failed.
[[nodiscard]] PathError::Kind kind_of_icmpv4(std::uint8_t type, std::uint8_t code,
                                             TunnelType outer);

}  // namespace dstm::dataplane
