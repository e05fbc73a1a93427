// The client's life as a machine of values: events and the time go in, actions come out.
//
//   stopped -> connecting -> signalling -> up <-> renewing
//                  ^  `-> waiting -'         `-> tearing_down -> stopped | aside | dormant
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
#include <vector>

#include "client/engine_values.hpp"

namespace dstm::client {

enum class State {
    stopped,
    aside,    // the host has a way of its own
    dormant,  // on demand: nobody wants the tunnel
    connecting,
    signalling,
    up,
    renewing,
    waiting,
    tearing_down,
};

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
    [[nodiscard]] const std::string& last_error() const { return last_failure_.text; }
    // Towards whom this host's source address matters: the server it talks to, or the one that gave
    // the tunnel. While none is known, nobody's address: there the way out decides.
    [[nodiscard]] IpEndpoint peer() const;

private:
    enum class Dialogue { none, finding, connecting, open, creating, deleting };
    // An offer that was accepted and is being put on the host.
    struct Pending {
        Offer offer;
        IpEndpoint outer;
        IpEndpoint peer;
        Target server;
    };
    // What a server holds for this host, from the accept until it is given back or over.
    struct Lease {
        Target server;
        IpAddress peer;
        Instant ends_at;
    };
    // One that came too soon after the last, and waits.
    struct Move {
        IpAddress to;
        Instant at;
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
    void on(const AttemptBegan& event);
    void on(const OuterAddressChanged& event);
    void on(const NativeWayChanged& event);
    void on(const DemandSeen& event);
    void on(const DemandGone& event);
    void on(const ServersFound& event);
    void on(const TimePassed& event);

    void tear_down();
    void stand_aside();
    void rest();
    [[nodiscard]] bool has_no_tunnel_to_come() const;
    [[nodiscard]] bool keeps_its_server() const;
    void begin_attempt();
    void move();
    [[nodiscard]] bool has_local_end() const;
    [[nodiscard]] std::optional<IpAddress> place() const;
    void now_at(const std::optional<IpAddress>& place);
    void try_servers();
    void find_servers();
    void connect_next();
    void connect(const Target& target);
    void connect_elsewhere();
    void disconnect();
    void renew();
    void send_create();
    void send_delete();
    void follow_redirect(const std::vector<tsp::Broker>& brokers);
    void attempt_failed(Failure failure);
    void retry_after(Duration base);

    void take_offer(const Answered& event);
    void become_up();
    void install_failed(const Error& error, bool is_changed);
    void lease_ended();

    void give_back_from(const std::optional<IpAddress>& source);
    void delete_answered(const Answered& event);
    void not_given_back(const std::string& why);
    void delete_is_over();
    void finish_stop();

    void start_keepalive();
    void keepalive_due();
    void keepalive_missed(Instant answer_by);
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
    Failure last_failure_;

    // The dialogue.
    Dialogue dialogue_ = Dialogue::none;
    Target current_;                 // of the dialogue
    IpEndpoint local_;
    std::optional<IpEndpoint> peer_;  // of the last session
    bool has_others_ = false;         // current_ has addresses that were not tried
    std::optional<IpAddress> asked_from_;  // the source when the last attempt began
    Moment asked_at_{};                    // the last create: the lease is as old
    bool session_was_idle_ = false;  // the command runs on an old connection, which may be dead
    std::vector<Target> servers_;    // configured, or found last
    std::optional<Target> last_good_;
    bool good_was_listed_ = true;    // last_good_ was one of servers_, nobody sent us there
    bool is_to_find_ = false;        // where nothing is configured: not yet in this attempt
    std::deque<Target> targets_;     // still to be tried in this attempt
    std::set<Target> visited_;
    unsigned redirects_ = 0;
    unsigned failures_ = 0;          // attempts in a row
    std::optional<Instant> attempt_by_;
    std::optional<Instant> retry_at_;
    std::optional<Instant> stop_by_;
    bool native_way_ = false;   // while it is there, no tunnel
    bool may_come_back_ = false;  // what is being torn down
    std::optional<Instant> session_idle_at_;
    std::optional<Instant> moved_at_;
    std::optional<Move> move_;

    // The tunnel.
    tsp::RequestType given_type_;  // of the last offer; a delete names it
    std::optional<Pending> pending_;
    std::optional<Binding> binding_;
    bool is_tunnel_sound_ = false;  // as far as this host knows
    std::optional<Lease> lease_;
    std::optional<Failure> giving_back_;  // the host failed, the lease is on its way back
    Generation generation_ = 0;

    // The keepalive.
    std::uint16_t echo_sequence_ = 0;
    unsigned echo_misses_ = 0;
    std::optional<Instant> echo_at_;
    std::optional<Instant> echo_answer_by_;
};

}  // namespace dstm::client
