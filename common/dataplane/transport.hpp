// The two fields of TCP and UDP inside a tunnel that the plane may change. RFC 9293 s3.1, s3.7.1
// (MSS), RFC 768, RFC 8200 s8.1.
#pragma once

#include <cstdint>

#include "common/base/bytes.hpp"
#include "common/dataplane/inner_packet.hpp"

namespace dstm::dataplane {

// Lowers the MSS option of a TCP SYN to at most `mss_max`; every other packet stays as it is.
void clamp_mss(MutableBytes packet, const InnerHeader& header, std::uint16_t mss_max);

// A packet that has not been on a wire may still await its TCP or UDP checksum: where that stands,
// the sender's kernel has left the sum of the pseudo-header for the hardware to go on with. A raw
// socket hands it over like this; here it is finished. Every other packet stays as it is.
void complete_checksum(MutableBytes packet);

}  // namespace dstm::dataplane
