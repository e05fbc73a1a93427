// Names of actions and tunnel types as they stand on the wire (RFC 5572 s4.7.1, s7).
#include "common/tsp/message.hpp"

#include <algorithm>

namespace dstm::tsp {

std::string_view to_string(Action action) {
    switch (action) {
        case Action::create: return "create";
        case Action::delete_tunnel: return "delete";
        case Action::info: return "info";
        case Action::accept: return "accept";
        case Action::reject: return "reject";
        case Action::list: return "list";
    }
    return "unknown";
}

std::string_view to_string(RequestType type) {
    switch (type) {
        case RequestType::v4v6: return "v4v6";
        case RequestType::v6v4: return "v6v4";
        case RequestType::v6udpv4: return "v6udpv4";
        case RequestType::v6anyv4: return "v6anyv4";
        case RequestType::broker: return "broker";
    }
    return "unknown";
}

std::string_view to_string(AddressType type) {
    switch (type) {
        case AddressType::ipv4: return "ipv4";
        case AddressType::ipv6: return "ipv6";
        case AddressType::dn: return "dn";
    }
    return "unknown";
}

std::optional<Action> parse_action(std::string_view text) {
    for (const auto action : {Action::create, Action::delete_tunnel, Action::info, Action::accept,
                              Action::reject, Action::list}) {
        if (text == to_string(action)) return action;
    }
    return std::nullopt;
}

std::optional<RequestType> parse_request_type(std::string_view text) {
    for (const auto type : {RequestType::v4v6, RequestType::v6v4, RequestType::v6udpv4,
                            RequestType::v6anyv4, RequestType::broker}) {
        if (text == to_string(type)) return type;
    }
    return std::nullopt;
}

std::optional<AddressType> parse_address_type(std::string_view text) {
    for (const auto type : {AddressType::ipv4, AddressType::ipv6, AddressType::dn}) {
        if (text == to_string(type)) return type;
    }
    return std::nullopt;
}

const Address* Party::find(AddressType type) const {
    const auto found = std::ranges::find(addresses, type, &Address::type);
    return found == addresses.end() ? nullptr : &*found;
}

}  // namespace dstm::tsp
