// The timers of a context behind one timerfd. Asio's own timers run by CLOCK_MONOTONIC: they would
// be late by as long as the host has slept.
#include "common/io/timer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <system_error>
#include <utility>

#include <sys/timerfd.h>

#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"

namespace dstm::io {
namespace {

using std::chrono::nanoseconds;

constexpr auto wait_max = std::chrono::hours(24 * 365 * 100);

// Throws, as Asio does when the kernel gives it no epoll.
int open_timer() {
    const int descriptor = ::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (descriptor < 0) throw std::system_error(errno, std::generic_category(), "timerfd");
    return descriptor;
}

// What is to run when. Lives as long as its context, which is held busy only while something waits.
class Alarm final : public asio::execution_context::service {
public:
    using Slot = std::pair<nanoseconds, std::uint64_t>;  // when, then in the order added

    static inline asio::execution_context::id id;

    explicit Alarm(asio::io_context& context)
        : asio::execution_context::service(context),
          context_(context),
          timer_(context, open_timer()) {}

    Slot add(nanoseconds at, std::function<void()> run) {
        const Slot slot{at, ++added_};
        queue_.emplace(slot, std::move(run));
        if (queue_.begin()->first == slot) set();
        return slot;
    }

    // Nothing, if it runs already.
    void remove(const Slot& slot) {
        const auto entry = queue_.find(slot);
        if (entry == queue_.end()) return;
        const bool was_first = entry == queue_.begin();
        queue_.erase(entry);
        if (was_first) set();
    }

private:
    void shutdown() noexcept override {
        // What goes with a function may hold a timer of its own.
        std::exchange(queue_, {}).clear();
        ErrorCodeOfAsio ignored;
        timer_.close(ignored);
    }

    void set() {
        if (queue_.empty()) {
            is_waiting_ = false;
            ++round_;
            ErrorCodeOfAsio ignored;
            timer_.cancel(ignored);
            return;
        }
        const auto at = queue_.begin()->first.first;
        const auto whole = std::chrono::floor<std::chrono::seconds>(at);
        const itimerspec wanted{{0, 0}, {whole.count(), (at - whole).count()}};
        ::timerfd_settime(timer_.native_handle(), TFD_TIMER_ABSTIME, &wanted, nullptr);
        if (is_waiting_) return;
        is_waiting_ = true;
        timer_.async_wait(asio::posix::stream_descriptor::wait_read,
                          [this, round = round_](const ErrorCodeOfAsio& error) {
                              if (!error && round == round_) ring();
                          });
    }

    void ring() {
        is_waiting_ = false;
        const auto now = since_boot();
        while (!queue_.empty() && queue_.begin()->first.first <= now) {
            asio::post(context_, std::move(queue_.extract(queue_.begin()).mapped()));
        }
        if (!queue_.empty()) set();
    }

    asio::io_context& context_;
    asio::posix::stream_descriptor timer_;
    std::map<Slot, std::function<void()>> queue_;
    std::uint64_t added_ = 0;
    bool is_waiting_ = false;
    std::uint64_t round_ = 0;  // tells a wait that ended before a cancel from the present one
};

}  // namespace

// The function belongs to the context: what it holds may hold the timer.
struct Timer::State {
    std::weak_ptr<std::function<void()>> run;  // empty: not to be run any more
};

struct Timer::Entry {
    Alarm& alarm;
    Alarm::Slot slot;
};

Timer::Timer(asio::io_context& context)
    : state_(std::make_shared<State>()),
      entry_(std::make_unique<Entry>(Entry{asio::use_service<Alarm>(context), {}})) {}

Timer::~Timer() { cancel(); }

void Timer::after(Duration wait, std::function<void()> run) {
    cancel();
    auto armed = std::make_shared<std::function<void()>>(std::move(run));
    state_->run = armed;
    const auto at = since_boot() + std::clamp<nanoseconds>(wait, Duration::zero(), wait_max);
    entry_->slot = entry_->alarm.add(at, [armed = std::move(armed)] {
        // Taken out first: the function may arm the timer again or destroy it.
        const auto run_now = std::exchange(*armed, nullptr);
        if (run_now) run_now();
    });
}

void Timer::cancel() {
    // Until the end: the timer may go with what it holds.
    std::function<void()> dropped;
    if (const auto armed = state_->run.lock()) dropped = std::exchange(*armed, nullptr);
    entry_->alarm.remove(entry_->slot);
}

bool Timer::is_armed() const {
    const auto armed = state_->run.lock();
    return armed && *armed;
}

}  // namespace dstm::io
