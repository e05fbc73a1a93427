// Three tables of buckets: the prefix pays only for what its address may do.
#include "common/tsp/throttle.hpp"

namespace dstm::tsp {
namespace {

constexpr std::uint32_t burst_factor = 5;

RateTable::Rate rate_of(std::uint32_t per_second) {
    return {per_second, burst_factor * per_second};
}

}  // namespace

Throttle::Throttle(const Limits& limits, std::uint64_t key)
    : addresses_(rate_of(limits.per_address), key),
      prefixes_(rate_of(limits.per_prefix), key),
      users_(rate_of(limits.per_user), key) {}

bool Throttle::admit(const IpAddress& source, Instant now) {
    if (!addresses_.take(source, now)) {
        ++refused_.by_address;
        return false;
    }
    if (!prefixes_.take(source_prefix(source), now)) {
        ++refused_.by_prefix;
        return false;
    }
    return true;
}

bool Throttle::admit_user(std::string_view user, Instant now) {
    if (users_.take(user, now)) return true;
    ++refused_.by_user;
    return false;
}

void Throttle::set_limits(const Limits& limits) {
    addresses_.set_rate(rate_of(limits.per_address));
    prefixes_.set_rate(rate_of(limits.per_prefix));
    users_.set_rate(rate_of(limits.per_user));
}

}  // namespace dstm::tsp
