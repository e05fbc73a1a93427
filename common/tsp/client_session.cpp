// The client's side of the dialogue (RFC 5572 s4.3, s4.4): liberal in what it reads, exact in what
// it writes, because deployed brokers are naive.
#include "common/tsp/client_session.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/base64.hpp"
#include "common/tsp/reply.hpp"
#include "common/tsp/sasl_wire.hpp"
#include "common/tsp/tunnel_xml.hpp"

namespace dstm::tsp {
namespace {

using client::Actions;
using client::Failed;

constexpr std::string_view capability_word = "CAPABILITY";
constexpr std::string_view end_of_list = "</tunnel>";
constexpr std::string_view token_separators = " \t";

char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Takes the first word off `text`; empty when there is none.
std::string_view take_token(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(token_separators), text.size()));
    const auto token = text.substr(0, text.find_first_of(token_separators));
    text.remove_prefix(token.size());
    return token;
}

// RFC 5572 s4.4.2. Tokens we do not know are for others.
std::optional<client::ChooseMechanism> parse_capability(std::string_view line) {
    if (take_token(line) != capability_word) return std::nullopt;
    client::ChooseMechanism offer;
    while (true) {
        const auto token = take_token(line);
        if (token.empty()) return offer;
        const auto equals = token.find('=');
        if (equals == std::string_view::npos) continue;
        const auto name = token.substr(0, equals);
        std::string value(token.substr(equals + 1));
        if (name == "AUTH" && !value.empty()) {
            std::ranges::transform(value, value.begin(), to_upper);
            offer.mechanisms.push_back(std::move(value));
        } else if (name == "TUNNEL") {
            std::ranges::transform(value, value.begin(), to_lower);
            const auto type = parse_request_type(value);
            if (type && type != RequestType::broker) offer.tunnel_types.push_back(*type);
        }
    }
}

std::string authentication_opening(const client::MechanismChosen& choice) {
    const auto line = "AUTHENTICATE " + choice.mechanism;
    if (!choice.initial_response || first_speaker(choice.mechanism) != FirstSpeaker::client) {
        return line + "\r\n";
    }
    const auto& response = *choice.initial_response;
    if (choice.mechanism == "PLAIN") {
        return line + "\r\n" + encode_plain_line(response) + "\r\n";
    }
    return line + " " + (response.empty() ? "=" : encode_base64(response)) + "\r\n";
}

bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

ClientSession::ClientSession(ClientSessionConfig config)
    : config_(std::move(config)), input_({config_.line_size_max, config_.body_size_max}) {}

// --- events --------------------------------------------------------------------------------------

Actions ClientSession::handle(const client::Connected&, Instant now) {
    if (is_closed()) return {};
    DSTM_ASSERT(phase_ == Phase::idle);
    Turn turn{now, {}};
    send(turn, "VERSION=" + config_.version + "\r\n", Phase::capability);
    return std::move(turn.actions);
}

Actions ClientSession::handle(const client::BytesReceived& event, Instant now) {
    if (is_closed()) return {};
    Turn turn{now, {}};
    input_.append(event.bytes);
    process(turn);
    return std::move(turn.actions);
}

Actions ClientSession::handle(const client::MechanismChosen& event, Instant now) {
    if (is_closed()) return {};
    DSTM_ASSERT(phase_ == Phase::choosing);
    Turn turn{now, {}};
    if (event.mechanism.empty()) {
        enter(Phase::closed, now);
        turn.actions.emplace_back(client::Close{});
        return std::move(turn.actions);
    }
    mechanism_ = event.mechanism;
    send(turn, authentication_opening(event), Phase::authentication);
    process(turn);
    return std::move(turn.actions);
}

Actions ClientSession::handle(const client::AuthenticationStepDone& event, Instant now) {
    if (is_closed()) return {};
    DSTM_ASSERT(phase_ == Phase::stepping);
    Turn turn{now, {}};
    const bool is_final = challenges_ == proof_of_server(mechanism_);
    if (event.failed) {
        fail_malformed(turn, is_final ? "server did not prove that it knows the secret"
                                      : "authentication could not go on");
    } else if (is_final) {
        server_proved_ = true;
        enter(Phase::authentication, now);
    } else {
        send(turn, encode_base64(event.response) + "\r\n", Phase::authentication);
    }
    process(turn);
    return std::move(turn.actions);
}

