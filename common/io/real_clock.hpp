// The clocks of this host.
#pragma once

#include <ctime>

#include "common/base/clock.hpp"

namespace dstm {

// CLOCK_BOOTTIME: nobody sets it, and it goes on while the host sleeps, as leases do.
// CLOCK_MONOTONIC, which is std::chrono::steady_clock, stands still then.
[[nodiscard]] inline std::chrono::nanoseconds since_boot() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

class RealClock final : public Clock {
public:
    [[nodiscard]] Instant now() const override {
        return Instant(std::chrono::floor<Duration>(since_boot()));
    }
    [[nodiscard]] WallTime wall() const override {
        return std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
    }
};

}  // namespace dstm
