// When the programs last carried a packet of a tunnel, by its entry. Knows the clock of the maps
// (layout.h).
#pragma once

#include "common/base/clock.hpp"
#include "tep/bpf/entry_table.hpp"
#include "tep/bpf/layout.h"

namespace dstm::tep::bpf {

// 1970 when none has passed, or the entry does not say.
struct LastSeen {
    WallTime up;
    WallTime down;
};

[[nodiscard]] inline LastSeen last_seen_of(const dstm_entry& entry, const Clock& clock) {
    return {wall_of_tick(entry.last_seen, clock), {}};
}

}  // namespace dstm::tep::bpf
