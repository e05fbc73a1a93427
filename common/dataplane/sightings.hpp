// When packets passed through something that only counts them, as the kernel's devices do: what is
// new since the last look came by now. As exact as somebody looks often.
#pragma once

#include <cstdint>

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
            // A device that was made again counts from zero.
            if (counters.packets_up < up_) let_in_ = 0;
            up_ = counters.packets_up;
            dropped_ = dropped();
            // It may be ahead of packets_up, which was read before; never does it lag behind.
            const auto let_in = static_cast<std::int64_t>(up_ - (dropped_ - dropped_elsewhere_));
            if (let_in > let_in_) {
                let_in_ = let_in;
                last_up_ = now;
            }
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
    // From here on another device counts, which has dropped so many already; packets_up goes on.
    void change_device(std::uint64_t dropped) {
        dropped_elsewhere_ += dropped - dropped_;
        dropped_ = dropped;
    }
    // The device was made again: all of its counters begin anew.
    void begin_anew() {
        up_ = down_ = dropped_ = dropped_elsewhere_ = 0;
        let_in_ = 0;
    }

private:
    std::uint64_t up_ = 0;
    std::uint64_t down_ = 0;
    std::int64_t let_in_ = 0;  // the most that was seen
    std::uint64_t dropped_ = 0;
    std::uint64_t dropped_elsewhere_ = 0;  // before this device was ours, less those of former ones
    WallTime last_up_;
    WallTime last_down_;
};

}  // namespace dstm::dataplane
