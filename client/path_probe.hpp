// Whether the tunnel carries packets as large as its device says, both ways: a path that drops them
// without a word (ICMP filtered away) is a black hole for everything that is large. A machine of
// values: answers and the time go in, echoes to send and the verdict come out.
//
// RFC 8899 s4 (probing with packets of the protocol's own), RFC 4821 s7.4 (loss of a large packet
// counts only when small ones arrive).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/clock.hpp"

namespace dstm::client {

class PathProbe {
public:
    struct Echo {
        std::uint16_t sequence = 0;
        bool is_large = false;  // as large as the device allows; else as small as an echo can be
    };
    enum class Verdict { good, black_hole };
    // Large ones are lost only if all of these are, and small ones are not.
    static constexpr unsigned rounds = 3;
    static constexpr Duration round_time = std::chrono::milliseconds(500);

    // The tunnel or its path is new. What was under way is forgotten.
    void begin(Instant now);
    void stop() { due_.reset(); }

    // To be sent now; none when nothing is due.
    [[nodiscard]] std::vector<Echo> next(Instant now);
    // When next() is wanted.
    [[nodiscard]] std::optional<Instant> due() const { return due_; }

    // At most one for each begin(). A path on which nothing arrives has none: that is for the
    // keepalive to notice.
    [[nodiscard]] std::optional<Verdict> answered(std::uint16_t sequence);
    [[nodiscard]] std::optional<Verdict> verdict(Instant now);

private:
    std::optional<Instant> due_;
    unsigned rounds_begun_ = 0;
    bool small_arrives_ = false;
    std::uint16_t first_ = 0;  // even sequences are large, odd ones small
    std::uint16_t sequence_ = 0;
};

}  // namespace dstm::client
