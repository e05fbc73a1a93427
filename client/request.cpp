// Messages from wishes.
#include "client/request.hpp"

namespace dstm::client {
namespace {

tsp::Address to_wire(const IpAddress& address) {
    const bool is_v4 = is_of(Family::ipv4, address);
    return {is_v4 ? tsp::AddressType::ipv4 : tsp::AddressType::ipv6, to_string(address),
            std::nullopt};
}

tsp::TunnelMessage request(tsp::Action action, tsp::RequestType type, const std::string& host_id,
                           const IpAddress& outer) {
    tsp::TunnelMessage message;
    message.action = action;
    message.type = type;
    message.client.emplace();
    message.client->addresses = {to_wire(outer)};
    message.host_id = host_id;
    return message;
}

}  // namespace

Family outer_family(tsp::RequestType type) {
    return type == tsp::RequestType::v4v6 ? Family::ipv6 : Family::ipv4;
}

bool is_of(Family family, const IpAddress& address) {
    return std::holds_alternative<Ipv4Address>(address) == (family == Family::ipv4);
}

bool may_share_port(tsp::RequestType type) {
    return type == tsp::RequestType::v6udpv4 || type == tsp::RequestType::v6anyv4;
}

tsp::RequestType request_type(TunnelType type) {
    switch (type) {
        case TunnelType::v4v6: return tsp::RequestType::v4v6;
        case TunnelType::v6v4: return tsp::RequestType::v6v4;
        case TunnelType::v6udpv4: return tsp::RequestType::v6udpv4;
    }
    return tsp::RequestType::v4v6;
}

tsp::TunnelMessage create_request(const Wishes& wishes, const IpAddress& outer) {
    auto message = request(tsp::Action::create, wishes.type, wishes.host_id, outer);
    message.client->keepalive = tsp::Keepalive{wishes.keepalive_s, std::nullopt};
    if (wishes.prefix) {
        auto& router = message.client->router.emplace();
        router.prefix = tsp::Prefix{wishes.prefix->length, {}};
        for (const auto& server : wishes.prefix->dns_servers) {
            router.dns_servers.push_back(to_wire(server));
        }
    }
    return message;
}

tsp::TunnelMessage delete_request(tsp::RequestType type, const std::string& host_id,
                                  const IpAddress& outer) {
    return request(tsp::Action::delete_tunnel, type, host_id, outer);
}

tsp::TunnelMessage bare_request(tsp::Action action, std::optional<tsp::RequestType> type) {
    tsp::TunnelMessage message;
    message.action = action;
    message.type = type;
    return message;
}

}  // namespace dstm::client
