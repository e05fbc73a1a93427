// When packets passed through something that only counts them, as the kernel's devices do: what is
// new since the last look came by now. As exact as somebody looks often.
#pragma once

#include <cstdint>

#include "common/base/clock.hpp"
#include "common/dataplane/data_plane.hpp"

namespace dstm::dataplane {

class Sightings {
public:
    // Writes the times into `counters`.
    void note(TunnelCounters& counters, WallTime now) {
        counters.last_seen_up = up_.look(counters.packets_up, now);
        counters.last_seen_down = down_.look(counters.packets_down, now);
    }

private:
    struct Way {
        std::uint64_t packets = 0;
        WallTime at;

        WallTime look(std::uint64_t counted, WallTime now) {
            // A device that was made again counts from zero.
            if (counted != packets && counted != 0) at = now;
            packets = counted;
            return at;
        }
    };
    Way up_;
    Way down_;
};

}  // namespace dstm::dataplane
