// What an endpoint and a server say to each other, as values (docs/wire/endpoint-link.md).
//
// Does not know JSON (codec.hpp), who waits for what (peer.hpp) or how bytes travel (common/io).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::teplink {

inline constexpr std::uint64_t protocol_version = 1;
inline constexpr std::string_view link_target = "/dstm/endpoint";
inline constexpr std::string_view link_subprotocol = "dstm-endpoint.1";

// Both ends refuse what is larger; 1000 of the longest SPEC fit into a frame twice over.
inline constexpr std::size_t frame_size_max = 1 << 20;
inline constexpr std::size_t tunnels_per_message_max = 1000;
inline constexpr std::size_t pools_max = 256;
inline constexpr std::size_t name_size_max = 64;
inline constexpr std::size_t datagram_size_max = 4096;  // of a relayed TSP datagram
inline constexpr std::size_t error_text_size_max = 512;

// Names of endpoints, groups and servers: 1-64 letters, digits, '.', '-' and '_'.
[[nodiscard]] bool is_valid_name(std::string_view name);

// --- requests, and the answer of each -----------------------------------------------------------

struct Hello {
    std::string name;
    std::string group;
    std::vector<TunnelType> types;
    std::optional<Ipv6Address> outer_ipv6;
    std::optional<Ipv4Address> outer_ipv4;
    Ipv4Address inner_ipv4;
    std::vector<Ipv4Prefix> pools;
    std::optional<Ipv6Address> inner_ipv6;  // with v6 types
    std::vector<Ipv6Prefix> pools_ipv6;     // addresses and delegated prefixes of v6 types
    std::string data_plane;
    std::uint64_t tunnels = 0;  // installed now
    std::uint64_t protocol = protocol_version;

    bool operator==(const Hello&) const = default;
};

struct HelloAnswer {
    std::string server;
    std::uint64_t protocol = protocol_version;

    bool operator==(const HelloAnswer&) const = default;
};

struct Install {
    std::vector<TunnelSpec> tunnels;

    bool operator==(const Install&) const = default;
};

struct Removal {
    IpAddress inner;
    Generation up_to = 0;

    bool operator==(const Removal&) const = default;
};

struct Remove {
    std::vector<Removal> tunnels;

    bool operator==(const Remove&) const = default;
};

// To Install and Remove: one outcome a tunnel, in the order of the request.
struct BatchAnswer {
    std::vector<Result<void>> results;

    bool operator==(const BatchAnswer& other) const;
};

// One part of the whole table; what no part names and is not newer than `as_of` goes at the end.
struct Sync {
    std::uint64_t session = 0;
    bool first = false;
    bool last = false;
    Generation as_of = 0;
    std::vector<TunnelSpec> tunnels;

    bool operator==(const Sync&) const = default;
};

struct SyncTotals {
    std::uint64_t installed = 0;
    std::uint64_t unchanged = 0;
    std::uint64_t removed = 0;

    bool operator==(const SyncTotals&) const = default;
};

struct SyncAnswer {
    std::optional<SyncTotals> totals;  // after the last part only

    bool operator==(const SyncAnswer&) const = default;
};

struct List {
    std::optional<IpAddress> from;  // the first one wanted; absent: the lowest
    std::uint64_t limit = tunnels_per_message_max;

    bool operator==(const List&) const = default;
};

struct ListedTunnel {
    TunnelSpec spec = {};
    std::uint64_t packets_up = 0;
    std::uint64_t bytes_up = 0;
    std::uint64_t packets_down = 0;
    std::uint64_t bytes_down = 0;
    WallTime last_seen_up = {};  // 1970 when nothing has come yet
    WallTime last_seen_down = {};

    bool operator==(const ListedTunnel&) const = default;
};

struct ListAnswer {
    std::vector<ListedTunnel> tunnels;
    std::optional<IpAddress> next;  // `from` of the next page; absent: this was the last

    bool operator==(const ListAnswer&) const = default;
};

struct Counters {
    bool operator==(const Counters&) const = default;
};

struct CountersAnswer {
    std::map<std::string, std::uint64_t, std::less<>> drops;

    bool operator==(const CountersAnswer&) const = default;
};

using Request = std::variant<Hello, Install, Remove, Sync, List, Counters>;
using Answer = std::variant<HelloAnswer, BatchAnswer, SyncAnswer, ListAnswer, CountersAnswer>;

// --- notifications ------------------------------------------------------------------------------

struct Idle {
    std::vector<IpAddress> inner;

    bool operator==(const Idle&) const = default;
};

struct Down {
    bool operator==(const Down&) const = default;
};

// A TSP datagram (RFC 5572 s4.4.1.2) that came to the endpoint's UDP port, on its way to the
// server, or the server's reply on its way to the peer. May get lost, as on any way.
struct Datagram {
    IpEndpoint peer;
    std::string data;

    bool operator==(const Datagram&) const = default;
};

using Notification = std::variant<Idle, Down, Datagram>;

// --- refusals -----------------------------------------------------------------------------------

inline constexpr int code_parse_error = -32700;  // JSON-RPC 2.0 s5.1
inline constexpr int code_invalid_request = -32600;
inline constexpr int code_method_not_found = -32601;
inline constexpr int code_invalid_params = -32602;
inline constexpr int code_unavailable = 1;
inline constexpr int code_conflict = 2;
inline constexpr int code_exhausted = 3;
inline constexpr int code_refused = 4;
inline constexpr int code_internal = 5;

// The code an error of ours has on the wire, and what a code on the wire means to a caller.
[[nodiscard]] int wire_code(ErrorCode code);
[[nodiscard]] ErrorCode error_code(std::int64_t wire_code);

}  // namespace dstm::teplink