Actions ClientSession::handle(const client::CommandChosen& event, Instant now) {
    if (is_closed()) return {};
    DSTM_ASSERT(phase_ == Phase::ready);
    Turn turn{now, {}};
    const auto action = event.message.action;
    const bool is_answered = action != Action::accept && action != Action::reject;
    if (is_answered) command_ = action;
    if (action == Action::reject) reject_sent_ = true;
    send(turn, frame(write_tunnel_xml(event.message)), is_answered ? Phase::answer : Phase::ready);
    return std::move(turn.actions);
}

Actions ClientSession::handle(const client::PeerClosed&, Instant now) {
    if (is_closed()) return {};
    Turn turn{now, {}};
    if (phase_ == Phase::broker_list) {
        fail(turn, std::move(refusal_));  // the refusal is known, the list never came whole
    } else if (phase_ == Phase::ready) {
        enter(Phase::closed, now);
        turn.actions.emplace_back(client::Close{});
    } else {
        fail(turn, Failed{Failed::Cause::closed, 0, "server closed the connection", {}});
    }
    return std::move(turn.actions);
}

Actions ClientSession::handle(const client::TimePassed&, Instant now) {
    const auto limit = deadline();
    if (!limit || now < *limit) return {};
    Turn turn{now, {}};
    if (phase_ == Phase::broker_list)
        fail(turn, std::move(refusal_));
    else
        fail(turn, Failed{Failed::Cause::timed_out, 0, "no answer from the server in time", {}});
    return std::move(turn.actions);
}

std::optional<Instant> ClientSession::deadline() const {
    switch (phase_) {
        case Phase::capability:
            return phase_started_ + config_.greeting_timeout.value_or(config_.answer_timeout);
        case Phase::authentication:
        case Phase::answer:
        case Phase::broker_list: return phase_started_ + config_.answer_timeout;
        default: return std::nullopt;
    }
}

// --- reading -------------------------------------------------------------------------------------

void ClientSession::process(Turn& turn) {
    while (!is_closed() && read_next(turn)) {
    }
    // What waits for the owner is bounded too.
    if (!is_closed() && input_.buffered() > input_.buffered_max()) {
        fail_malformed(turn, "server sends more than was asked for");
    }
}

// False: more bytes, or the owner, are needed.
bool ClientSession::read_next(Turn& turn) {
    if (phase_ == Phase::idle || phase_ == Phase::choosing || phase_ == Phase::stepping) {
        return false;
    }
    const bool is_framed = phase_ == Phase::ready || phase_ == Phase::answer;
    auto piece = is_framed                      ? input_.next_body()
                 : phase_ == Phase::broker_list ? input_.next_until(end_of_list)
                                                : input_.next_line();
    if (!piece) {
        fail_malformed(turn, piece.error().context);
        return false;
    }
    if (!piece->has_value()) return false;
    if (is_framed)
        read_reply(turn, **piece);
    else if (phase_ == Phase::broker_list)
        read_broker_list(turn, **piece);
    else if (phase_ == Phase::capability)
        read_capability(turn, **piece);
    else
        read_authentication(turn, **piece);
    return true;
}

void ClientSession::read_capability(Turn& turn, const std::string& line) {
    if (auto status = parse_status_line(line)) {
        return read_refusal(turn, status->code, std::move(status->text));
    }
    auto offer = parse_capability(line);
    if (!offer) return fail_malformed(turn, "expected CAPABILITY");
    turn.actions.emplace_back(std::move(*offer));
    enter(Phase::choosing, turn.now);
}

