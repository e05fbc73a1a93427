// The tunnel messages of TSP as plain values (RFC 5572 s4.7). Text is as it came from the peer:
// whether an address is valid is decided by who uses it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dstm::tsp {

enum class Action { create, delete_tunnel, info, accept, reject, list };

// What can be asked for (RFC 5572 s7). v6anyv4 is answered with a concrete type. `broker` stands
// in redirect lists only (Figure 9).
enum class RequestType { v4v6, v6v4, v6udpv4, v6anyv4, broker };

[[nodiscard]] std::string_view to_string(Action action);
[[nodiscard]] std::string_view to_string(RequestType type);
// Exactly the wire's words, lower case; nullopt for anything else.
[[nodiscard]] std::optional<Action> parse_action(std::string_view text);
[[nodiscard]] std::optional<RequestType> parse_request_type(std::string_view text);

enum class AddressType { ipv4, ipv6, dn };

[[nodiscard]] std::string_view to_string(AddressType type);
[[nodiscard]] std::optional<AddressType> parse_address_type(std::string_view text);

struct Address {
    AddressType type = AddressType::ipv6;
    std::string text;                     // without white space around it
    std::optional<std::uint32_t> length;  // attribute `length`, a prefix length

    bool operator==(const Address&) const = default;
};

struct Keepalive {
    std::uint32_t interval_s = 0;
    std::optional<Address> address;

    bool operator==(const Keepalive&) const = default;
};

struct Prefix {
    std::uint32_t length = 0;
    std::string text;  // empty in a request

    bool operator==(const Prefix&) const = default;
};

struct Router {
    std::optional<Prefix> prefix;
    std::vector<Address> dns_servers;

    bool operator==(const Router&) const = default;
};

// `server` or `client`. Both may hold an address of either family and a name.
struct Party {
    std::vector<Address> addresses;
    std::optional<Router> router;
    std::optional<Keepalive> keepalive;
    // `dns_server` outside `router`, where deployed clients put it. Read, never written.
    std::vector<Address> dns_servers = {};

    // First address of that type, or nullptr.
    [[nodiscard]] const Address* find(AddressType type) const;
    bool operator==(const Party&) const = default;
};

struct Broker {
    std::vector<Address> addresses;

    bool operator==(const Broker&) const = default;
};

struct TunnelMessage {
    Action action = Action::create;
    std::optional<RequestType> type;  // clients leave it out of accept (D4)
    // `type` was present but names nothing we know; kept so that the answer is 303, not 500.
    std::optional<std::string> unknown_type;
    std::optional<std::uint32_t> lifetime_min;  // minutes (s4.7.1)
    std::optional<Party> server;
    std::optional<Party> client;
    std::vector<Broker> brokers;

    // Our extensions, written as the last children of `tunnel` with a separate end tag, because
    // deployed parsers break on unknown self-closing elements.
    //   <lease seconds="3600"></lease>  in replies: the exact lease time; also says that the peer
    //                                   is a DSTM server and that `lifetime` is in minutes
    //   <host id="..."></host>          in requests: tells hosts of one user apart;
    //                                   1..64 characters of [0-9A-Za-z_-]
    std::optional<std::uint32_t> lease_seconds;
    std::optional<std::string> host_id;

    bool operator==(const TunnelMessage&) const = default;
};

}  // namespace dstm::tsp
