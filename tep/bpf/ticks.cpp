// The programs' clock is CLOCK_MONOTONIC, read coarsely here as there.
#include "tep/bpf/ticks.hpp"

#include <ctime>

#include "tep/bpf/layout.h"

namespace dstm::tep::bpf {

std::uint32_t tick_now() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const auto nanoseconds = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                             static_cast<std::uint64_t>(now.tv_nsec);
    return static_cast<std::uint32_t>(nanoseconds >> DSTM_TICK_SHIFT);
}

std::uint32_t tick_at(WallTime wall, const Clock& clock) {
    using std::chrono::nanoseconds;
    using std::chrono::system_clock;
    // `clock` tells whole seconds; where in the second it is, the host's clock tells.
    const auto host = system_clock::now();
    const auto shift = clock.wall() - std::chrono::floor<std::chrono::seconds>(host);
    const auto left = std::chrono::duration_cast<nanoseconds>(wall - (host + shift)).count();
    if (left <= 0) return 0;
    const auto ticks = (static_cast<std::uint64_t>(left) >> DSTM_TICK_SHIFT) + tick_now();
    return ticks > 0xffffffff ? 0xffffffff : static_cast<std::uint32_t>(ticks);
}

WallTime wall_of_tick(std::uint32_t tick, const Clock& clock) {
    if (tick == 0) return WallTime{};
    const auto ago = static_cast<std::uint64_t>(tick_now() - tick) << DSTM_TICK_SHIFT;
    return clock.wall() - std::chrono::seconds(ago / 1'000'000'000);
}

}  // namespace dstm::tep::bpf