void ClientSession::read_authentication(Turn& turn, const std::string& line) {
    const auto proof = proof_of_server(mechanism_);
    if (auto status = parse_status_line(line)) {
        if (status->code != static_cast<std::uint16_t>(Status::success)) {
            return read_refusal(turn, status->code, std::move(status->text));
        }
        // A server that skips its proof may be anybody.
        if (proof > 0 && !server_proved_) {
            return fail_malformed(turn, "server did not prove that it knows the secret");
        }
        enter(Phase::ready, turn.now);
        turn.actions.emplace_back(client::Authenticated{});
        return;
    }
    auto challenge = decode_sasl_line(line);
    if (!challenge) return fail_malformed(turn, challenge.error().context);
    if (server_proved_) return fail_malformed(turn, "challenge after the end of authentication");
    ++challenges_;
    enter(Phase::stepping, turn.now);
    turn.actions.emplace_back(
        client::ContinueAuthentication{std::move(*challenge), challenges_ == proof});
}

void ClientSession::read_refusal(Turn& turn, std::uint16_t code, std::string text) {
    if (code < 300) return fail_malformed(turn, "status out of place");
    if (code < redirect_offset) {
        return fail(turn, Failed{Failed::Cause::refused, code, std::move(text), {}});
    }
    // Figure 9: the list follows without Content-length.
    refusal_ = Failed{Failed::Cause::refused,
                      static_cast<std::uint16_t>(code - redirect_offset),
                      std::move(text),
                      {}};
    enter(Phase::broker_list, turn.now);
}

void ClientSession::read_broker_list(Turn& turn, const std::string& xml) {
    if (auto list = parse_tunnel_xml(xml)) refusal_.brokers = std::move(list->brokers);
    fail(turn, std::move(refusal_));
}

void ClientSession::read_reply(Turn& turn, const std::string& body) {
    const std::string_view text = body;
    const auto line_end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, line_end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto xml = text.substr(std::min(line_end + 1, text.size()));

    auto status = parse_status_line(line);
    if (!status) return fail_malformed(turn, "reply has no status");
    std::optional<TunnelMessage> message;
    if (!is_blank(xml)) {
        auto parsed = parse_tunnel_xml(xml);
        if (!parsed) return fail_malformed(turn, parsed.error().context);
        message = std::move(*parsed);
    }
    if (status->code == static_cast<std::uint16_t>(Status::success)) {
        return read_success(turn, std::move(status->text), std::move(message));
    }
    std::vector<Broker> brokers;
    if (status->code >= redirect_offset) {
        status->code = static_cast<std::uint16_t>(status->code - redirect_offset);
        if (message) brokers = std::move(message->brokers);
    }
    if (phase_ == Phase::ready) {  // nobody asked: the server ends the session and says why
        return fail(turn, Failed{Failed::Cause::refused, status->code, std::move(status->text),
                                 std::move(brokers)});
    }
    enter(Phase::ready, turn.now);
    turn.actions.emplace_back(client::CommandAnswered{status->code, std::move(status->text),
                                                      std::nullopt, std::move(brokers)});
}

// A 200 without a message may be the late answer to a reject, which nobody waits for; a server
// that reads s4.3 strictly answers accept as well. It is never the answer to create or info.
void ClientSession::read_success(Turn& turn, std::string text,
                                 std::optional<TunnelMessage> message) {
    const bool is_wanted = phase_ == Phase::answer;
    if (!message && (!is_wanted || command_ != Action::delete_tunnel || reject_sent_)) {
        reject_sent_ = false;
        return;
    }
    if (!is_wanted || (command_ != Action::delete_tunnel && message->action != Action::info)) {
        return fail_malformed(turn, "tunnel message out of place");
    }
    enter(Phase::ready, turn.now);
    turn.actions.emplace_back(client::CommandAnswered{
        static_cast<std::uint16_t>(Status::success), std::move(text), std::move(message), {}});
}

// --- ending and sending --------------------------------------------------------------------------

void ClientSession::fail(Turn& turn, Failed failed) {
    enter(Phase::closed, turn.now);
    turn.actions.emplace_back(std::move(failed));
    turn.actions.emplace_back(client::Close{});
}

void ClientSession::fail_malformed(Turn& turn, std::string text) {
    fail(turn, Failed{Failed::Cause::malformed, 0, std::move(text), {}});
}

void ClientSession::send(Turn& turn, std::string bytes, Phase next) {
    turn.actions.emplace_back(client::Send{std::move(bytes)});
    enter(next, turn.now);
}

void ClientSession::enter(Phase phase, Instant now) {
    phase_ = phase;
    phase_started_ = now;
}

}  // namespace dstm::tsp
