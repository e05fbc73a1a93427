// What a request asks for. See terms.hpp.
#include "dstm-server/broker/terms.hpp"

#include <algorithm>
#include <string_view>

#include "dstm-server/broker/client_id.hpp"
#include "dstm-server/broker/host_name.hpp"
#include "dstm-server/broker/name_servers.hpp"

namespace dstm::server {
namespace {

using tsp::Status;
constexpr std::size_t host_id_size_max = 64;
constexpr std::uint32_t prefix_length_min = 48;  // what Kea delegates to one client
constexpr std::uint32_t prefix_length_max = 64;

template <class T>
using Read = tl::expected<T, Refusal>;

tl::unexpected<Refusal> refuse(Status status, std::string text = {}) {
    return tl::unexpected<Refusal>(Refusal{status, std::move(text), {}});
}

bool is_host_id(std::string_view text) {
    constexpr std::string_view allowed =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";
    return !text.empty() && text.size() <= host_id_size_max &&
           text.find_first_not_of(allowed) == std::string_view::npos;
}

bool offers(const BrokerConfig& config, TunnelType type) {
    const auto& types = config.tunnel_types;
    return std::find(types.begin(), types.end(), type) != types.end();
}

bool offers(const BrokerConfig& config, Family family) {
    return std::any_of(config.tunnel_types.begin(), config.tunnel_types.end(),
                       [&](TunnelType type) { return family_of(type) == family; });
}

// What the client says its address is.
const tsp::Address* named(const tsp::TunnelMessage& message, tsp::AddressType type) {
    return message.client ? message.client->find(type) : nullptr;
}

// --- type ----------------------------------------------------------------------------------------

// RFC 5572 s2.1: an address that differs from the packets' source has been translated. A client
// that names none is judged by how it came.
TunnelType read_v6_type(const BrokerConfig& config, const Asker& asker,
                        const tsp::TunnelMessage& message) {
    if (message.type == tsp::RequestType::v6v4) return TunnelType::v6v4;
    if (message.type == tsp::RequestType::v6udpv4) return TunnelType::v6udpv4;
    const auto* given = named(message, tsp::AddressType::ipv4);
    const bool is_direct = given == nullptr
                               ? asker.relay.empty()
                               : parse_ip_address(given->text) == asker.source.address;
    return is_direct && offers(config, TunnelType::v6v4) ? TunnelType::v6v4 : TunnelType::v6udpv4;
}

// RFC 5572 s4.7.1: the type is what IANA registered and this site offers.
Read<TunnelType> read_type(const BrokerConfig& config, const Asker& asker,
                           const tsp::TunnelMessage& message) {
    if (message.unknown_type || message.type == tsp::RequestType::broker) {
        return refuse(Status::unsupported_tunnel_type);
    }
    if (!message.type) return refuse(Status::invalid_format, "The tunnel type is missing");
    const TunnelType type = message.type == tsp::RequestType::v4v6
                                ? TunnelType::v4v6
                                : read_v6_type(config, asker, message);
    if (!offers(config, type)) return refuse(Status::unsupported_tunnel_type);
    return type;
}

// --- where the tunnel goes -----------------------------------------------------------------------

// RFC 5572 s4.7.2: tunnelling over IPv6, the client sends its IPv6 address.
Read<IpEndpoint> read_outer_v6(const BrokerConfig& config, const Asker& asker,
                               const tsp::TunnelMessage& message) {
    const auto* given = named(message, tsp::AddressType::ipv6);
    if (given == nullptr) return refuse(Status::invalid_format, "The IPv6 address is missing");
    const auto outer = Ipv6Address::parse(given->text);
    if (!outer || !outer->is_usable_unicast()) return refuse(Status::invalid_ipv6_address);
    if (!config.allow_other_source && asker.source.address != IpAddress(*outer)) {
        return refuse(Status::invalid_ipv6_address,
                      "Invalid IPv6 address: it is not the one you send from");
    }
    return IpEndpoint{*outer, 0};
}

// RFC 5572 s4.7.2: over IPv4, its IPv4 address; s4.5.2: by UDP the tunnel takes the mapping that
// the signalling has, whatever address the client has behind its NAT.
Read<IpEndpoint> read_outer_v4(const BrokerConfig& config, const Asker& asker,
                               const tsp::TunnelMessage& message, TunnelType type) {
    const auto* given = named(message, tsp::AddressType::ipv4);
    if (given == nullptr) return refuse(Status::invalid_format, "The IPv4 address is missing");
    const auto outer = Ipv4Address::parse(given->text);
    if (!outer || !outer->is_usable_unicast()) return refuse(Status::invalid_ipv4_address);
    if (type == TunnelType::v6udpv4) return asker.source;
    if (!config.allow_other_source && asker.source.address != IpAddress(*outer)) {
        return refuse(Status::invalid_ipv4_address,
                      "Invalid IPv4 address: it is not the one you send from");
    }
    return IpEndpoint{*outer, 0};
}

// --- who asks ------------------------------------------------------------------------------------

// What tells the hosts of one user apart.
Read<std::string> read_host(const Asker& asker, const tsp::TunnelMessage& message,
                            const IpEndpoint& outer) {
    if (message.host_id) {
        if (!is_host_id(*message.host_id)) {
            return refuse(Status::invalid_format, "The host id is malformed");
        }
        return *message.host_id;
    }
    if (!asker.user.empty()) return std::string();
    // An address holds ':' or '.', which no host id does: the two never meet.
    return outer.port == 0 ? to_string(outer.address) : to_string(outer);
}

// --- what it wants behind the tunnel -------------------------------------------------------------

// RFC 5572 s4.7.2: a `router` asks for a prefix. There are none of IPv4.
Read<std::optional<std::uint8_t>> read_prefix_length(const BrokerConfig& config,
                                                     const tsp::TunnelMessage& message,
                                                     Family family) {
    const auto& router = message.client->router;
    if (!router || (family == Family::v4 && !router->prefix)) return std::nullopt;
    const std::uint32_t length = router->prefix ? router->prefix->length : config.prefix_length;
    if (family == Family::v4 || length < prefix_length_min || length > prefix_length_max) {
        return refuse(Status::prefix_length_unavailable);
    }
    return std::optional(static_cast<std::uint8_t>(length));
}

}  // namespace

Read<CreateTerms> read_create(const BrokerConfig& config, const Asker& asker,
                              const tsp::TunnelMessage& message) {
    const auto type = read_type(config, asker, message);
    if (!type) return tl::unexpected<Refusal>(type.error());
    const Family family = family_of(*type);
    const auto outer = family == Family::v4 ? read_outer_v6(config, asker, message)
                                            : read_outer_v4(config, asker, message, *type);
    if (!outer) return tl::unexpected<Refusal>(outer.error());
    const auto prefix_length = read_prefix_length(config, message, family);
    if (!prefix_length) return tl::unexpected<Refusal>(prefix_length.error());
    const auto host = read_host(asker, message, *outer);
    if (!host) return tl::unexpected<Refusal>(host.error());

    CreateTerms terms;
    terms.client_id = make_client_id(family, asker.user, *host);
    terms.context = BindingContext{.user = asker.user,
                                   .host = *host,
                                   .type = *type,
                                   .outer_client = *outer,
                                   .endpoint = {},
                                   .generation = 0};
    if (*prefix_length && config.delegates_reverse_zones) {
        auto servers = read_name_servers(*message.client);
        if (!servers) return refuse(Status::invalid_format, servers.error().context);
        terms.context.name_servers = *std::move(servers);
    }
    terms.prefix_length = *prefix_length;
    terms.hostname = make_host_name(config.dns_suffix, asker.user, *host);
    terms.keepalive_wish_s = keepalive_wish(message);
    terms.relay = asker.relay;
    return terms;
}

namespace {

Family family_asked(const BrokerConfig& config, const Asker& asker,
                    const tsp::TunnelMessage& message) {
    if (!offers(config, Family::v6)) return Family::v4;
    if (!offers(config, Family::v4)) return Family::v6;
    if (message.type) {
        return *message.type == tsp::RequestType::v4v6 ? Family::v4 : Family::v6;
    }
    if (named(message, tsp::AddressType::ipv6) != nullptr) return Family::v4;
    // RFC 5572 Figure 4: what goes over IPv6 is signalled over IPv6.
    return std::holds_alternative<Ipv6Address>(asker.source.address) ? Family::v4 : Family::v6;
}

// As a create would have it, but for what that would refuse.
Read<IpEndpoint> outer_of_client(const BrokerConfig& config, const Asker& asker,
                                 const tsp::TunnelMessage& message, Family family) {
    const bool is_v4 = family == Family::v4;
    if (!is_v4 && read_v6_type(config, asker, message) == TunnelType::v6udpv4) return asker.source;
    const auto* given = named(message, is_v4 ? tsp::AddressType::ipv6 : tsp::AddressType::ipv4);
    if (given == nullptr || !config.allow_other_source) return IpEndpoint{asker.source.address, 0};
    const auto address = parse_ip_address(given->text);
    if (!address || std::holds_alternative<Ipv6Address>(*address) != is_v4) {
        return refuse(is_v4 ? Status::invalid_ipv6_address : Status::invalid_ipv4_address);
    }
    return IpEndpoint{*address, 0};
}

// Whether a create of v6anyv4 or of either type can have come to the other one than read_v6_type
// says now: only through a relay is a tunnel by UDP, and what a NAT has translated is nothing else.
bool may_be_other_v6_type(const Asker& asker, const tsp::TunnelMessage& message) {
    if (asker.relay.empty()) return false;
    if (message.type && message.type != tsp::RequestType::v6anyv4) return false;
    const auto* given = named(message, tsp::AddressType::ipv4);
    if (given == nullptr) return true;
    return !message.type && parse_ip_address(given->text) == asker.source.address;
}

}  // namespace

Read<ClientName> read_client(const BrokerConfig& config, const Asker& asker,
                             const tsp::TunnelMessage& message) {
    if (message.unknown_type || message.type == tsp::RequestType::broker) {
        return refuse(Status::unsupported_tunnel_type);
    }
    const Family family = family_asked(config, asker, message);
    const auto outer = outer_of_client(config, asker, message, family);
    if (!outer) return tl::unexpected<Refusal>(outer.error());
    const auto host = read_host(asker, message, *outer);
    if (!host) return tl::unexpected<Refusal>(host.error());
    ClientName name{make_client_id(family, asker.user, *host), family};
    if (family == Family::v6 && may_be_other_v6_type(asker, message)) {
        const std::uint16_t port = outer->port == 0 ? asker.source.port : std::uint16_t{0};
        const auto other = read_host(asker, message, IpEndpoint{asker.source.address, port});
        name.otherwise = make_client_id(family, asker.user, *other);
    }
    return name;
}

std::optional<std::uint32_t> keepalive_wish(const tsp::TunnelMessage& message) {
    if (!message.client || !message.client->keepalive) return std::nullopt;
    const auto interval = message.client->keepalive->interval_s;
    // Deployed clients write 0 for "none in mind".
    return interval == 0 ? std::nullopt : std::optional(interval);
}

}  // namespace dstm::server
