// The client's side of one signalling dialogue (RFC 5572 s4.3, s4.4), as a machine of values.
//
// One session authenticates once and may then carry several commands: create, accept, and on the
// same connection later renewals, info or delete. It knows no socket, clock, mechanism or address.
//
//   Connected -> ChooseMechanism -> MechanismChosen -> ContinueAuthentication ... -> Authenticated
//   CommandChosen -> CommandAnswered -> CommandChosen (accept) ...
//
// The owner answers each ChooseMechanism and each ContinueAuthentication with one event. After
// Close nothing follows and late events have no effect.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/clock.hpp"
#include "common/tsp/framing.hpp"
#include "common/tsp/message.hpp"
#include "common/tsp/status.hpp"

namespace dstm::tsp {

struct ClientSessionConfig {
    Duration answer_timeout = std::chrono::seconds(10);  // from each request to its reply
    std::optional<Duration> greeting_timeout;            // the same of the first one
    std::size_t line_size_max = 8192;
    std::size_t body_size_max = 16384;
    std::string version = "2.0.0";
};

namespace client {

// --- actions -------------------------------------------------------------------------------------

struct Send {
    std::string bytes;
};
struct Close {};
// The owner picks one (or fails) and answers MechanismChosen.
struct ChooseMechanism {
    std::vector<std::string> mechanisms;    // as offered
    std::vector<RequestType> tunnel_types;  // as offered
};
struct ContinueAuthentication {
    std::string challenge;  // decoded
    // The server's proof (rspauth, SCRAM v=): verify it. Nothing is sent; a status follows.
    bool is_final = false;
};
struct Authenticated {};  // the command phase begins: CommandChosen may follow
// Answer to a command. status 200 with a message for create and info, without for delete.
struct CommandAnswered {
    std::uint16_t status = 0;  // 1000 already taken off
    std::string text;          // of the status line, for the user (Appendix B)
    std::optional<TunnelMessage> message;
    std::vector<Broker> brokers;  // not empty: a redirect
};
// The dialogue is over before it reached its aim. Close follows. (Close alone: the owner chose no
// mechanism, or the server closed an authenticated session while no answer was awaited.)
struct Failed {
    enum class Cause { refused, malformed, timed_out, closed };
    Cause cause = Cause::malformed;
    std::uint16_t status = 0;  // of a refusal, else 0
    std::string text;
    std::vector<Broker> brokers;
};

using Action = std::variant<Send, Close, ChooseMechanism, ContinueAuthentication, Authenticated,
                            CommandAnswered, Failed>;
using Actions = std::vector<Action>;

// --- events --------------------------------------------------------------------------------------

struct Connected {};
struct BytesReceived {
    std::string_view bytes;
};
struct MechanismChosen {
    std::string mechanism;  // upper case; empty: nothing fits, close (s4.4.2)
    // Not yet encoded. Not sent for ANONYMOUS and where the server speaks first.
    std::optional<std::string> initial_response;
};
struct AuthenticationStepDone {
    bool failed = false;   // we do not trust the server's answer, or cannot go on
    std::string response;  // not yet encoded; not sent when the challenge was final
};
struct CommandChosen {
    TunnelMessage message;  // accept and reject get no answer
};
struct PeerClosed {};
struct TimePassed {};

}  // namespace client

class ClientSession {
public:
    explicit ClientSession(ClientSessionConfig config);

    [[nodiscard]] client::Actions handle(const client::Connected& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::BytesReceived& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::MechanismChosen& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::AuthenticationStepDone& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::CommandChosen& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::PeerClosed& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::TimePassed& event, Instant now);

    // When TimePassed is wanted next; nullopt while no answer is awaited.
    [[nodiscard]] std::optional<Instant> deadline() const;
    [[nodiscard]] bool is_closed() const { return phase_ == Phase::closed; }
    // Authenticated and no answer awaited: CommandChosen may come.
    [[nodiscard]] bool is_ready() const { return phase_ == Phase::ready; }

private:
    enum class Phase {
        idle,            // not connected
        capability,      // VERSION is sent
        choosing,        // the owner picks a mechanism
        authentication,  // the server's line is awaited
        stepping,        // the owner works on a challenge
        ready,
        answer,       // a command is sent
        broker_list,  // a status above 1000 came, its list is awaited
        closed,
    };
    struct Turn {
        Instant now;
        client::Actions actions;
    };

    void process(Turn& turn);
    [[nodiscard]] bool read_next(Turn& turn);
    void read_capability(Turn& turn, const std::string& line);
    void read_authentication(Turn& turn, const std::string& line);
    void read_refusal(Turn& turn, std::uint16_t code, std::string text);
    void read_broker_list(Turn& turn, const std::string& xml);
    void read_reply(Turn& turn, const std::string& body);
    void read_success(Turn& turn, std::string text, std::optional<TunnelMessage> message);
    void fail(Turn& turn, client::Failed failed);
    void fail_malformed(Turn& turn, std::string text);
    void send(Turn& turn, std::string bytes, Phase next);
    void enter(Phase phase, Instant now);

    ClientSessionConfig config_;
    Framing input_;
    Phase phase_ = Phase::idle;
    Instant phase_started_;
    std::string mechanism_;
    int challenges_ = 0;
    bool server_proved_ = false;
    Action command_ = Action::create;  // the one whose answer is awaited
    bool reject_sent_ = false;         // and its 200 has not been seen
    client::Failed refusal_;           // while its broker list is awaited
};

}  // namespace dstm::tsp
