// When packets last went down to tunnels. The programs only count them, since each instruction of
// theirs costs: what is new since the last look came by now. So a time is too late by at most as
// long as nobody looked. Knows slots, not tunnels.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tep/bpf/layout.h"
#include "tep/bpf/slots.hpp"

namespace dstm::tep::bpf {

// An entry as it is now, with what only the daemon knows.
struct SeenEntry : dstm_entry {
    std::uint32_t last_seen_down = 0;  // tick, as last_seen; 0 = none
};

// `now` is a tick (layout.h).
class SeenDown {
public:
    // The slot serves a tunnel from here on. What it has carried before, in an earlier daemon,
    // came by now: no tunnel is idle too early.
    void begin(Slot slot, const dstm_entry& entry, std::uint32_t now);
    // `entries` are those of the slots from `first` on. Of many slots that have never served, in a
    // row, nothing is read.
    void look(Slot first, std::span<const dstm_entry> entries, std::uint32_t now);
    // Of a slot that serves. Remembers nothing.
    [[nodiscard]] std::uint32_t last(Slot slot, const dstm_entry& entry, std::uint32_t now) const {
        return renew((*blocks_[slot / block_size])[slot % block_size], entry, now).tick;
    }

private:
    struct Sighting {
        std::uint32_t packets = 0;  // down: the lower half of their number
        std::uint32_t tick = 0;
    };
    static constexpr Slot block_size = 4096;
    using Block = std::array<Sighting, block_size>;

    [[nodiscard]] static Sighting renew(Sighting known, const dstm_entry& entry,
                                        std::uint32_t now) {
        const auto packets = static_cast<std::uint32_t>(entry.packets_down);
        return packets == known.packets ? known : Sighting{packets, now};
    }

    std::vector<std::unique_ptr<Block>> blocks_;  // null: none of its slots has served
};

}  // namespace dstm::tep::bpf
