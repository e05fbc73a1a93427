// What the operator decides about bindings. Read from dstm-server.conf by dstm-server/config; the
// defaults here are those of docs/examples/dstm-server.conf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::server {

enum class IdleTunnels { keep, remove };

struct BrokerConfig {
    std::vector<TunnelType> tunnel_types = {TunnelType::v4v6};  // others are answered 303
    std::uint32_t lifetime_s = 3600;                            // asked of Kea, 0: the subnet's own
    std::uint32_t subnet_id = 0;                                // asked of Kea, 0: any
    std::uint32_t subnet_id_v6 = 0;                             // the same for v6 types
    std::uint8_t prefix_length = 64;  // for a router that names no length
    bool allow_other_source = false;  // an outer address that is not the packet's source
    IdleTunnels idle_tunnels = IdleTunnels::keep;  // what to do with those an endpoint reports

    std::uint32_t keepalive_default_s = 30;  // for clients that name none, 0: no keepalive then
    std::uint32_t keepalive_min_s = 5;       // a client's wish is brought into this range
    std::uint32_t keepalive_max_s = 3600;

    // RFC 5572 s8: limits of tunnels, 0: none. Anonymous clients are one user to nobody, so for
    // them only the limit per address counts.
    std::size_t tunnels_per_user = 8;
    std::size_t tunnels_per_address = 8;

    std::string dns_suffix = {};          // under which clients get names; empty: no names
    bool delegates_reverse_zones = false;  // of prefixes, to the name servers a client lists

    // Between two tries of what failed at Kea or at an endpoint and is owed to it.
    Duration repair_interval = std::chrono::seconds(5);
};

}  // namespace dstm::server
