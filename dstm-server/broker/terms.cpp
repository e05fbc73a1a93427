// What a request asks for. See terms.hpp.
#include "dstm-server/broker/terms.hpp"

#include <algorithm>
#include <string_view>

#include "dstm-server/broker/client_id.hpp"

namespace dstm::server {
namespace {

using tsp::Status;
constexpr std::size_t host_id_size_max = 64;

tl::unexpected<Refusal> refuse(Status status, std::string text) {
    return tl::unexpected<Refusal>(Refusal{status, std::move(text)});
}

bool is_host_id(std::string_view text) {
    constexpr std::string_view allowed =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";
    return !text.empty() && text.size() <= host_id_size_max &&
           text.find_first_not_of(allowed) == std::string_view::npos;
}

std::optional<TunnelType> concrete(tsp::RequestType type) {
    switch (type) {
        case tsp::RequestType::v4v6: return TunnelType::v4v6;
        case tsp::RequestType::v6v4: return TunnelType::v6v4;
        case tsp::RequestType::v6udpv4: return TunnelType::v6udpv4;
        case tsp::RequestType::v6anyv4:
        case tsp::RequestType::broker: return std::nullopt;
    }
    return std::nullopt;
}

// RFC 5572 s4.7.1: the type is what IANA registered and this site offers.
tl::expected<TunnelType, Refusal> read_type(const BrokerConfig& config,
                                            const tsp::TunnelMessage& message) {
    if (message.unknown_type) return refuse(Status::unsupported_tunnel_type, "");
    if (!message.type) return refuse(Status::invalid_format, "The tunnel type is missing");
    const auto type = concrete(*message.type);
    // The other types have no lease of IPv4 and are not built into this broker.
    const bool offered = type == TunnelType::v4v6 &&
                         std::find(config.tunnel_types.begin(), config.tunnel_types.end(), *type) !=
                             config.tunnel_types.end();
    if (!offered) return refuse(Status::unsupported_tunnel_type, "");
    return *type;
}

// RFC 5572 s4.7.2: tunnelling over IPv6, the client sends its IPv6 address.
tl::expected<Ipv6Address, Refusal> read_outer(const BrokerConfig& config, const Asker& asker,
                                              const tsp::TunnelMessage& message) {
    const tsp::Address* given =
        message.client ? message.client->find(tsp::AddressType::ipv6) : nullptr;
    if (given == nullptr) return refuse(Status::invalid_format, "The IPv6 address is missing");
    const auto outer = Ipv6Address::parse(given->text);
    if (!outer || !outer->is_usable_unicast()) return refuse(Status::invalid_ipv6_address, "");
    if (!config.allow_other_source && asker.source != IpAddress(*outer)) {
        return refuse(Status::invalid_ipv6_address,
                      "Invalid IPv6 address: it is not the one you send from");
    }
    return *outer;
}

// What tells the hosts of one user apart.
tl::expected<std::string, Refusal> read_host(const Asker& asker, const tsp::TunnelMessage& message,
                                             const IpAddress& outer) {
    if (message.host_id) {
        if (!is_host_id(*message.host_id)) {
            return refuse(Status::invalid_format, "The host id is malformed");
        }
        return *message.host_id;
    }
    // An address holds ':' or '.', which no host id does: the two never meet.
    return asker.user.empty() ? to_string(outer) : std::string();
}

}  // namespace

tl::expected<CreateTerms, Refusal> read_create(const BrokerConfig& config, const Asker& asker,
                                               const tsp::TunnelMessage& message) {
    const auto type = read_type(config, message);
    if (!type) return tl::unexpected<Refusal>(type.error());
    const auto outer = read_outer(config, asker, message);
    if (!outer) return tl::unexpected<Refusal>(outer.error());
    if (message.client->router && message.client->router->prefix) {
        return refuse(Status::prefix_length_unavailable, "");
    }
    const auto host = read_host(asker, message, *outer);
    if (!host) return tl::unexpected<Refusal>(host.error());

    CreateTerms terms;
    terms.client_id = make_client_id(asker.user, *host);
    terms.context = BindingContext{.user = asker.user,
                                   .host = *host,
                                   .type = *type,
                                   .outer_client = IpEndpoint{*outer, 0},
                                   .endpoint = {},
                                   .generation = 0};
    terms.keepalive_wish_s = keepalive_wish(message);
    return terms;
}

tl::expected<ClientId, Refusal> read_client_id(const BrokerConfig& config, const Asker& asker,
                                               const tsp::TunnelMessage& message) {
    IpAddress outer = asker.source;
    const tsp::Address* given =
        message.client ? message.client->find(tsp::AddressType::ipv6) : nullptr;
    if (given != nullptr && config.allow_other_source) {
        const auto named = Ipv6Address::parse(given->text);
        if (!named) return refuse(Status::invalid_ipv6_address, "");
        outer = *named;
    }
    const auto host = read_host(asker, message, outer);
    if (!host) return tl::unexpected<Refusal>(host.error());
    return make_client_id(asker.user, *host);
}

std::optional<std::uint32_t> keepalive_wish(const tsp::TunnelMessage& message) {
    if (!message.client || !message.client->keepalive) return std::nullopt;
    const auto interval = message.client->keepalive->interval_s;
    // Deployed clients write 0 for "none in mind".
    return interval == 0 ? std::nullopt : std::optional(interval);
}

}  // namespace dstm::server
