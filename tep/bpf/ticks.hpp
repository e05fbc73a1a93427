// Time as the maps have it (layout.h), and as the daemon has it.
#pragma once

#include <cstdint>

#include "common/base/clock.hpp"

namespace dstm::tep::bpf {

[[nodiscard]] std::uint32_t tick_now();
// The tick at which `wall` (of `clock`) will be; 0 when it has passed.
[[nodiscard]] std::uint32_t tick_at(WallTime wall, const Clock& clock);
// 1970 for tick 0.
[[nodiscard]] WallTime wall_of_tick(std::uint32_t tick, const Clock& clock);

}  // namespace dstm::tep::bpf
