// Virtual time and the events that wait in it: everything a test or a simulation does happens in
// one thread, in an order that depends on nothing but what was posted.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "common/base/clock.hpp"

namespace dstm::support {

class VirtualClock final : public Clock {
public:
    [[nodiscard]] Instant now() const override { return Instant(since_start_); }
    [[nodiscard]] WallTime wall() const override {
        return from_unix(1'793'714'400) + std::chrono::floor<std::chrono::seconds>(since_start_);
    }

private:
    friend class Scheduler;
    Duration since_start_ = std::chrono::hours(1);
};

class Scheduler {
public:
    VirtualClock clock;

    void post(Duration delay, std::function<void()> event) {
        events_.emplace(Key{clock.since_start_ + delay, ++posted_}, std::move(event));
    }

    // Runs the next event, moving the time to it; false when there is none.
    bool run_one() {
        if (events_.empty()) return false;
        auto next = events_.extract(events_.begin());
        clock.since_start_ = std::max(clock.since_start_, next.key().first);
        next.mapped()();
        return true;
    }

    void run_for(Duration span) {
        const Duration end = clock.since_start_ + span;
        while (!events_.empty() && events_.begin()->first.first <= end) run_one();
        clock.since_start_ = end;
    }

    // Until nothing waits or `done` holds; false when the bound of virtual time was reached first.
    bool run_until(const std::function<bool()>& done, Duration bound = std::chrono::minutes(5)) {
        const Duration end = clock.since_start_ + bound;
        while (!done()) {
            if (events_.empty() || events_.begin()->first.first > end) return false;
            run_one();
        }
        return true;
    }

    [[nodiscard]] bool is_idle() const { return events_.empty(); }

private:
    using Key = std::pair<Duration, std::uint64_t>;  // when, then in the order posted
    std::map<Key, std::function<void()>> events_;
    std::uint64_t posted_ = 0;
};

}  // namespace dstm::support
