// The client's life as a machine of values: events and the time go in, actions come out.
//
//   stopped -> connecting -> signalling -> up <-> renewing
//                  ^  `-> waiting -'         `-> tearing_down -> stopped
//
// It asks for a tunnel, keeps it through renewal, outage and move, and gives it back. It knows no
// socket, clock, device or library. One dialogue with a server and one tunnel at a time.
//
// RFC 5572 s4.3 (order of the dialogue), s4.6 (keepalive), s4.7.1 (lifetime), s4.7.2 (addresses).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "client/offer.hpp"
#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tsp/message.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::client {

// A server to ask: a name or an address without brackets.
struct Target {
    std::string host;
    std::uint16_t port = 0;

    auto operator<=>(const Target&) const = default;
};

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
    std::vector<Target> servers;  // tried in this order
    std::string host_id;
    std::uint32_t keepalive_wish_s = 30;
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
    Ipv6Address outer;  // ours
    IpEndpoint peer;    // who gave it
    Target server;      // by which name
    WallTime since;     // of this inner address, over renewals
    Instant renew_at;
    Instant ends_at;
    WallTime ends_at_wall;
};

// --- events --------------------------------------------------------------------------------------

struct StartRequested {};
struct StopRequested {};
struct RenewRequested {};
// Connected and authenticated; `local` is the connection's own source address (N10).
struct SessionOpened {
    Ipv6Address local;
    IpEndpoint peer;
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
// The kernel would now send to the server from this address.
struct OuterAddressChanged {
    Ipv6Address source;
};
struct TimePassed {};

using Event =
    std::variant<StartRequested, StopRequested, RenewRequested, SessionOpened, SessionFailed,
                 Answered, TunnelInstalled, RoutesSet, KeepaliveAnswered, OuterAddressChanged,
                 TimePassed>;

// --- actions, to be carried out in their order ---------------------------------------------------

struct Connect {  // SessionOpened or SessionFailed follows
    Target server;
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
    Ipv4Address from;
    Ipv4Address to;
    std::uint16_t sequence = 0;
};
// For the log and for who waits; the binding is in binding().
struct Announce {
    enum class What {
        up, renewed, moved, retrying, refused, failed, redirected, keepalive_lost, down,
        lifetime_guessed, lease_not_returned,
    };
    What what;
    std::string text;
    std::uint16_t status = 0;
    Duration in{0};          // retrying
    bool permanent = false;  // refused, failed: trying the same again will not help
};

using Action = std::variant<Connect, SendCommand, Disconnect, InstallTunnel, SetRoutes, ClearRoutes,
                            RemoveTunnel, SendKeepalive, Announce>;
using Actions = std::vector<Action>;

// --- the machine ---------------------------------------------------------------------------------

enum class State { stopped, connecting, signalling, up, renewing, waiting, tearing_down };

[[nodiscard]] std::string_view to_string(State state);

class Engine {
public:
    explicit Engine(EngineConfig config);

    [[nodiscard]] Actions handle(const Event& event, Moment now);

    // When TimePassed is wanted next.
    [[nodiscard]] std::optional<Instant> deadline() const;
    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] const std::optional<Binding>& binding() const { return binding_; }
    // In plain words; empty when the last attempt went well.
    [[nodiscard]] const std::string& last_error() const { return last_error_; }

private:
    enum class Dialogue { none, connecting, open, creating, deleting };
    // An offer that was accepted and is being put on the host.
    struct Pending {
        Offer offer;
        Ipv6Address outer;
        IpEndpoint peer;
        Target server;
    };
    struct Failure {
        std::string text;
        std::uint16_t status = 0;
        bool permanent = false;
    };

    void on(const StartRequested& event);
    void on(const StopRequested& event);
    void on(const RenewRequested& event);
    void on(const SessionOpened& event);
    void on(const SessionFailed& event);
    void on(const Answered& event);
    void on(const TunnelInstalled& event);
    void on(const RoutesSet& event);
    void on(const KeepaliveAnswered& event);
    void on(const OuterAddressChanged& event);
    void on(const TimePassed& event);

    void begin_attempt();
    void connect_next();
    void connect(const Target& target);
    void disconnect();
    void renew();
    void send_create();
    void send_delete();
    void follow_redirect(const std::vector<tsp::Broker>& brokers);
    void attempt_failed(Failure failure);
    void retry_after(Duration base);

    void take_offer(const Answered& event);
    void become_up();
    void install_failed(const Error& error);
    void lease_ended();
    void finish_stop();

    void start_keepalive();
    void keepalive_due();
    void keepalive_lost();

    void announce(Announce::What what, std::string text = {});
    [[nodiscard]] State working_state() const;
    [[nodiscard]] Duration jittered(Duration base, double smallest_share);
    [[nodiscard]] Generation next_generation();

    EngineConfig config_;
    std::mt19937_64 random_;
    State state_ = State::stopped;
    Actions out_;
    Moment now_{};
    std::string last_error_;

    // The dialogue.
    Dialogue dialogue_ = Dialogue::none;
    Target current_;                 // of the dialogue
    Ipv6Address local_;
    IpEndpoint peer_;
    bool session_was_idle_ = false;  // the command runs on an old connection, which may be dead
    std::deque<Target> targets_;     // still to be tried in this attempt
    std::set<Target> visited_;
    unsigned redirects_ = 0;
    unsigned failures_ = 0;          // attempts in a row
    std::optional<Instant> attempt_by_;
    std::optional<Instant> retry_at_;
    std::optional<Instant> stop_by_;
    std::optional<Instant> session_idle_at_;
    std::optional<Instant> moved_at_;
    std::optional<Ipv6Address> moving_to_;  // a move that waits, for it came too soon

    // The tunnel.
    std::optional<Pending> pending_;
    std::optional<Binding> binding_;
    std::optional<Failure> giving_back_;  // the host failed, the lease is on its way back
    Generation generation_ = 0;

    // The keepalive.
    std::uint16_t echo_sequence_ = 0;
    unsigned echo_misses_ = 0;
    std::optional<Instant> echo_at_;
    std::optional<Instant> echo_answer_by_;
};

}  // namespace dstm::client
