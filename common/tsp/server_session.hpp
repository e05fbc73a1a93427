// The broker's side of one signalling dialogue (RFC 5572 s4.3, s4.4), as a machine of values:
// events and the time go in, actions come out. It knows no socket, clock, thread or library.
//
//   version -> authenticate -> command -> (answered) -> accept ... -> command
//
// The owner carries out the actions in order and feeds the outcome back as events. The machine
// never has more than one of {authentication step, request} outstanding: a command that comes
// while one runs is answered 521.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/clock.hpp"
#include "common/tsp/message.hpp"
#include "common/tsp/status.hpp"

namespace dstm::tsp {

struct ServerSessionLimits {
    Duration phase_timeout = std::chrono::seconds(30);  // per step until the first command is done
    Duration accept_timeout = std::chrono::seconds(30);  // from our 200 to the client's accept
    Duration idle_timeout = std::chrono::minutes(5);     // between commands, 0 = none
    std::size_t line_size_max = 4096;     // bytes without CR LF; SASL responses are lines too
    std::size_t body_size_max = 8192;     // Content-length
    std::size_t commands_max = 1000;      // in one session
    std::size_t authentication_steps_max = 10;
};

struct ServerSessionConfig {
    ServerSessionLimits limits;
    std::vector<RequestType> tunnel_types;  // offered in CAPABILITY; v6anyv4 is implied (D15)
    std::vector<std::string> mechanisms;    // offered in CAPABILITY, in this order
};

// --- actions -------------------------------------------------------------------------------------

// One write: deployed clients need some replies to arrive in one segment, others in two.
struct Send {
    std::string bytes;
};
// After all that was sent has left. Nothing follows it; a late event has no effect.
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
};
struct TimePassed {};

class ServerSession {
public:
    ServerSession(ServerSessionConfig config, Instant now);

    [[nodiscard]] ServerActions handle(const BytesReceived& event, Instant now);
    [[nodiscard]] ServerActions handle(const AuthenticationStepDone& event, Instant now);
    [[nodiscard]] ServerActions handle(const TunnelAnswered& event, Instant now);
    // To be called at or after deadline().
    [[nodiscard]] ServerActions handle(const TimePassed& event, Instant now);

    // When TimePassed is wanted next; nullopt when no limit runs.
    [[nodiscard]] std::optional<Instant> deadline() const;
    [[nodiscard]] bool is_closed() const;

private:
    enum class Phase { version, mechanism, authentication, command, request, offered, closed };
    // To be completed by the implementation.
};

}  // namespace dstm::tsp
