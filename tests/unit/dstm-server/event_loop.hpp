// Runs an event loop in the test's thread until a state is reached, with a bound.
#pragma once

#include <chrono>

#include "common/io/asio.hpp"

namespace dstm::test {

inline constexpr std::chrono::seconds patience(20);

// True as soon as `reached()` is; false when it is not within `limit`.
template <class Predicate>
bool run_until(asio::io_context& events, Predicate reached,
               std::chrono::milliseconds limit = patience) {
    const auto end = std::chrono::steady_clock::now() + limit;
    events.restart();
    while (!reached()) {
        if (std::chrono::steady_clock::now() >= end) return false;
        events.run_one_for(std::chrono::milliseconds(20));
        if (events.stopped()) events.restart();
    }
    return true;
}

// Carries out what is ready now and no more.
inline void run_ready(asio::io_context& events) {
    events.restart();
    events.poll();
}

}  // namespace dstm::test
