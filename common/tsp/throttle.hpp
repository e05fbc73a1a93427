// How often one may try (RFC 5572 s8): a connection or a datagram that begins a dialogue, an
// authentication and a request are one try each, and count for the source's address, for its
// prefix (the /24 or /64), and a request for its user too. Counting only, in tables of fixed size.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/rate_table.hpp"

namespace dstm::tsp {

class Throttle {
public:
    // Tries a second; five times as many at once after a silence.
    struct Limits {
        std::uint32_t per_address = 1000;
        std::uint32_t per_prefix = 5000;
        std::uint32_t per_user = 500;
    };
    // Tries that were refused.
    struct Counters {
        std::uint64_t by_address = 0;
        std::uint64_t by_prefix = 0;
        std::uint64_t by_user = 0;
    };

    Throttle(const Limits& limits, std::uint64_t key);

    // One try; false: one too many.
    [[nodiscard]] bool admit(const IpAddress& source, Instant now);
    // A request of an authenticated user, besides admit().
    [[nodiscard]] bool admit_user(std::string_view user, Instant now);

    void set_limits(const Limits& limits);
    [[nodiscard]] const Counters& refused() const { return refused_; }

private:
    RateTable addresses_;
    RateTable prefixes_;
    RateTable users_;
    Counters refused_;
};

}  // namespace dstm::tsp
