// Runs one function later, by the clock of RealClock: what is due while the host sleeps runs when
// it wakes. Destroying or rearming the timer means that what was armed before never runs, also when
// its time had come already.
#pragma once

#include <functional>
#include <memory>

#include "common/base/clock.hpp"
#include "common/io/fwd.hpp"

namespace dstm::io {

class Timer {
public:
    explicit Timer(asio::io_context& context);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void after(Duration wait, std::function<void()> run);
    void cancel();
    [[nodiscard]] bool is_armed() const;

private:
    struct State;
    struct Entry;
    std::shared_ptr<State> state_;
    std::unique_ptr<Entry> entry_;
};

}  // namespace dstm::io
