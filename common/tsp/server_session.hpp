// The broker's side of one signalling dialogue (RFC 5572 s4.3, s4.4), as a machine of values:
// events and the time go in, actions come out. It knows no socket, clock, thread or library.
//
//   version -> authenticate -> command -> (answered) -> accept ... -> command
//
// The owner carries out the actions in order and feeds the outcome back as events. The machine
// never has more than one of {authentication step, request} outstanding. From a create to its
// accept or reject every other command is answered 521, and the session stays open.
//
// Where the RFC is silent:
// - A peer whose message is wrong gets one status (500; 300, 302, 303 where they say more), bare
//   before the command phase and framed in it, and the session closes. So does one that is too
//   slow: an unfinished dialogue is a truncated one. One that only does not accept, or is idle
//   between commands, is closed without a word.
// - accept is not answered, although s4.3 expects a response to each command: deployed clients
//   read none on TCP. reject, which they never send, is answered 200.
// - A create, info or delete that the owner refuses leaves the session open; a redirect closes it
//   (Figure 9). Every refusal that another server may turn into success becomes a redirect when
//   there is a list, but for info and delete: what they are about is here.
//
// For UDP an exchange wraps this session (udp_exchange.hpp): it puts each Send into a datagram with
// the request's header, and repeats the last when the request is repeated.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/clock.hpp"
#include "common/tsp/framing.hpp"
#include "common/tsp/message.hpp"
#include "common/tsp/redirect.hpp"
#include "common/tsp/status.hpp"

namespace dstm::tsp {

struct ServerSessionLimits {
    Duration phase_timeout = std::chrono::seconds(30);   // per step until the first command is done
    Duration accept_timeout = std::chrono::seconds(30);  // from our 200 to the client's accept
    Duration idle_timeout = std::chrono::minutes(5);     // between commands, 0 = none
    std::size_t line_size_max = 4096;  // bytes without CR LF; SASL responses are lines too
    std::size_t body_size_max = 8192;  // Content-length
    std::size_t commands_max = 1000;   // in one session
    std::size_t authentication_steps_max = 10;
    std::size_t bare_redirect_size_max = 0;  // before the command phase; 0 = no limit
};

struct ServerSessionConfig {
    ServerSessionLimits limits;
    std::vector<RequestType> tunnel_types;  // offered in CAPABILITY; v6anyv4 is implied (D15)
    std::vector<std::string> mechanisms;    // offered in CAPABILITY, in this order; upper case
    // Named to a client that is not served here, for want of its version too (Figure 9).
    Redirect redirect;
};

// --- actions -------------------------------------------------------------------------------------

// One write: deployed clients need some replies to arrive in one segment, others in two.
struct Send {
    std::string bytes;
    // On a stream the peer must be able to read what came before with a receive of its own: a
    // deployed client that gets the proof of DIGEST-MD5 and the status at once waits for ever.
    bool is_apart = false;
};
// After all that was sent has left. Nothing follows it; a late event has no effect. If a request
// is outstanding, the owner takes back what comes of it.
struct Close {};
struct StartAuthentication {
    std::string mechanism;                        // upper case, one of those offered
    std::optional<std::string> initial_response;  // decoded; raw for PLAIN
};
struct ContinueAuthentication {
    std::string response;  // decoded
};
// A create, info or delete, well-formed; the owner answers with TunnelAnswered. What only the
// owner can judge (types of this site, addresses, policy) is unchecked.
struct RequestTunnel {
    TunnelMessage message;
};
// accept or reject of the last successful create (RFC 5572 s4.7.1). No answer is awaited.
struct ConfirmTunnel {};
struct DeclineTunnel {};
// One line for the log about the peer's bad input, without its secrets.
struct ReportViolation {
    std::string what;
};

using ServerAction = std::variant<Send, Close, StartAuthentication, ContinueAuthentication,
                                  RequestTunnel, ConfirmTunnel, DeclineTunnel, ReportViolation>;
using ServerActions = std::vector<ServerAction>;

// --- events --------------------------------------------------------------------------------------

struct BytesReceived {
    std::string_view bytes;
};
struct AuthenticationStepDone {
    enum class Outcome { challenge, success, failure, unavailable };
    Outcome outcome = Outcome::failure;
    std::string data;  // challenge, or data that goes with success; not yet base64
};
// `message` goes with success, `brokers` with a redirect: then `status` is sent + 1000.
struct TunnelAnswered {
    Status status = Status::server_error;
    std::optional<TunnelMessage> message;
    std::string detail;  // replaces the RFC's title on the status line when not empty
    std::vector<Broker> brokers;
    bool is_last = false;  // whatever the answer is, the session closes after it
};
// No more bytes will come. What has come is still answered, a message that is cut off too; then
// the session closes, and an offer is declined: nobody will accept it.
struct PeerClosed {};
// The peer's bytes came in a wrapping that is wrong (a datagram that does not hold one message):
// refused with 500, as wrong bytes are.
struct BadDatagramReceived {
    std::string what;
};
struct TimePassed {};

class ServerSession {
public:
    ServerSession(ServerSessionConfig config, Instant now);

