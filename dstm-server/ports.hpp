// The edges of the server, each with an in-memory twin in tests/support: what the broker wants from
// Kea, from the endpoints and from the audit log. Calls return at once; completions run later on
// the event thread, exactly once each, also when the other side dies. Calls to the lease store, and
// those to one endpoint, take effect in the order in which they were made.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::server {

template <class T>
using Done = std::function<void(Result<T>)>;

enum class Transport { tcp, udp };

// Who speaks in one signalling dialogue, as the network shows it.
struct SessionPeer {
    IpEndpoint remote;  // the source of its packets; a mapped IPv4 address already unmapped
    Transport transport = Transport::tcp;
    bool tls = false;
    std::string relay = {};  // the endpoint that relays its datagrams; empty: our own socket
};

// Which of Kea's two servers leases: IPv4 addresses for v4v6, IPv6 addresses and prefixes for the
// other types.
enum class Family { v4, v6 };

[[nodiscard]] constexpr Family family_of(TunnelType type) {
    return type == TunnelType::v4v6 ? Family::v4 : Family::v6;
}

// Names one client to Kea, in one family (broker/client_id.hpp). The same user on the same host has
// the same one, wherever it is and however it is encapsulated; nobody can name another user's.
using ClientId = std::vector<std::uint8_t>;

// What we keep in the lease's user-context (docs/wire/kea-stream.md): enough to know every tunnel
// again after a restart.
struct BindingContext {
    std::string user;  // empty: anonymous
    std::string host;  // what tells hosts of one user apart; may be empty
    TunnelType type = TunnelType::v4v6;
    IpEndpoint outer_client;
    std::string endpoint;  // name of the endpoint that carries it
    Generation generation = 0;
    // To whom the reverse zone of the prefix is delegated: addresses and names.
    std::vector<std::string> name_servers = {};

    bool operator==(const BindingContext&) const = default;
};

struct LeaseRequest {
    ClientId client_id;
    BindingContext context;
    std::optional<IpAddress> requested;
    std::optional<std::uint8_t> prefix_length;  // absent: none, one it had goes back
    std::optional<Ipv6Prefix> requested_prefix = {};  // of that length, if it has none of it
    std::uint32_t valid_lifetime_s = 0;         // 0: the subnet's own
    std::uint32_t subnet_id = 0;                // 0: the first that fits
    std::string hostname = {};                  // to be registered in DNS; empty: none
};

// Address and prefix are one unit: leased, renewed and ended together.
struct Lease {
    IpAddress address;
    std::optional<Ipv6Prefix> prefix = {};
    ClientId client_id;
    std::uint32_t valid_lifetime_s = 0;
    WallTime expires_at;
    std::string hostname = {};  // as registered in DNS; empty: none
    BindingContext context;

    bool operator==(const Lease&) const = default;
};

// Why a lease ended without our asking.
enum class LeaseEnd { expired, released, declined, deleted };

class LeaseListener {
public:
    virtual ~LeaseListener() = default;
    virtual void on_lease_ended(const Lease& lease, LeaseEnd why) = 0;
    // The store can be used (again), or events may have been lost: list() and compare.
    virtual void on_lease_store_ready() = 0;
    virtual void on_lease_store_lost() = 0;
};

// One of Kea's two servers. Each can be away alone.
class LeaseStore {
public:
    virtual ~LeaseStore() = default;
    virtual void set_listener(LeaseListener* listener) = 0;
    // A client that has a lease gets the same one again, renewed, with the new context.
    // exhausted: pool empty. not_found: no prefix of the length asked for. unavailable, timed_out:
    // Kea is away. refused: class or reservation.
    virtual void allocate(const LeaseRequest& request, Done<Lease> done) = 0;
    // not_found: no such lease. conflict: the lease is another client's, or its context has a
    // higher generation than `context`.
    virtual void renew(const IpAddress& address, const LeaseRequest& request,
                       Done<Lease> done) = 0;
    // Ends the lease unless its context has a generation above `up_to` (conflict).
    virtual void release(const IpAddress& address, const ClientId& client_id, Generation up_to,
                         Done<void> done) = 0;
    // Every lease with our context, whichever server gave it.
    virtual void list(Done<std::vector<Lease>> done) = 0;
};

// nullptr: leases of that family are not given out.
struct LeaseStores {
    LeaseStore* v4 = nullptr;
    LeaseStore* v6 = nullptr;
};

// What an endpoint says of itself when it connects.
struct EndpointInfo {
    std::string name;   // unique; from its certificate or configuration
    std::string group;  // endpoints of one group carry the same pools
    std::vector<TunnelType> types;
    std::optional<Ipv6Address> outer_ipv6;
    std::optional<Ipv4Address> outer_ipv4;
    Ipv4Address inner_ipv4;  // answers keepalives of v4v6
    std::vector<Ipv4Prefix> pools;
    std::optional<Ipv6Address> inner_ipv6;  // answers keepalives of v6 types
    std::vector<Ipv6Prefix> pools_ipv6;     // addresses and delegated prefixes of v6 types
    std::string data_plane;
    std::uint64_t tunnels = 0;  // installed now

    bool operator==(const EndpointInfo&) const = default;
};

class EndpointListener {
public:
    virtual ~EndpointListener() = default;
    // To be answered with sync(): what should be there.
    virtual void on_endpoint_up(const EndpointInfo& info) = 0;
    virtual void on_endpoint_gone(const std::string& name) = 0;
    // No packet from these for longer than the endpoint's idle time.
    virtual void on_tunnels_idle(const std::string& name, const std::vector<IpAddress>& inner) = 0;
};

struct SyncOutcome {
    std::uint64_t installed = 0;
    std::uint64_t unchanged = 0;
    std::uint64_t removed = 0;
};

class EndpointLinks {
public:
    virtual ~EndpointLinks() = default;
    virtual void set_listener(EndpointListener* listener) = 0;
    // unavailable: not connected or lost before it answered. conflict: a newer one is installed.
    virtual void install(const std::string& endpoint, const TunnelSpec& spec, Done<void> done) = 0;
    // No error when nothing is there, or something newer.
    virtual void remove(const std::string& endpoint, const IpAddress& inner, Generation up_to,
                        Done<void> done) = 0;
    // Makes the endpoint hold exactly these, but for what was installed with a generation above
    // `as_of`. What stays never stops forwarding.
    virtual void sync(const std::string& endpoint, std::vector<TunnelSpec> tunnels,
                      Generation as_of, Done<SyncOutcome> done) = 0;
};

// One line per start, change and end of a binding (RFC 6888 s4: who had which address when).
struct AuditRecord {
    enum class Event { started, changed, ended };
    Event event = Event::started;
    WallTime time;
    std::string user;
    std::string host;
    TunnelType type = TunnelType::v4v6;
    IpAddress inner;
    std::optional<Ipv6Prefix> prefix = {};
    IpEndpoint outer_client;
    std::string endpoint;
    WallTime expires_at;
    std::string reason;  // of an end: "deleted by client", "expired", ...
};

class AuditLog {
public:
    virtual ~AuditLog() = default;
    virtual void write(const AuditRecord& record) = 0;
};

}  // namespace dstm::server
