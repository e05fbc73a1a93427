// Gives out generations (common/tunnel/spec.hpp): growing, also over restarts of the server and
// over a clock that was set back, because those read back from Kea are taken into account.
#pragma once

#include <algorithm>

#include "common/base/clock.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::server {

class Generations {
public:
    [[nodiscard]] Generation next(WallTime now) {
        constexpr std::int64_t micros = 1'000'000;
        const auto by_clock = static_cast<Generation>(std::max<std::int64_t>(0, to_unix(now))) *
                              static_cast<Generation>(micros);
        last_ = std::max(last_ + 1, by_clock);
        return last_;
    }
    void saw(Generation other) { last_ = std::max(last_, other); }
    [[nodiscard]] Generation last() const { return last_; }

private:
    Generation last_ = 0;
};

}  // namespace dstm::server
