// How often something may happen for each source prefix (RFC 5572 s8): token buckets for the /24 of
// an IPv4 and the /64 of an IPv6 address. The buckets are a fixed number, chosen by a keyed hash:
// a flood of forged sources costs no memory, and prefixes that meet in one bucket share it.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"

namespace dstm::tsp {

// The /24 or /64 that the address is in, host bits zero.
[[nodiscard]] IpAddress source_prefix(const IpAddress& address);

class PrefixLimit {
public:
    struct Config {
        std::uint32_t per_second = 200;
        std::uint32_t burst = 400;
        std::size_t buckets = 4096;
        std::uint64_t key = 0;  // secret, else floods can be aimed at one bucket
    };

    explicit PrefixLimit(const Config& config);
    // False: the prefix has had its share for now.
    [[nodiscard]] bool take(const IpAddress& source, Instant now);
    void set_rate(std::uint32_t per_second, std::uint32_t burst);

private:
    struct Bucket {
        double tokens = 0;
        Instant filled_at{};
        bool is_used = false;
    };

    Config config_;
    std::vector<Bucket> buckets_;
};

}  // namespace dstm::tsp
