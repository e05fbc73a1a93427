// The fields of TCP and UDP inside a tunnel that the plane may change. RFC 9293 s3.1, s3.7.1 (MSS),
// RFC 768, RFC 8200 s8.1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/base/bytes.hpp"
#include "common/dataplane/inner_packet.hpp"

namespace dstm::dataplane {

inline constexpr std::size_t udp_header_size = 8;
inline constexpr std::size_t tcp_header_size_min = 20;

// Where in the header of TCP or UDP it stands.
[[nodiscard]] std::size_t checksum_offset(const InnerHeader& header);

// Lowers the MSS option of a TCP SYN to at most `mss_max`; every other packet stays as it is.
void clamp_mss(MutableBytes packet, const InnerHeader& header, std::uint16_t mss_max);

// A packet that has not been on a wire may still await its TCP or UDP checksum: where that stands,
// the sender's kernel has left the sum of the pseudo-header for the hardware to go on with. A raw
// socket hands it over like this.
[[nodiscard]] bool awaits_checksum(ConstBytes packet, const InnerHeader& header);

// Finishes it. Every other packet stays as it is.
void complete_checksum(MutableBytes packet);

// The checksum of TCP or UDP, whatever stood there. The transport header must be whole.
void write_checksum(MutableBytes packet, const InnerHeader& header);

}  // namespace dstm::dataplane
