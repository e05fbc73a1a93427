// Token buckets under a keyed hash.
#include "common/base/rate_table.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "common/base/assert.hpp"

namespace dstm {
namespace {

constexpr std::size_t ipv6_prefix_bytes = 8;
constexpr std::uint32_t ipv4_prefix_mask = 0xffffff00;

// splitmix64's finisher: each bit of the input moves half of the output's.
std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

template <class Bytes>
std::uint64_t hash(const Bytes& bytes, std::uint64_t key) {
    std::uint64_t value = mix(key + bytes.size());
    std::uint64_t word = 0;
    std::size_t held = 0;
    for (const auto byte : bytes) {
        word = word << 8 | static_cast<std::uint8_t>(byte);
        if (++held % sizeof word == 0) value = mix((value ^ word) + key);
    }
    return mix((value ^ word) + key);
}

}  // namespace

IpAddress source_prefix(const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
        return Ipv4Address(v4->host_order() & ipv4_prefix_mask);
    }
    auto bytes = std::get<Ipv6Address>(address).bytes();
    std::fill(bytes.begin() + ipv6_prefix_bytes, bytes.end(), std::uint8_t{0});
    return Ipv6Address(bytes);
}

RateTable::RateTable(Rate rate, std::uint64_t key, std::size_t buckets)
    : rate_(rate), key_(key), buckets_(buckets) {
    DSTM_ASSERT(!buckets_.empty());
}

bool RateTable::take(std::string_view name, Instant now) { return take(hash(name, key_), now); }
bool RateTable::take(const IpAddress& address, Instant now) { return take(hash_of(address), now); }
bool RateTable::has(const IpAddress& address, Instant now) {
    return filled(hash_of(address), now).tokens >= 1;
}

bool RateTable::take(std::uint64_t hash, Instant now) {
    Bucket& bucket = filled(hash, now);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
}

RateTable::Bucket& RateTable::filled(std::uint64_t hash, Instant now) {
    Bucket& bucket = buckets_[static_cast<std::size_t>(hash % buckets_.size())];
    const auto full = static_cast<double>(rate_.burst);
    if (!std::exchange(bucket.is_used, true)) {
        bucket.tokens = full;
    } else if (now > bucket.filled_at) {
        const std::chrono::duration<double> passed = now - bucket.filled_at;
        bucket.tokens = std::min(full, bucket.tokens + passed.count() * rate_.per_second);
    }
    bucket.filled_at = std::max(bucket.filled_at, now);
    return bucket;
}

std::uint64_t RateTable::hash_of(const IpAddress& address) const {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
        return mix(mix(v4->host_order() + key_) ^ key_);
    }
    return hash(std::get<Ipv6Address>(address).bytes(), key_);
}

}  // namespace dstm
