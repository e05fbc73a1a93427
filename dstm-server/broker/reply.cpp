// The `info` message. See reply.hpp.
#include "dstm-server/broker/reply.hpp"

#include <algorithm>
#include <limits>

#include "common/base/assert.hpp"
#include "dstm-server/broker/endpoint_desk.hpp"
#include "dstm-server/broker/name_servers.hpp"

namespace dstm::server {
namespace {

std::uint32_t seconds_left(const Lease& lease, WallTime now) {
    constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>((lease.expires_at - now).count(), 0, most));
}

tsp::RequestType request_type(TunnelType type) {
    switch (type) {
        case TunnelType::v4v6: return tsp::RequestType::v4v6;
        case TunnelType::v6v4: return tsp::RequestType::v6v4;
        case TunnelType::v6udpv4: return tsp::RequestType::v6udpv4;
    }
    return tsp::RequestType::v4v6;
}

tsp::Address outside(const IpAddress& address) {
    const bool is_v4 = std::holds_alternative<Ipv4Address>(address);
    return {is_v4 ? tsp::AddressType::ipv4 : tsp::AddressType::ipv6, to_string(address), {}};
}

tsp::Address inside(const IpAddress& address) {
    if (std::holds_alternative<Ipv4Address>(address)) return outside(address);
    return {tsp::AddressType::ipv6, std::get<Ipv6Address>(address).to_padded_string(), {}};
}

// RFC 5572 s5: IPv4 stands first.
std::vector<tsp::Address> pair_of(tsp::Address one, tsp::Address other) {
    if (one.type != tsp::AddressType::ipv4) std::swap(one, other);
    return {std::move(one), std::move(other)};
}

IpAddress inner_address(const EndpointInfo& endpoint, TunnelType type) {
    if (family_of(type) == Family::v4) return endpoint.inner_ipv4;
    return endpoint.inner_ipv6.value();
}

std::optional<tsp::Keepalive> agree_keepalive(const BrokerConfig& config, const IpAddress& target,
                                              std::optional<std::uint32_t> wish_s) {
    if (!wish_s && config.keepalive_default_s == 0) return std::nullopt;
    const std::uint32_t interval = std::clamp(wish_s.value_or(config.keepalive_default_s),
                                              config.keepalive_min_s, config.keepalive_max_s);
    return tsp::Keepalive{interval, inside(target)};
}

tsp::Router describe_router(const Ipv6Prefix& prefix, const BindingContext& context) {
    tsp::Router router;
    router.prefix = tsp::Prefix{prefix.length, prefix.address.to_padded_string()};
    for (const std::string& server : context.name_servers) {
        router.dns_servers.push_back(to_address(server));
    }
    return router;
}

}  // namespace

tsp::TunnelMessage describe_tunnel(const BrokerConfig& config, const Lease& lease,
                                   const EndpointInfo& endpoint,
                                   std::optional<std::uint32_t> keepalive_wish_s, WallTime now) {
    const TunnelType type = lease.context.type;
    const auto outer_server = outer_address(endpoint, type);
    DSTM_ASSERT(outer_server.has_value());
    const IpAddress inner_server = inner_address(endpoint, type);
    const std::uint32_t left = seconds_left(lease, now);

    tsp::TunnelMessage message;
    message.action = tsp::Action::info;
    message.type = request_type(type);
    // RFC 5572 s4.7.1: minutes. Rounded down, so that a client never trusts a lease that is over.
    message.lifetime_min = std::max(1U, left / 60);
    message.lease_seconds = left;

    tsp::Party server;
    server.addresses = pair_of(inside(inner_server), outside(*outer_server));
    tsp::Party client;
    client.addresses =
        pair_of(inside(lease.address), outside(lease.context.outer_client.address));
    if (!lease.hostname.empty()) {
        client.addresses.push_back({tsp::AddressType::dn, lease.hostname, {}});
    }
    if (lease.prefix) client.router = describe_router(*lease.prefix, lease.context);
    client.keepalive = agree_keepalive(config, inner_server, keepalive_wish_s);
    message.server = std::move(server);
    message.client = std::move(client);
    return message;
}

}  // namespace dstm::server
