// How long to wait before the next try: 0.1 s, doubling to 5 s, each cut by up to a half at random
// so that endpoints that lost their server together do not come back together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include "common/base/clock.hpp"

namespace dstm::tep {

class BackOff {
public:
    static constexpr Duration first = std::chrono::milliseconds(100);
    static constexpr Duration last = std::chrono::seconds(5);

    explicit BackOff(std::uint32_t seed) : random_(seed) {}

    [[nodiscard]] Duration next() {
        const auto whole = wait_.count();
        wait_ = std::min(wait_ * 2, last);
        return Duration(std::uniform_int_distribution<Duration::rep>(whole / 2, whole)(random_));
    }
    void reset() { wait_ = first; }

private:
    std::minstd_rand random_;
    Duration wait_ = first;
};

}  // namespace dstm::tep
