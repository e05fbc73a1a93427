// A TUN device of this process: it is there as long as the object, and goes when the process dies.
#pragma once

#include <optional>
#include <string>

#include "common/base/bytes.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::dataplane {

class TunDevice {
public:
    // conflict: a device of this name exists; with `may_exist`, it is in use.
    [[nodiscard]] static Result<TunDevice> create(const std::string& name, bool may_exist = false);
    // It stays when the object, or the process, goes.
    [[nodiscard]] Result<void> keep();
    // Removes one that was kept; none is no error. conflict: it is in use.
    [[nodiscard]] static Result<void> remove(const std::string& name);

    [[nodiscard]] int descriptor() const { return descriptor_.number(); }
    // One packet that the host routes into the device; 0 when there is none now, nothing when the
    // device is gone.
    [[nodiscard]] std::optional<std::size_t> read(MutableBytes buffer);
    // The host receives the packet from the device. False when it does not take it.
    [[nodiscard]] bool write(ConstBytes packet);

private:
    explicit TunDevice(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}
    Descriptor descriptor_;
};

}  // namespace dstm::dataplane
