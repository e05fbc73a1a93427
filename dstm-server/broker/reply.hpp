// The `info` message that goes with success (RFC 5572 s4.7, s5, Figures 13 to 19). Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/clock.hpp"
#include "common/tsp/message.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

// Server: the endpoint's inner and outer address. Client: the leased address and its own. So both
// have an IPv4 and an IPv6 address in every mode, because deployed clients need them; then the
// name, the prefix and its name servers. The keepalive goes to the endpoint's inner address
// whatever the client named (old ones name 127.0.0.1 and ping what comes back).
//
// What is inside a tunnel of IPv6 is written with all its digits: deployed clients cut prefixes by
// counting characters.
//
// `endpoint` can carry the lease's type (outer_address in endpoint_desk.hpp).
[[nodiscard]] tsp::TunnelMessage describe_tunnel(const BrokerConfig& config, const Lease& lease,
                                                 const EndpointInfo& endpoint,
                                                 std::optional<std::uint32_t> keepalive_wish_s,
                                                 WallTime now);

}  // namespace dstm::server
