// From the text of an offer to values, or why it cannot be used (RFC 5572 s4.7, s5).
#include "client/offer.hpp"

#include <algorithm>
#include <cctype>

#include "common/log/log.hpp"

namespace dstm::client {
namespace {

// RFC 5572 Appendix A: the value of an absent `lifetime`.
constexpr std::uint32_t lifetime_default = 1440;
constexpr std::size_t name_size_max = 253;  // RFC 1035 s2.3.4, as text

bool is_usable(const IpAddress& address) {
    return std::visit([](const auto& family) { return family.is_usable_unicast(); }, address);
}

// The address of that family which `party` names, when a host can have it.
std::optional<IpAddress> usable(const std::optional<tsp::Party>& party, tsp::AddressType type) {
    const auto* address = party ? party->find(type) : nullptr;
    if (address == nullptr) return std::nullopt;
    const auto parsed = parse_ip_address(address->text);
    const bool is_ipv4 = parsed && std::holds_alternative<Ipv4Address>(*parsed);
    if (!parsed || is_ipv4 != (type == tsp::AddressType::ipv4) || !is_usable(*parsed)) {
        return std::nullopt;
    }
    return parsed;
}

// s5.4 (B32): a question for v6anyv4 is answered with the concrete type, any other with itself.
std::optional<TunnelType> read_type(const tsp::TunnelMessage& message, tsp::RequestType asked) {
    using tsp::RequestType;
    if (message.unknown_type) return std::nullopt;
    const auto type = message.type.value_or(asked);
    const bool is_any = asked == RequestType::v6anyv4;
    switch (type) {
        case RequestType::v4v6:
            return type == asked ? std::optional(TunnelType::v4v6) : std::nullopt;
        case RequestType::v6v4:
            return type == asked || is_any ? std::optional(TunnelType::v6v4) : std::nullopt;
        case RequestType::v6udpv4:
            return type == asked || is_any ? std::optional(TunnelType::v6udpv4) : std::nullopt;
        case RequestType::v6anyv4:
        case RequestType::broker: return std::nullopt;
    }
    return std::nullopt;
}

// s4.7.3: the endpoint's address of the outer family.
Result<IpAddress> read_endpoint(const tsp::TunnelMessage& message, TunnelType type,
                                const Question& question) {
    // s4.5.2 (B5): the data runs between the very addresses and ports of the signalling.
    if (type == TunnelType::v6udpv4) return question.peer;
    const bool is_v4v6 = type == TunnelType::v4v6;
    const auto endpoint =
        usable(message.server, is_v4v6 ? tsp::AddressType::ipv6 : tsp::AddressType::ipv4);
    if (!endpoint || *endpoint == question.outer) {
        return fail(ErrorCode::invalid, std::string("the offer holds no usable ") +
                                            (is_v4v6 ? "IPv6" : "IPv4") +
                                            " address of the endpoint");
    }
    return *endpoint;
}

// Text that is no address is tolerated (the RFC's own figure has one), another address is not: the
// endpoint would drop every packet of ours. Behind a NAT the server may name the address it sees.
Result<void> check_outer(const tsp::TunnelMessage& message, TunnelType type,
                         const IpAddress& outer) {
    if (type == TunnelType::v6udpv4) return {};
    const auto* ours = message.client->find(type == TunnelType::v4v6 ? tsp::AddressType::ipv6
                                                                     : tsp::AddressType::ipv4);
    const auto address = ours == nullptr ? std::nullopt : parse_ip_address(ours->text);
    if (!address || *address == outer) return {};
    return fail(ErrorCode::invalid, "the offer is for " + to_string(*address) +
                                        ", this host asked as " + to_string(outer));
}

Result<std::optional<Ipv6Prefix>> read_prefix(const tsp::Party& client) {
    if (!client.router || !client.router->prefix) return std::nullopt;
    const auto& [length, text] = *client.router->prefix;
    const auto prefix = Ipv6Prefix::parse(text + '/' + std::to_string(length));
    if (!prefix || !prefix->address.is_usable_unicast()) {
        return fail(ErrorCode::invalid, "the offer's prefix is not usable: " + log::quoted(text));
    }
    return prefix;
}

std::string read_name(const tsp::Party& client) {
    const auto* name = client.find(tsp::AddressType::dn);
    if (name == nullptr || name->text.size() > name_size_max) return {};
    const bool is_name = std::all_of(name->text.begin(), name->text.end(), [](unsigned char c) {
        return std::isalnum(c) || c == '.' || c == '-' || c == '_';
    });
    return is_name ? name->text : std::string();
}

// The two readings of `lifetime` differ by a factor of 60 (minutes in s4.7.1, seconds in Figure 13
// and in deployed brokers). Without the exact number the smaller reading is the safe one.
void read_lease(const tsp::TunnelMessage& message, Offer& offer) {
    offer.lifetime_attribute = message.lifetime_min.value_or(0);
    if (message.lease_seconds) {
        offer.lease = std::chrono::seconds(*message.lease_seconds);
        offer.lease_is_exact = true;
    } else {
        const auto number = offer.lifetime_attribute == 0 ? lifetime_default
                                                          : offer.lifetime_attribute;
        offer.lease = std::chrono::seconds(number);
    }
}

// RFC 5572 s4.6: the address and the interval are the broker's choice. An address that cannot be
// pinged through the tunnel (some brokers echo 127.0.0.1 or ::) means no keepalive. Then the other
// end of the tunnel is the likeliest to answer the echoes that measure the path.
void read_keepalive(const tsp::TunnelMessage& message, Offer& offer) {
    const auto other_end = usable(message.server, std::holds_alternative<Ipv4Address>(offer.inner)
                                                      ? tsp::AddressType::ipv4
                                                      : tsp::AddressType::ipv6);
    if (other_end != offer.inner) offer.keepalive_to = other_end;
    for (const auto* party : {&message.client, &message.server}) {
        if (!*party || !(*party)->keepalive) continue;
        const auto& keepalive = *(*party)->keepalive;
        if (keepalive.interval_s == 0 || !keepalive.address) return;
        const auto address = parse_ip_address(keepalive.address->text);
        if (!address || address->index() != offer.inner.index() || !is_usable(*address) ||
            *address == offer.inner) {
            return;
        }
        offer.keepalive_interval = std::chrono::seconds(keepalive.interval_s);
        offer.keepalive_to = address;
        return;
    }
}

}  // namespace

Result<Offer> read_offer(const tsp::TunnelMessage& message, const Question& question) {
    if (message.action != tsp::Action::info) {
        return fail(ErrorCode::invalid, "the server's answer is not an offer of a tunnel");
    }
    const auto type = read_type(message, question.type);
    if (!type) {
        return fail(ErrorCode::invalid, "the server offers another type of tunnel than asked for");
    }
    Offer offer;
    offer.type = *type;
    const bool is_v4v6 = *type == TunnelType::v4v6;
    const auto inner =
        usable(message.client, is_v4v6 ? tsp::AddressType::ipv4 : tsp::AddressType::ipv6);
    if (!inner) {
        return fail(ErrorCode::invalid, std::string("the offer holds no usable ") +
                                            (is_v4v6 ? "IPv4" : "IPv6") + " address for us");
    }
    offer.inner = *inner;
    const auto endpoint = read_endpoint(message, *type, question);
    if (!endpoint) return tl::unexpected(endpoint.error());
    offer.endpoint = *endpoint;
    if (const auto checked = check_outer(message, *type, question.outer); !checked) {
        return tl::unexpected(checked.error());
    }
    if (!is_v4v6) {
        const auto prefix = read_prefix(*message.client);
        if (!prefix) return tl::unexpected(prefix.error());
        offer.prefix = *prefix;
    }
    offer.name = read_name(*message.client);
    read_lease(message, offer);
    if (offer.lease.count() == 0) return fail(ErrorCode::invalid, "the offer has no lifetime");
    read_keepalive(message, offer);
    return offer;
}

}  // namespace dstm::client
