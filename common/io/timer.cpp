// Asio's timer, made safe against expiries that were queued before a cancel.
#include "common/io/timer.hpp"

#include <algorithm>
#include <cstdint>

#include "common/io/asio.hpp"

namespace dstm::io {

struct Timer::State {
    explicit State(asio::io_context& context) : timer(context) {}
    asio::steady_timer timer;
    std::function<void()> run;
    std::uint64_t round = 0;  // tells an expiry that was queued before a rearm from the present one
};

Timer::Timer(asio::io_context& context) : state_(std::make_shared<State>(context)) {}

Timer::~Timer() { cancel(); }

void Timer::after(Duration wait, std::function<void()> run) {
    cancel();
    state_->run = std::move(run);
    state_->timer.expires_after(std::max(wait, Duration::zero()));
    state_->timer.async_wait([state = state_, round = state_->round](const ErrorCodeOfAsio&) {
        if (state->round != round) return;
        ++state->round;
        // Taken out first: the function may arm the timer again or destroy it.
        const auto run_now = std::exchange(state->run, nullptr);
        run_now();
    });
}

void Timer::cancel() {
    ++state_->round;
    state_->run = nullptr;
    state_->timer.cancel();
}

bool Timer::is_armed() const { return static_cast<bool>(state_->run); }

}  // namespace dstm::io
