// The size of the segments of which a raw socket hands over many as one packet (GRO, or a sender on
// the same machine). The kernel knows it and does not tell; a filter on the socket writes it down.
// Needs CAP_BPF.
#pragma once

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"
#include "common/dataplane/segments.hpp"

namespace dstm::dataplane {

class SegmentSizes {
public:
    // From now on, of what the raw socket receives. `is_ipv4` outside: then what the kernel filters
    // begins with the outer header.
    [[nodiscard]] static Result<SegmentSizes> note_for(int raw_socket, bool is_ipv4);

    // 0: the inner packet is one, or it is not known.
    [[nodiscard]] SegmentSize of(ConstBytes packet) const;

private:
    explicit SegmentSizes(Descriptor map) : map_(std::move(map)) {}
    Descriptor map_;
};

}  // namespace dstm::dataplane
