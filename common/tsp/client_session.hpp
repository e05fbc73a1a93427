// The client's side of one signalling dialogue (RFC 5572 s4.3, s4.4), as a machine of values.
//
// One session authenticates once and may then carry several commands: create, accept, and on the
// same connection later renewals, info or delete.
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

struct ClientSessionConfig {
    Duration answer_timeout = std::chrono::seconds(10);  // from each request to its reply
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
    bool is_final = false;  // came with success: verify it (rspauth, SCRAM v=), send nothing
};
struct Authenticated {};  // the command phase begins: CommandChosen may follow
// Answer to a command. status 200 with a message for create and info, without for delete.
struct CommandAnswered {
    std::uint16_t status = 0;  // 1000 already taken off
    std::string text;          // of the status line, for the user (Appendix B)
    std::optional<TunnelMessage> message;
    std::vector<Broker> brokers;  // not empty: a redirect
};
// The dialogue is over before it reached its aim. Close follows.
struct Failed {
    enum class Cause { refused, malformed, timed_out, closed };
    Cause cause = Cause::malformed;
    std::uint16_t status = 0;  // of a refusal, else 0
    std::string text;
    std::vector<Broker> brokers;
};

using Action =
    std::variant<Send, Close, ChooseMechanism, ContinueAuthentication, Authenticated,
                 CommandAnswered, Failed>;
using Actions = std::vector<Action>;

// --- events --------------------------------------------------------------------------------------

struct Connected {};
struct BytesReceived {
    std::string_view bytes;
};
struct MechanismChosen {
    std::string mechanism;                        // empty: nothing fits, close (s4.4.2)
    std::optional<std::string> initial_response;  // not yet encoded
};
struct AuthenticationStepDone {
    bool failed = false;   // we do not trust the server's answer, or cannot go on
    std::string response;  // not yet encoded
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

    [[nodiscard]] std::optional<Instant> deadline() const;
};

}  // namespace dstm::tsp
