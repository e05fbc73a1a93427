// Whether a tunnel is still used: from the count of the packets this host sends into it, less the
// client's own. No clock, no device.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/clock.hpp"

namespace dstm::client {

class IdleWatch {
public:
    explicit IdleWatch(Duration timeout) : timeout_(timeout) {}

    // `packets` in all, and those that the client sent itself; both only grow. True: nothing else
    // was sent for the timeout; it begins anew then.
    [[nodiscard]] bool is_idle(std::uint64_t packets, std::uint64_t own, Instant now) {
        const auto used = static_cast<std::int64_t>(packets - own);
        // Less than before: a packet of the client's own was lost before it was counted.
        const bool is_used = !since_ || used > used_;
        used_ = used;
        if (is_used) {
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
    std::int64_t used_ = 0;
    std::optional<Instant> since_;
};

}  // namespace dstm::client
