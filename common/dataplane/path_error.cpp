// Which ICMP error says what.
#include "common/dataplane/path_error.hpp"

namespace dstm::dataplane {
namespace {

using Kind = PathError::Kind;

// The other code of either version speaks of reassembly, at the far end, which thus was reached.
constexpr std::uint8_t code_hop_limit_exceeded = 0;
// RFC 792
constexpr std::uint8_t code_port_unreachable = 3;
constexpr std::uint8_t code_fragmentation_needed = 4;

}  // namespace

Kind kind_of_icmpv6(std::uint8_t type, std::uint8_t code) {
    switch (type) {
        case 1: return Kind::unreachable;
        case 2: return Kind::too_big;
        case 3: return code == code_hop_limit_exceeded ? Kind::unreachable : Kind::other;
        case 4: return Kind::unreachable;  // parameter problem
        default: return Kind::other;
    }
}

Kind kind_of_icmpv4(std::uint8_t type, std::uint8_t code, TunnelType outer) {
    switch (type) {
        case 3:
            if (code == code_fragmentation_needed) return Kind::too_big;
            // Protocol 41 has no ports: a kernel with tunnels of its own says so of one that is
            // not among them, while a socket on that host takes the packet.
            if (code == code_port_unreachable && outer == TunnelType::v6v4) return Kind::other;
            return Kind::unreachable;
        case 11: return code == code_hop_limit_exceeded ? Kind::unreachable : Kind::other;
        case 12: return Kind::unreachable;  // parameter problem
        default: return Kind::other;
    }
}

}  // namespace dstm::dataplane
