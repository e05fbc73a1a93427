// Gives out generations (common/tunnel/spec.hpp): growing, also over restarts of the server and
// over a clock that was set back, because those read back from Kea are taken into account.
#pragma once

#include <algorithm>

#include "common/base/clock.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::server {

class Generations {
public:
    // last() is at once above all that a server before us gave out in this very second: a sync
    // as of it takes from an endpoint what Kea has no lease for any more.
    explicit Generations(WallTime now) : last_(by_clock(now + std::chrono::seconds(1))) {}

    [[nodiscard]] Generation next(WallTime now) {
        last_ = std::max(last_ + 1, by_clock(now));
        return last_;
    }
    void saw(Generation other) { last_ = std::max(last_, other); }
    [[nodiscard]] Generation last() const { return last_; }

private:
    [[nodiscard]] static Generation by_clock(WallTime time) {
        constexpr Generation micros = 1'000'000;
        return static_cast<Generation>(std::max<std::int64_t>(0, to_unix(time))) * micros;
    }

    Generation last_;
};

}  // namespace dstm::server
