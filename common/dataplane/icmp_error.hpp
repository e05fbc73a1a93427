// ICMP errors that the entry of a tunnel sends to the source of an inner packet. RFC 792, RFC 1191
// s4 (next-hop MTU), RFC 1122 s3.2.2 and RFC 4443 s2.4 (when not to answer), RFC 1812 s4.3.2,
// RFC 4443 s3, RFC 2473 s7, s8, RFC 4213 s3.2.2, s3.4.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/dataplane/inner_packet.hpp"

namespace dstm::dataplane {

enum class IcmpKind : std::uint8_t {
    too_big,           // IPv4: type 3 code 4; IPv6: type 2; with the MTU
    host_unreachable,  // IPv4: type 3 code 1; IPv6: type 1 code 3
};

// Errors are never sent about errors and packets without a host as source; IPv4 also not about
// later fragments.
[[nodiscard]] bool may_be_answered(ConstBytes packet, const InnerHeader& header);

// A packet-too-big message, as far as it is there.
struct TooBig {
    std::uint32_t mtu = 0;
    ConstBytes quoted;  // begins with the header of what was too big
};
[[nodiscard]] std::optional<TooBig> read_too_big(ConstBytes packet, const InnerHeader& header);

// The whole packet, of the version of `header`, from `source`, which is of that version.
// `quoted` begins with the inner header and may be cut short. `mtu` is for too_big.
[[nodiscard]] std::vector<std::uint8_t> make_icmp_error(IcmpKind kind, std::uint16_t mtu,
                                                        const IpAddress& source, ConstBytes quoted,
                                                        const InnerHeader& header);

}  // namespace dstm::dataplane
