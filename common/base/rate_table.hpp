// How often something may happen for each of many (RFC 5572 s8): token buckets. The buckets are a
// fixed number, chosen by a keyed hash: a flood of invented names costs no memory, and names that
// meet in one bucket share it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"

namespace dstm {

// The /24 or /64 that the address is in, host bits zero.
[[nodiscard]] IpAddress source_prefix(const IpAddress& address);

class RateTable {
public:
    struct Rate {
        std::uint32_t per_second = 0;
        std::uint32_t burst = 0;  // after a silence
    };
    static constexpr std::size_t buckets_default = 4096;

    // `key`: secret, else floods can be aimed at one bucket.
    RateTable(Rate rate, std::uint64_t key, std::size_t buckets = buckets_default);

    // False: it has had its share for now.
    [[nodiscard]] bool take(std::string_view name, Instant now);
    [[nodiscard]] bool take(const IpAddress& address, Instant now);
    // Whether take() would succeed.
    [[nodiscard]] bool has(const IpAddress& address, Instant now);
    void set_rate(Rate rate) { rate_ = rate; }

private:
    struct Bucket {
        double tokens = 0;
        Instant filled_at{};
        bool is_used = false;
    };

    [[nodiscard]] Bucket& filled(std::uint64_t hash, Instant now);
    [[nodiscard]] bool take(std::uint64_t hash, Instant now);
    [[nodiscard]] std::uint64_t hash_of(const IpAddress& address) const;

    Rate rate_;
    std::uint64_t key_;
    std::vector<Bucket> buckets_;
};

}  // namespace dstm
