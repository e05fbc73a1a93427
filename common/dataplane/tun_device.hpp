// A TUN device of this process: it is there as long as the object, and goes when the process dies.
// The host leaves checksums and the cutting of long TCP and UDP packets to it.
#pragma once

#include <optional>
#include <string>

#include "common/base/bytes.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"
#include "common/dataplane/segments.hpp"

namespace dstm::dataplane {

class TunDevice {
public:
    // What read() put into the buffer.
    struct Read {
        std::size_t size = 0;  // 0: there is none now
        // Not 0: to be cut (Segments), and its checksums are made then.
        SegmentSize segment_size = 0;
    };

    // conflict: a device of this name exists; with `may_exist`, it is in use.
    [[nodiscard]] static Result<TunDevice> create(const std::string& name, bool may_exist = false);
    // The kernel names it: to find out whether one can be made.
    [[nodiscard]] static Result<TunDevice> create_any();
    // An earlier process kept it.
    [[nodiscard]] bool was_kept() const { return was_kept_; }
    // It stays when the object, or the process, goes.
    [[nodiscard]] Result<void> keep();
    // Removes one that was kept; none is no error. conflict: it is in use.
    [[nodiscard]] static Result<void> remove(const std::string& name);

    [[nodiscard]] std::string name() const;
    [[nodiscard]] int descriptor() const { return descriptor_.number(); }
    // One packet that the host routes into the device; nothing when the device is gone.
    [[nodiscard]] std::optional<Read> read(MutableBytes buffer);
    // The host receives the packet from the device. False when it does not take it. One that stands
    // for many awaits its checksum (transport.hpp).
    [[nodiscard]] bool write(ConstBytes packet, SegmentSize segment_size);

private:
    [[nodiscard]] static Result<TunDevice> make(const std::string& name, int more_flags);
    TunDevice(Descriptor descriptor, bool was_kept)
        : descriptor_(std::move(descriptor)), was_kept_(was_kept) {}
    Descriptor descriptor_;
    bool was_kept_;
};

}  // namespace dstm::dataplane