    [[nodiscard]] ServerActions handle(const BytesReceived& event, Instant now);
    // To be called only while the step, or the request, is outstanding or after Close.
    [[nodiscard]] ServerActions handle(const AuthenticationStepDone& event, Instant now);
    [[nodiscard]] ServerActions handle(const TunnelAnswered& event, Instant now);
    [[nodiscard]] ServerActions handle(const PeerClosed& event, Instant now);
    [[nodiscard]] ServerActions handle(const BadDatagramReceived& event, Instant now);
    // To be called at or after deadline(); earlier it does nothing.
    [[nodiscard]] ServerActions handle(const TimePassed& event, Instant now);

    // When TimePassed is wanted next; nullopt when no limit runs.
    [[nodiscard]] std::optional<Instant> deadline() const;
    [[nodiscard]] bool is_closed() const { return phase_ == Phase::closed; }
    // A create was answered with success, and neither accept nor reject has come.
    [[nodiscard]] bool has_offer() const { return phase_ == Phase::offered; }

private:
    enum class Phase { version, mechanism, authentication, command, request, offered, closed };

    // One event at work: the time it came and what comes of it.
    struct Turn {
        Instant now;
        ServerActions actions;
    };

    void process(Turn& turn);
    [[nodiscard]] bool read_next(Turn& turn);
    void read_version(Turn& turn, const std::string& line);
    void read_mechanism(Turn& turn, const std::string& line);
    void read_authentication(Turn& turn, const std::string& line);
    void start_authentication(Turn& turn, std::optional<std::string> initial_response);
    void read_command(Turn& turn, const std::string& body);
    void read_request(Turn& turn, TunnelMessage message);
    void read_confirmation(Turn& turn, Action action);

    void answer_request(Turn& turn, const TunnelAnswered& event);
    [[nodiscard]] bool sends_away(Status status) const;
    void send_redirect(Turn& turn, Status status, std::string_view detail,
                       const std::vector<Broker>& brokers);
    void send_status(Turn& turn, Status status, std::string_view detail = {});
    void send_reply(Turn& turn, std::uint16_t code, std::string_view detail,
                    const TunnelMessage* message);
    // The peer is at fault: status, one line for the log, end.
    void refuse(Turn& turn, Status status, std::string what);
    void close(Turn& turn);
    void enter(Phase phase, Instant now);

    [[nodiscard]] bool is_framed_phase() const;
    [[nodiscard]] std::string capability_line() const;

    ServerSessionConfig config_;
    Framing input_;
    Phase phase_ = Phase::version;
    Instant phase_started_;
    std::optional<Instant> message_started_;  // when the first byte of an unfinished message came
    bool step_running_ = false;               // the owner works on an authentication step
    bool peer_closed_ = false;
    bool command_done_ = false;               // the first command was answered
    std::string mechanism_;                   // not empty in phase authentication: not yet started
    Action request_action_ = Action::create;  // of the outstanding request
    bool reads_proof_apart_ = false;          // DIGEST-MD5, see Send::is_apart
    std::size_t authentication_steps_ = 0;
    std::size_t commands_ = 0;
};

}  // namespace dstm::tsp
