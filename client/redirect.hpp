// From the broker list of a refusal to the servers that can be asked instead (RFC 5572 s4.7.4).
// Knows nothing of what was asked before: circles and limits are the engine's.
#pragma once

#include <cstddef>
#include <vector>

#include "client/request.hpp"
#include "client/target.hpp"
#include "common/tsp/message.hpp"

namespace dstm::client {

struct RedirectRules {
    Family family;            // addresses of the other one are of no use
    std::uint16_t port;       // a list names none: the port of who sent it
    std::size_t brokers_max;
};

// In the order of the list, the first usable address or name of each broker, each server once, in
// one spelling, so that a circle shows.
[[nodiscard]] std::vector<Target> read_redirect(const std::vector<tsp::Broker>& brokers,
                                                const RedirectRules& rules);

}  // namespace dstm::client
