// A token bucket for the ICMP errors that the plane sends (RFC 1812 s4.3.2.8). Time is an argument.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/base/clock.hpp"

namespace dstm::dataplane {

class RateLimit {
public:
    RateLimit(std::uint32_t per_second, std::uint32_t burst)
        : per_second_(per_second), burst_(burst), thousandths_(std::uint64_t{burst} * 1000) {}

    [[nodiscard]] bool allows_one(Instant now) {
        if (now > filled_at_) {
            // After a long pause the product would overflow; a second or so fills any bucket.
            const auto pause = std::min(now - filled_at_, Duration(std::chrono::hours(1)));
            thousandths_ += static_cast<std::uint64_t>(pause.count()) * per_second_;
            thousandths_ = std::min(thousandths_, std::uint64_t{burst_} * 1000);
            filled_at_ = now;
        }
        if (thousandths_ < 1000) return false;
        thousandths_ -= 1000;
        return true;
    }

private:
    std::uint32_t per_second_;
    std::uint32_t burst_;
    std::uint64_t thousandths_;
    Instant filled_at_;
};

}  // namespace dstm::dataplane
