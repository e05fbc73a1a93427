// What the client's machine (engine.hpp) is made of: its configuration, the tunnel it keeps, the
// events that go in and the actions that come out. Values only.
//
// RFC 5572 s4.3 (order of the dialogue), s4.6 (keepalive), s4.7.2 (addresses).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "client/offer.hpp"
#include "client/request.hpp"
#include "client/target.hpp"
#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tsp/message.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::client {

struct EngineLimits {
    Duration retry_first = std::chrono::seconds(1);
    Duration retry_max = std::chrono::seconds(60);
    Duration retry_refused = std::chrono::minutes(5);   // after a refusal that will stand
    Duration attempt_timeout = std::chrono::seconds(60);  // connect, authenticate, one command
    Duration stop_timeout = std::chrono::seconds(5);
    Duration delete_retry = std::chrono::milliseconds(500);  // after 521 or 530 while stopping
    Duration session_idle = std::chrono::seconds(30);  // then the signalling connection is closed
    Duration echo_timeout = std::chrono::seconds(5);
    Duration move_interval = std::chrono::seconds(1);  // at most one move in this time
    unsigned echo_misses = 3;
    unsigned redirects = 5;
    std::size_t brokers = 16;  // read from one list
};

struct EngineConfig {
    std::vector<Target> servers;  // tried in this order; none: FindServers
    std::optional<Target> last_good;  // of an earlier life; asked first if it is one of them
    Wishes wishes;
    bool on_demand = false;        // no lease until DemandSeen, none after DemandGone
    bool ends_on_refusal = false;  // a refusal that will stand ends the life (a person waits)
    std::uint64_t seed = 0;        // of the jitter
    EngineLimits limits;
};

// Now, on both clocks.
struct Moment {
    Instant at;
    WallTime wall;
};

// The tunnel that stands on this host.
struct Binding {
    Offer offer;
    IpEndpoint outer;  // ours
    IpEndpoint peer;   // who gave it
    Target server;     // by which name
    WallTime since;    // of this inner address, over renewals
    Instant renew_at;
    Instant ends_at;
    WallTime ends_at_wall;
};

// --- events --------------------------------------------------------------------------------------

struct StartRequested {};
struct StopRequested {};
struct RenewRequested {};
// Connected and authenticated; `local` is the connection's own source (N9, N10).
struct SessionOpened {
    IpEndpoint local;
    IpEndpoint peer;
    bool has_others = false;  // addresses of this server that were not tried
};
// There is no session any more, or there never was one.
struct SessionFailed {
    enum class Cause {
        unreachable,  // no connection
        lost,         // closed, silent or unreadable
        refused,      // by the server, with a status
        local,        // this side cannot or will not go on: mechanism, password, forged server
    };
    Cause cause = Cause::lost;
    std::uint16_t status = 0;
    std::string text;
    std::vector<tsp::Broker> brokers;
    // The server may do better at another address, which was not tried.
    bool has_others = false;
};
struct Answered {
    std::uint16_t status = 0;
    std::string text;
    std::optional<tsp::TunnelMessage> message;
    std::vector<tsp::Broker> brokers;
};
struct TunnelInstalled {
    std::optional<Error> error;
};
struct RoutesSet {
    std::optional<Error> error;
};
struct KeepaliveAnswered {
    std::uint16_t sequence = 0;
};
// Follows each FindServers and Connect: from where the kernel would send to peer() then; nullopt:
// it has no route or no address.
struct AttemptBegan {
    std::optional<IpAddress> source;
};
// From where it would send now. Told at whatever is new about the host's addresses and routes.
struct OuterAddressChanged {
    std::optional<IpAddress> source;
};
// The host has a way out of its own for what the tunnel would carry, or has it no longer.
struct NativeWayChanged {
    bool exists = false;
};
// Something wants to use the tunnel; nothing has used it for long. Both only matter on demand.
struct DemandSeen {};
struct DemandGone {};
struct ServersFound {
    std::vector<Target> servers;
    std::string trouble;  // why there are none
};
struct TimePassed {};

using Event =
    std::variant<StartRequested, StopRequested, RenewRequested, SessionOpened, SessionFailed,
                 Answered, TunnelInstalled, RoutesSet, KeepaliveAnswered, AttemptBegan,
                 OuterAddressChanged, NativeWayChanged, DemandSeen, DemandGone, ServersFound,
                 TimePassed>;

// --- actions, to be carried out in their order ---------------------------------------------------

struct FindServers {};  // ServersFound follows
struct Connect {        // SessionOpened or SessionFailed follows
    Target server;
    bool is_elsewhere = false;  // at another address than before
};
struct SendCommand {  // Answered or SessionFailed follows a create or delete, nothing an accept
    tsp::TunnelMessage message;
};
struct Disconnect {};    // nothing follows
struct InstallTunnel {   // TunnelInstalled follows
    TunnelSpec spec;
};
struct SetRoutes {};     // RoutesSet follows
struct ClearRoutes {};   // these two say nothing: what stays is the host record's business
struct RemoveTunnel {
    IpAddress inner;
};
struct SendKeepalive {
    IpAddress from;
    IpAddress to;
    std::uint16_t sequence = 0;
    std::uint32_t size = 0;  // of the whole inner packet; 0: as small as an echo can be
};
// For the log and for who waits; the binding is in binding().
struct Announce {
    enum class What {
        up, renewed, moved, retrying, refused, failed, redirected, keepalive_lost, down,
        lifetime_guessed, lease_not_returned, aside, dormant,
    };
    What what;
    std::string text;
    std::uint16_t status = 0;
    Duration in{0};          // retrying
    bool permanent = false;  // refused, failed: trying the same again will not help
};

using Action = std::variant<FindServers, Connect, SendCommand, Disconnect, InstallTunnel,
                            SetRoutes, ClearRoutes, RemoveTunnel, SendKeepalive, Announce>;
using Actions = std::vector<Action>;

}  // namespace dstm::client
