// An IPv4 packet inside a tunnel: read once, bounds-checked, and the two fields that a tunnel may
// change in it. RFC 791 s3.1, RFC 6040, RFC 9293 s3.7.1 (MSS).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <tl/expected.hpp>

#include "common/base/bytes.hpp"
#include "common/dataplane/drop.hpp"

namespace dstm::dataplane {

inline constexpr std::size_t ipv4_header_size_min = 20;
inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_tcp = 6;

struct InnerHeader {
    std::size_t header_size = 0;   // with options
    std::size_t total_length = 0;  // as the header says
    std::uint8_t traffic_class = 0;
    std::uint8_t protocol = 0;
    bool dont_fragment = false;
    bool is_first_fragment = true;  // or not a fragment: the transport header is here
    Ipv4Address source;
    Ipv4Address destination;
};

// The header of a packet of which at least the header is there, as in the quote of an ICMP error.
[[nodiscard]] tl::expected<InnerHeader, Drop> read_inner_header(ConstBytes bytes);

// As above, and the packet is whole; bytes behind its end are allowed, they are to be cut off.
[[nodiscard]] tl::expected<InnerHeader, Drop> read_inner_packet(ConstBytes bytes);

// RFC 6040 s4.2: the ECN field of the packet that leaves the tunnel; none when it is dropped.
[[nodiscard]] std::optional<std::uint8_t> ecn_leaving_tunnel(std::uint8_t inner,
                                                             std::uint8_t outer);

// Sets the ECN field and adapts the header checksum.
void set_ecn(MutableBytes packet, std::uint8_t ecn);

// Lowers the MSS option of a TCP SYN to at most `mss_max`; every other packet stays as it is.
void clamp_mss(MutableBytes packet, const InnerHeader& header, std::uint16_t mss_max);

// A packet that has not been on a wire may still await its TCP or UDP checksum: where that stands,
// the sender's kernel has left the sum of the pseudo-header for the hardware to go on with. A raw
// socket hands it over like this; here it is finished. Every other packet stays as it is.
void complete_checksum(MutableBytes packet);

}  // namespace dstm::dataplane
