// Time as a value. Machines take it as an argument; only adapters ask a clock.
//
// Instant is monotonic and measures waits. WallTime is civil time and is used where a time leaves
// the process: lease ends, logs, the endpoint link.
#pragma once

#include <chrono>

namespace dstm {

using Duration = std::chrono::milliseconds;
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::sys_seconds;

class Clock {
public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual Instant now() const = 0;
    [[nodiscard]] virtual WallTime wall() const = 0;
};

// Whole seconds since 1970-01-01T00:00:00Z, the form that goes over the wire.
[[nodiscard]] inline std::int64_t to_unix(WallTime time) { return time.time_since_epoch().count(); }
[[nodiscard]] inline WallTime from_unix(std::int64_t seconds) {
    return WallTime(std::chrono::seconds(seconds));
}

}  // namespace dstm
