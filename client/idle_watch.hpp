// Whether a tunnel is still used: from the counts of its packets, less the client's own keepalives.
// No clock, no device.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/clock.hpp"

namespace dstm::client {

class IdleWatch {
public:
    explicit IdleWatch(Duration timeout) : timeout_(timeout) {}

    // `packets` and `keepalives` both ways, since the tunnel came up. True: nothing else has passed
    // for the timeout; it begins anew then.
    [[nodiscard]] bool is_idle(std::uint64_t packets, std::uint64_t keepalives, Instant now) {
        const auto used = packets > keepalives ? packets - keepalives : 0;
        if (!since_ || used != used_) {
            used_ = used;
            since_ = now;
            return false;
        }
        if (now - *since_ < timeout_) return false;
        since_.reset();
        return true;
    }
    void reset() { since_.reset(); }

private:
    Duration timeout_;
    std::uint64_t used_ = 0;
    std::optional<Instant> since_;
};

}  // namespace dstm::client
