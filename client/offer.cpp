// From the text of an offer to values, or why it cannot be used (RFC 5572 s4.7, s5.3).
#include "client/offer.hpp"

#include "common/log/log.hpp"

namespace dstm::client {
namespace {

// RFC 5572 Appendix A: the value of an absent `lifetime`.
constexpr std::uint32_t lifetime_default = 1440;

std::optional<Ipv4Address> usable_ipv4(const std::optional<tsp::Party>& party) {
    const auto* address = party ? party->find(tsp::AddressType::ipv4) : nullptr;
    if (address == nullptr) return std::nullopt;
    const auto parsed = Ipv4Address::parse(address->text);
    return parsed && parsed->is_usable_unicast() ? parsed : std::nullopt;
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
// pinged through the tunnel (some brokers echo 127.0.0.1) means no keepalive.
void read_keepalive(const tsp::TunnelMessage& message, Offer& offer) {
    for (const auto* party : {&message.client, &message.server}) {
        if (!*party || !(*party)->keepalive) continue;
        const auto& keepalive = *(*party)->keepalive;
        if (keepalive.interval_s == 0 || !keepalive.address) return;
        const auto address = Ipv4Address::parse(keepalive.address->text);
        if (!address || !address->is_usable_unicast() || *address == offer.inner) return;
        offer.keepalive_interval = std::chrono::seconds(keepalive.interval_s);
        offer.keepalive_to = address;
        return;
    }
}

}  // namespace

Result<Offer> read_offer(const tsp::TunnelMessage& message, const Ipv6Address& outer) {
    if (message.action != tsp::Action::info) {
        return fail(ErrorCode::invalid, "the server's answer is not an offer of a tunnel");
    }
    if (message.unknown_type || (message.type && *message.type != tsp::RequestType::v4v6)) {
        return fail(ErrorCode::invalid, "the server offers another type of tunnel than asked for");
    }
    Offer offer;
    const auto inner = usable_ipv4(message.client);
    if (!inner) return fail(ErrorCode::invalid, "the offer holds no usable IPv4 address for us");
    offer.inner = *inner;

    const auto* endpoint = message.server ? message.server->find(tsp::AddressType::ipv6) : nullptr;
    if (endpoint == nullptr) {
        return fail(ErrorCode::invalid, "the offer holds no IPv6 address of the endpoint");
    }
    const auto endpoint_address = Ipv6Address::parse(endpoint->text);
    if (!endpoint_address || !endpoint_address->is_usable_unicast() || *endpoint_address == outer) {
        return fail(ErrorCode::invalid,
                    "the endpoint's address is not usable: " + log::quoted(endpoint->text));
    }
    offer.endpoint = *endpoint_address;

    // Text that is no address is tolerated (the RFC's own figure has one), another address is not:
    // the endpoint would drop every packet of ours.
    const auto* ours = message.client->find(tsp::AddressType::ipv6);
    const auto ours_address = ours == nullptr ? std::nullopt : Ipv6Address::parse(ours->text);
    if (ours_address && *ours_address != outer) {
        return fail(ErrorCode::invalid, "the offer is for " + ours_address->to_string() +
                                            ", this host asked as " + outer.to_string());
    }
    read_lease(message, offer);
    if (offer.lease.count() == 0) return fail(ErrorCode::invalid, "the offer has no lifetime");
    read_keepalive(message, offer);
    return offer;
}

}  // namespace dstm::client
