// When packets passed through something that only counts them, as the kernel's devices do: what is
// new since the last look came by now. As exact as somebody looks often.
#pragma once

#include <cstdint>
#include <utility>

#include "common/base/clock.hpp"
#include "common/dataplane/data_plane.hpp"

namespace dstm::dataplane {

class Sightings {
public:
    // Writes the times into `counters`. `dropped` says how many of the packets up were not let in,
    // ever; it is asked only when there are new ones.
    template <class Dropped>
    void note(TunnelCounters& counters, WallTime now, const Dropped& dropped) {
        if (counters.packets_up != up_) {
            const auto new_ones = counters.packets_up - std::exchange(up_, counters.packets_up);
            const std::uint64_t drops = dropped();
            const auto new_drops = drops - std::exchange(dropped_, drops);
            // A device that was made again counts from zero.
            if (up_ != 0 && new_ones != new_drops) last_up_ = now;
        }
        if (counters.packets_down != down_) {
            down_ = counters.packets_down;
            if (down_ != 0) last_down_ = now;
        }
        counters.last_seen_up = last_up_;
        counters.last_seen_down = last_down_;
    }
    void note(TunnelCounters& counters, WallTime now) {
        note(counters, now, [] { return std::uint64_t{0}; });
    }
    // From here on another device counts, which has dropped so many already.
    void change_device(std::uint64_t dropped) { dropped_ = dropped; }

private:
    std::uint64_t up_ = 0;
    std::uint64_t down_ = 0;
    std::uint64_t dropped_ = 0;
    WallTime last_up_;
    WallTime last_down_;
};

}  // namespace dstm::dataplane
