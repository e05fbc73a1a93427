// How often work is done that many events ask for: once for a burst of them, and never for more
// than a tenth of the time.
#pragma once

#include <algorithm>
#include <optional>

#include "common/base/clock.hpp"

namespace dstm::tep::bpf {

class Pace {
public:
    // `wait`: for more of the same burst.
    explicit Pace(Duration wait) : wait_(wait) {}

    void ask(Instant now) { due_ = due_.value_or(std::max(now + wait_, free_)); }
    // It may not wait for more of them.
    void hurry(Instant now) { due_ = std::max(now, free_); }
    [[nodiscard]] bool is_due(Instant now) const { return due_ && now >= *due_; }
    void done(Instant began, Instant now) {
        due_.reset();
        free_ = now + 9 * (now - began);
    }
    // Until it is due, or `most`.
    [[nodiscard]] Duration left(Instant now, Duration most) const {
        return due_ ? std::clamp(*due_ - now, Duration(0), most) : most;
    }

private:
    Duration wait_;
    std::optional<Instant> due_;
    Instant free_{};
};

}  // namespace dstm::tep::bpf
