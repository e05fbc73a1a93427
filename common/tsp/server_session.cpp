// The broker's side of the dialogue (RFC 5572 s4.3, s4.4): reading and answering. What it decides
// where the RFC is silent is said in the header.
#include "common/tsp/server_session.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/base64.hpp"
#include "common/tsp/reply.hpp"
#include "common/tsp/sasl_wire.hpp"
#include "common/tsp/tunnel_xml.hpp"

namespace dstm::tsp {
namespace {

constexpr std::string_view version_word = "VERSION=";
constexpr std::string_view version_prefix = "2.0.";  // deployed: 2.0.0, 2.0.1, 2.0.2
constexpr std::size_t version_patch_digits_max = 5;
constexpr std::size_t version_shown_max = 32;

char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool is_supported_version(std::string_view version) {
    if (!version.starts_with(version_prefix)) return false;
    const auto patch = version.substr(version_prefix.size());
    return !patch.empty() && patch.size() <= version_patch_digits_max &&
           std::ranges::all_of(patch, [](char c) { return c >= '0' && c <= '9'; });
}

struct Refusal {
    Status status;
    const char* what;
};

// What makes a request well-formed, whoever asks. Sites and policies are the owner's.
std::optional<Refusal> find_fault(const TunnelMessage& message) {
    if (message.unknown_type || message.type == RequestType::broker) {
        return Refusal{Status::unsupported_tunnel_type, "unknown tunnel type"};
    }
    if (message.action != Action::create) return std::nullopt;  // D4: `type` may be left out
    if (!message.type) return Refusal{Status::invalid_format, "create without a type"};
    if (!message.client || message.client->addresses.empty()) {
        return Refusal{Status::invalid_format, "create without a client address"};
    }
    return std::nullopt;
}

std::uint16_t code_of(Status status) { return static_cast<std::uint16_t>(status); }

}  // namespace

ServerSession::ServerSession(ServerSessionConfig config, Instant now)
    : config_(std::move(config)),
      input_({config_.limits.line_size_max, config_.limits.body_size_max}),
      phase_started_(now) {}

// --- events --------------------------------------------------------------------------------------

ServerActions ServerSession::handle(const BytesReceived& event, Instant now) {
    if (is_closed() || peer_closed_) return {};
    Turn turn{now, {}};
    input_.append(event.bytes);
    process(turn);
    return std::move(turn.actions);
}

ServerActions ServerSession::handle(const AuthenticationStepDone& event, Instant now) {
    if (is_closed()) return {};
    DSTM_ASSERT(step_running_);
    Turn turn{now, {}};
    step_running_ = false;
    using Outcome = AuthenticationStepDone::Outcome;
    switch (event.outcome) {
        case Outcome::challenge:
            turn.actions.emplace_back(Send{encode_base64(event.data) + "\r\n"});
            enter(Phase::authentication, now);
            break;
        case Outcome::success:
            // Figure 12: two lines with nothing of the client's between them.
            if (!event.data.empty()) {
                turn.actions.emplace_back(Send{encode_base64(event.data) + "\r\n"});
            }
            send_status(turn, Status::success);
            std::get<Send>(turn.actions.back()).is_apart =
                !event.data.empty() && reads_proof_apart_;
            enter(Phase::command, now);
            break;
        case Outcome::failure:
            send_status(turn, Status::authentication_failed);
            close(turn);
            break;
        case Outcome::unavailable:
            send_status(turn, Status::too_busy);
            close(turn);
            break;
    }
    process(turn);
    return std::move(turn.actions);
}

ServerActions ServerSession::handle(const TunnelAnswered& event, Instant now) {
    if (is_closed()) return {};
    DSTM_ASSERT(phase_ == Phase::request);
    Turn turn{now, {}};
    answer_request(turn, event);
    process(turn);
    return std::move(turn.actions);
}

ServerActions ServerSession::handle(const PeerClosed&, Instant now) {
    if (is_closed()) return {};
    Turn turn{now, {}};
    peer_closed_ = true;
    process(turn);
    return std::move(turn.actions);
}

ServerActions ServerSession::handle(const BadDatagramReceived& event, Instant now) {
    if (is_closed()) return {};
    Turn turn{now, {}};
    refuse(turn, Status::invalid_format, event.what);
    return std::move(turn.actions);
}

ServerActions ServerSession::handle(const TimePassed&, Instant now) {
    const auto limit = deadline();
    if (!limit || now < *limit) return {};
    Turn turn{now, {}};
    const bool is_silent = !message_started_;
    if (step_running_) {
        send_status(turn, Status::too_busy);
        close(turn);
    } else if (phase_ == Phase::offered && is_silent) {
        turn.actions.emplace_back(DeclineTunnel{});
        turn.actions.emplace_back(ReportViolation{"no accept in time"});
        close(turn);
    } else if (phase_ == Phase::command && command_done_ && is_silent) {
        close(turn);
    } else {
        refuse(turn, Status::invalid_format,
               is_silent ? "no message in time" : "message not complete in time");
    }
    return std::move(turn.actions);
}

std::optional<Instant> ServerSession::deadline() const {
    const auto& limits = config_.limits;
    std::optional<Instant> earliest;
    const auto consider = [&](Instant start, Duration length) {
        if (!earliest || start + length < *earliest) earliest = start + length;
    };
    if (message_started_) consider(*message_started_, limits.phase_timeout);
    switch (phase_) {
        case Phase::version:
        case Phase::mechanism:
        case Phase::authentication: consider(phase_started_, limits.phase_timeout); break;
        case Phase::command:
            if (!command_done_)
                consider(phase_started_, limits.phase_timeout);
            else if (!message_started_ && limits.idle_timeout > Duration::zero())
                consider(phase_started_, limits.idle_timeout);
            break;
        case Phase::request: break;  // the owner bounds its own work
        case Phase::offered: consider(phase_started_, limits.accept_timeout); break;
        case Phase::closed: return std::nullopt;
    }
    return earliest;
}

// --- reading -------------------------------------------------------------------------------------

void ServerSession::process(Turn& turn) {
    while (!is_closed() && !step_running_ && read_next(turn)) message_started_.reset();
    if (is_closed()) return;
    if (step_running_) {
        if (input_.buffered() > input_.buffered_max()) {
            refuse(turn, Status::invalid_format, "too many bytes during authentication");
        }
        return;
    }
    if (!input_.has_partial())
        message_started_.reset();
    else if (!message_started_)
        message_started_ = turn.now;

    if (!peer_closed_) return;
    if (input_.has_partial()) {
        refuse(turn, Status::invalid_format, "connection ended within a message");
    } else if (phase_ != Phase::request) {
        if (phase_ == Phase::offered) turn.actions.emplace_back(DeclineTunnel{});
        close(turn);
    }
}

// False: more bytes are needed.
bool ServerSession::read_next(Turn& turn) {
    auto piece = is_framed_phase() ? input_.next_body() : input_.next_line();
    if (!piece) {
        refuse(turn, Status::invalid_format, piece.error().context);
        return false;
    }
    if (!piece->has_value()) return false;
    switch (phase_) {
        case Phase::version: read_version(turn, **piece); break;
        case Phase::mechanism: read_mechanism(turn, **piece); break;
        case Phase::authentication: read_authentication(turn, **piece); break;
        default: read_command(turn, **piece); break;
    }
    return true;
}

void ServerSession::read_version(Turn& turn, const std::string& line) {
    std::string_view version = line;
    if (!version.starts_with(version_word)) {
        return refuse(turn, Status::invalid_format, "expected VERSION");
    }
    version.remove_prefix(version_word.size());
    while (version.ends_with(' ')) version.remove_suffix(1);
    if (!is_supported_version(version)) {
        return refuse(
            turn, Status::unsupported_version,
            "version is not supported: " + std::string(version.substr(0, version_shown_max)));
    }
    if (config_.redirect.is_always) {
        send_status(turn, Status::too_busy);
        return close(turn);
    }
    turn.actions.emplace_back(Send{capability_line()});
    enter(Phase::mechanism, turn.now);
}

void ServerSession::read_mechanism(Turn& turn, const std::string& line) {
    auto parsed = parse_authenticate_line(line);
    if (!parsed) return refuse(turn, Status::invalid_format, parsed.error().context);
    if (std::ranges::find(config_.mechanisms, parsed->mechanism) == config_.mechanisms.end()) {
        return refuse(turn, Status::authentication_failed, "mechanism is not offered");
    }
    mechanism_ = std::move(parsed->mechanism);
    // In PLAIN's message NULs mean something: decode_plain_line tells them apart.
    const bool is_raw = mechanism_ == "PLAIN" && !parsed->initial_response;
    if (!is_raw) input_.tolerate_nul();
    enter(Phase::authentication, turn.now);
    switch (first_speaker(mechanism_)) {
        case FirstSpeaker::nobody:
            return start_authentication(turn, parsed->initial_response.value_or(std::string()));
        case FirstSpeaker::server:
            return start_authentication(turn, std::move(parsed->initial_response));
        case FirstSpeaker::client:
            // Without a response on this line it is on the next; nothing is sent to ask for it.
            if (parsed->initial_response) {
                start_authentication(turn, std::move(parsed->initial_response));
            }
    }
}

void ServerSession::read_authentication(Turn& turn, const std::string& line) {
    const bool is_first = !mechanism_.empty();
    auto message = mechanism_ == "PLAIN" ? decode_plain_line(line) : decode_sasl_line(line);
    if (!message) return refuse(turn, Status::invalid_format, message.error().context);
    if (is_first) return start_authentication(turn, std::move(*message));
    if (++authentication_steps_ > config_.limits.authentication_steps_max) {
        return refuse(turn, Status::authentication_failed, "too many authentication steps");
    }
    step_running_ = true;
    enter(Phase::authentication, turn.now);
    turn.actions.emplace_back(ContinueAuthentication{std::move(*message)});
}

void ServerSession::start_authentication(Turn& turn, std::optional<std::string> initial_response) {
    ++authentication_steps_;
    step_running_ = true;
    reads_proof_apart_ = mechanism_ == "DIGEST-MD5";
    enter(Phase::authentication, turn.now);
    turn.actions.emplace_back(
        StartAuthentication{std::exchange(mechanism_, {}), std::move(initial_response)});
}

void ServerSession::read_command(Turn& turn, const std::string& body) {
    auto message = parse_tunnel_xml(body);
    if (!message) return refuse(turn, Status::invalid_format, message.error().context);
    switch (message->action) {
        case Action::create:
        case Action::info:
        case Action::delete_tunnel: return read_request(turn, std::move(*message));
        case Action::accept:
        case Action::reject: return read_confirmation(turn, message->action);
        case Action::list:
            return refuse(turn, Status::invalid_format, "action list is not a client's");
    }
}

void ServerSession::read_request(Turn& turn, TunnelMessage message) {
    if (phase_ != Phase::command) return send_status(turn, Status::in_progress);
    if (const auto fault = find_fault(message)) return refuse(turn, fault->status, fault->what);
    if (++commands_ > config_.limits.commands_max) {
        return refuse(turn, Status::too_busy, "too many commands in one session");
    }
    request_action_ = message.action;
    enter(Phase::request, turn.now);
    turn.actions.emplace_back(RequestTunnel{std::move(message)});
}

void ServerSession::read_confirmation(Turn& turn, Action action) {
    if (phase_ != Phase::offered) {
        return refuse(turn, Status::invalid_format, "accept or reject without an offer");
    }
    enter(Phase::command, turn.now);
    if (action == Action::accept) {
        turn.actions.emplace_back(ConfirmTunnel{});
        return;
    }
    turn.actions.emplace_back(DeclineTunnel{});
    send_status(turn, Status::success);
}

// --- answering -----------------------------------------------------------------------------------

void ServerSession::answer_request(Turn& turn, const TunnelAnswered& event) {
    command_done_ = true;
    enter(Phase::command, turn.now);
    const bool is_sent_away = request_action_ == Action::create && sends_away(event.status);
    if (!event.brokers.empty() || is_sent_away) {
        send_redirect(turn, event.status, event.detail,
                      event.brokers.empty() ? config_.redirect.brokers : event.brokers);
        return close(turn);
    }
    if (event.status == Status::invalid_format) {
        return refuse(turn, event.status, event.detail.empty() ? "bad request" : event.detail);
    }
    if (event.status != Status::success) {
        send_reply(turn, code_of(event.status), event.detail, nullptr);
        if (event.is_last) close(turn);
        return;
    }
    DSTM_ASSERT(event.message || request_action_ == Action::delete_tunnel);
    send_reply(turn, code_of(event.status), event.detail,
               event.message ? &*event.message : nullptr);
    if (request_action_ == Action::create) enter(Phase::offered, turn.now);
}

bool ServerSession::sends_away(Status status) const {
    return !config_.redirect.brokers.empty() && is_local_refusal(status);
}

void ServerSession::send_redirect(Turn& turn, Status status, std::string_view detail,
                                  const std::vector<Broker>& brokers) {
    const bool is_framed = is_framed_phase();
    auto reply = format_redirect(status, detail, brokers,
                                 is_framed ? 0 : config_.limits.bare_redirect_size_max);
    turn.actions.emplace_back(Send{is_framed ? frame(reply) : std::move(reply)});
}

// What ends the session, or leaves it where it was.
void ServerSession::send_status(Turn& turn, Status status, std::string_view detail) {
    if (sends_away(status) && !is_framed_phase()) {
        return send_redirect(turn, status, detail, config_.redirect.brokers);
    }
    send_reply(turn, code_of(status), detail, nullptr);
}

void ServerSession::send_reply(Turn& turn, std::uint16_t code, std::string_view detail,
                               const TunnelMessage* message) {
    auto reply = format_status_line(code, detail);
    if (message != nullptr) reply += write_tunnel_xml(*message);
    turn.actions.emplace_back(Send{is_framed_phase() ? frame(reply) : std::move(reply)});
}

void ServerSession::refuse(Turn& turn, Status status, std::string what) {
    if (phase_ == Phase::offered) turn.actions.emplace_back(DeclineTunnel{});
    turn.actions.emplace_back(ReportViolation{std::move(what)});
    send_status(turn, status);
    close(turn);
}

void ServerSession::close(Turn& turn) {
    turn.actions.emplace_back(Close{});
    enter(Phase::closed, turn.now);
    step_running_ = false;
}

void ServerSession::enter(Phase phase, Instant now) {
    phase_ = phase;
    phase_started_ = now;
}

bool ServerSession::is_framed_phase() const {
    return phase_ == Phase::command || phase_ == Phase::request || phase_ == Phase::offered;
}

// Exactly one space between tokens: deployed clients split nothing else. Concrete types only (D15):
// v6anyv4 is what a client asks when it wants one of them.
std::string ServerSession::capability_line() const {
    std::string line = "CAPABILITY";
    for (const auto type : config_.tunnel_types) {
        if (type == RequestType::v6anyv4 || type == RequestType::broker) continue;
        line += " TUNNEL=";
        std::ranges::transform(to_string(type), std::back_inserter(line), to_upper);
    }
    for (const auto& mechanism : config_.mechanisms) line += " AUTH=" + mechanism;
    return line + "\r\n";
}

}  // namespace dstm::tsp
