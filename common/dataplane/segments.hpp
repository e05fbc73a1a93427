// Packets that stand for many: the kernel hands over, and takes, several packets of one TCP or UDP
// flow as one with a long payload, and the payload size of each (TSO, GRO, virtio-net header).
// Here: what they are on a wire. Knows no sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/dataplane/inner_packet.hpp"

namespace dstm::dataplane {

// Payload bytes of each of the packets but the last, which may have fewer. 0: it is one packet.
using SegmentSize = std::uint16_t;

// Where the payload of TCP or UDP begins; 0 when the packet has neither header whole.
[[nodiscard]] std::size_t payload_offset(ConstBytes packet, const InnerHeader& header);

// What a packet counts for.
struct WireSize {
    std::size_t packets = 1;
    std::size_t bytes = 0;
};
[[nodiscard]] WireSize wire_size(ConstBytes packet, const InnerHeader& header,
                                 SegmentSize segment_size);

// Packets as they are on the wire, one behind the other in memory that is kept.
class Segments {
public:
    void clear();
    // One packet or those that it stands for, in order: lengths, identification, sequence numbers
    // and checksums are each one's own, PSH and FIN are the last one's, CWR is the first one's
    // (RFC 3168 s6.1.2).
    void add(ConstBytes packet, SegmentSize segment_size);
    [[nodiscard]] std::size_t count() const { return sizes_.size(); }
    // Valid until the next call of add() or clear().
    [[nodiscard]] std::vector<MutableBytes> packets();

private:
    void add_bytes(ConstBytes bytes);

    std::vector<std::uint8_t> bytes_;
    std::vector<std::size_t> sizes_;
};

}  // namespace dstm::dataplane
