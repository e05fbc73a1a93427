// ICMP errors that the entry of a tunnel sends to the source of an inner packet. RFC 792, RFC 1191
// s4 (next-hop MTU), RFC 1122 s3.2.2 (when not to answer), RFC 1812 s4.3.2, RFC 2473 s7, s8.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/dataplane/inner_packet.hpp"

namespace dstm::dataplane {

enum class IcmpKind : std::uint8_t {
    fragmentation_needed,  // type 3 code 4, with the next-hop MTU
    host_unreachable,      // type 3 code 1
};

inline constexpr std::size_t icmp_error_size_max = 576;  // RFC 1812 s4.3.2.3

// Errors are never sent about errors, later fragments, and packets without a host as source.
[[nodiscard]] bool may_be_answered(ConstBytes packet, const InnerHeader& header);

// The whole IPv4 packet. `quoted` begins with the inner header and may be cut short.
// `next_hop_mtu` is for fragmentation_needed.
[[nodiscard]] std::vector<std::uint8_t> make_icmp_error(IcmpKind kind, std::uint16_t next_hop_mtu,
                                                        Ipv4Address source, ConstBytes quoted,
                                                        const InnerHeader& header);

}  // namespace dstm::dataplane
