// The `info` message. See reply.hpp.
#include "dstm-server/broker/reply.hpp"

#include <algorithm>
#include <limits>

#include "common/base/assert.hpp"

namespace dstm::server {
namespace {

std::uint32_t seconds_left(const Lease& lease, WallTime now) {
    constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>((lease.expires_at - now).count(), 0, most));
}

std::optional<tsp::Keepalive> agree_keepalive(const BrokerConfig& config,
                                              const EndpointInfo& endpoint,
                                              std::optional<std::uint32_t> wish_s) {
    if (!wish_s && config.keepalive_default_s == 0) return std::nullopt;
    const std::uint32_t interval = std::clamp(wish_s.value_or(config.keepalive_default_s),
                                              config.keepalive_min_s, config.keepalive_max_s);
    const tsp::Address target{tsp::AddressType::ipv4, endpoint.inner_ipv4.to_string(), {}};
    return tsp::Keepalive{interval, target};
}

}  // namespace

tsp::TunnelMessage describe_tunnel(const BrokerConfig& config, const Lease& lease,
                                   const EndpointInfo& endpoint,
                                   std::optional<std::uint32_t> keepalive_wish_s, WallTime now) {
    DSTM_ASSERT(endpoint.outer_ipv6.has_value());
    const std::uint32_t left = seconds_left(lease, now);

    tsp::TunnelMessage message;
    message.action = tsp::Action::info;
    message.type = tsp::RequestType::v4v6;
    // RFC 5572 s4.7.1: minutes. Rounded down, so that a client never trusts a lease that is over.
    message.lifetime_min = std::max(1U, left / 60);
    message.lease_seconds = left;

    tsp::Party server;
    server.addresses = {{tsp::AddressType::ipv4, endpoint.inner_ipv4.to_string(), {}},
                        {tsp::AddressType::ipv6, endpoint.outer_ipv6->to_string(), {}}};
    tsp::Party client;
    client.addresses = {
        {tsp::AddressType::ipv4, lease.address.to_string(), {}},
        {tsp::AddressType::ipv6, to_string(lease.context.outer_client.address), {}}};
    client.keepalive = agree_keepalive(config, endpoint, keepalive_wish_s);
    message.server = std::move(server);
    message.client = std::move(client);
    return message;
}

}  // namespace dstm::server
