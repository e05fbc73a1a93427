// Finds servers where the configuration names none: SRV records `_tsp._tcp` and `_tsp._udp` in the
// host's search domains (RFC 2782). Through the C library's resolver, whose settings it takes.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "client/target.hpp"
#include "common/base/result.hpp"

namespace dstm::client {

struct SrvRecord {
    std::uint16_t priority = 0;
    std::uint16_t weight = 0;
    Target target;

    bool operator==(const SrvRecord&) const = default;
};

// From an answer as it came. A service that is said not to exist (target ".") is none.
// invalid: the message is broken.
[[nodiscard]] Result<std::vector<SrvRecord>> parse_srv_answer(
    std::span<const std::uint8_t> message);

// RFC 2782: the lowest priority first; within one by chance, in proportion to the weights.
[[nodiscard]] std::vector<Target> in_order_of_choice(std::vector<SrvRecord> records,
                                                     std::mt19937_64& random);

// Blocking, for a few seconds for each name at most: not for the event thread. The first of the
// search domains that has a record for one of `services` ("_tsp._tcp"), services in their order.
// not_found: none has; the context names what was asked.
[[nodiscard]] Result<std::vector<Target>> find_servers(const std::vector<std::string>& services);

}  // namespace dstm::client
