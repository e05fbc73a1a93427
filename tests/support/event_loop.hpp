// Runs an io_context until a state holds, with a bound: what tests do instead of sleeping.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>

#include "common/io/asio.hpp"

namespace dstm::test {

// False when `holds` did not come true within the bound.
[[nodiscard]] inline bool run_until(asio::io_context& context, const std::function<bool()>& holds,
                                    std::chrono::milliseconds bound = std::chrono::seconds(10)) {
    const auto end = std::chrono::steady_clock::now() + bound;
    while (!holds()) {
        const auto now = std::chrono::steady_clock::now();
        if (now >= end) return false;
        context.restart();
        context.run_one_for(std::min(std::chrono::milliseconds(50),
                                     std::chrono::ceil<std::chrono::milliseconds>(end - now)));
    }
    return true;
}

// Everything that is ready runs, nothing is waited for.
inline void run_ready(asio::io_context& context) {
    context.restart();
    context.poll();
}

}  // namespace dstm::test
