// Token buckets by source prefix.
#include "common/tsp/prefix_limit.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "common/base/assert.hpp"

namespace dstm::tsp {
namespace {

constexpr std::size_t ipv6_prefix_bytes = 8;
constexpr std::uint32_t ipv4_prefix_mask = 0xffffff00;

// splitmix64's finisher: each bit of the input moves half of the output's.
std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

std::uint64_t prefix_bits(const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
        return v4->host_order() & ipv4_prefix_mask;
    }
    const auto& bytes = std::get<Ipv6Address>(address).bytes();
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < ipv6_prefix_bytes; ++i) bits = bits << 8 | bytes[i];
    return bits;
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

PrefixLimit::PrefixLimit(const Config& config) : config_(config), buckets_(config.buckets) {
    DSTM_ASSERT(!buckets_.empty());
}

bool PrefixLimit::take(const IpAddress& source, Instant now) {
    const auto hash = mix(prefix_bits(source) + config_.key) ^ config_.key;
    Bucket& bucket = buckets_[static_cast<std::size_t>(mix(hash) % buckets_.size())];
    const auto full = static_cast<double>(config_.burst);
    if (!std::exchange(bucket.is_used, true)) {
        bucket.tokens = full;
    } else if (now > bucket.filled_at) {
        const std::chrono::duration<double> passed = now - bucket.filled_at;
        bucket.tokens = std::min(full, bucket.tokens + passed.count() * config_.per_second);
    }
    bucket.filled_at = std::max(bucket.filled_at, now);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
}

void PrefixLimit::set_rate(std::uint32_t per_second, std::uint32_t burst) {
    config_.per_second = per_second;
    config_.burst = burst;
}

}  // namespace dstm::tsp
