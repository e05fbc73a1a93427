// The `info` message that goes with success (RFC 5572 s4.7, s5.3, Figure 18). Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/clock.hpp"
#include "common/tsp/message.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

// Server: the endpoint's inner IPv4 and outer IPv6. Client: the leased IPv4 and its own IPv6. All
// four, because deployed clients need them. The keepalive goes to the endpoint's inner IPv4
// whatever the client named (old ones name 127.0.0.1 and ping what comes back).
// `endpoint` has an outer IPv6 address.
[[nodiscard]] tsp::TunnelMessage describe_tunnel(const BrokerConfig& config, const Lease& lease,
                                                 const EndpointInfo& endpoint,
                                                 std::optional<std::uint32_t> keepalive_wish_s,
                                                 WallTime now);

}  // namespace dstm::server
