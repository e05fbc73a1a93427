// Repeating until somebody answers (RFC 5572 s4.4.1.2).
#include "common/tsp/udp_client.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"

namespace dstm::tsp {
namespace {

constexpr std::string_view authenticate_word = "AUTHENTICATE ";
// Longer than all waits together: time is this machine's business, not the session's.
constexpr Duration never = std::chrono::hours(24);

ClientSessionConfig without_timeout(ClientSessionConfig config) {
    config.answer_timeout = never;
    return config;
}

}  // namespace

UdpClient::UdpClient(UdpClientConfig config, Instant now)
    : config_(std::move(config)),
      session_(without_timeout(config_.session)),
      began_at_(now),
      sequence_(config_.first_sequence & udp_sequence_max) {
    DSTM_ASSERT(!config_.waits.empty() && config_.copies_to_silence > 0);
    DSTM_ASSERT(!config_.waits_on_reuse.empty());
}

// --- events --------------------------------------------------------------------------------------

client::Actions UdpClient::handle(const client::Connected& event, Instant now) {
    return settle(session_.handle(event, now), now);
}

client::Actions UdpClient::handle(const client::BytesReceived& event, Instant now) {
    const auto packet = event.bytes.size() <= config_.datagram_size_max
                            ? decode_udp_packet(event.bytes)
                            : std::nullopt;
    // Another sequence is a late repeat, or somebody's guess. The timestamp says nothing: some
    // servers leave it zero.
    if (!packet || !in_flight_ || packet->header.sequence != sequence_) return {};
    has_been_answered_ = true;
    const bool was_question = in_flight_->data.empty();
    in_flight_.reset();
    sequence_ = next_udp_sequence(sequence_);
    empty_replies_ = packet->data.empty() && was_question ? empty_replies_ + 1 : 0;
    if (empty_replies_ >= config_.empty_replies_max) return give_up(now);
    if (packet->data.empty()) return settle({}, now);
    return settle(session_.handle(client::BytesReceived{packet->data}, now), now);
}

client::Actions UdpClient::handle(const client::MechanismChosen& event, Instant now) {
    return settle(session_.handle(event, now), now);
}

client::Actions UdpClient::handle(const client::AuthenticationStepDone& event, Instant now) {
    return settle(session_.handle(event, now), now);
}

client::Actions UdpClient::handle(const client::CommandChosen& event, Instant now) {
    // accept and reject belong to the create before them.
    const auto action = event.message.action;
    const bool asks = action != Action::accept && action != Action::reject;
    is_reused_ = asks && has_carried_command_;
    has_carried_command_ = true;
    return settle(session_.handle(event, now), now);
}

client::Actions UdpClient::handle(const client::PeerClosed& event, Instant now) {
    outbox_.clear();
    in_flight_.reset();
    return session_.handle(event, now);
}

client::Actions UdpClient::handle(const client::TimePassed&, Instant now) {
    const auto limit = deadline();
    if (!limit || now < *limit) return {};
    if (in_flight_->copies >= copies_max()) return give_up(now);
    ++in_flight_->copies;
    in_flight_->sent_at = now;
    client::Actions out;
    out.emplace_back(client::Send{datagram(now)});
    return out;
}

std::optional<Instant> UdpClient::deadline() const {
    if (!in_flight_) return std::nullopt;
    const auto wait = std::min(in_flight_->copies, waits().size()) - 1;
    return in_flight_->sent_at + waits()[wait];
}

// --- sending -------------------------------------------------------------------------------------

client::Actions UdpClient::settle(client::Actions from_session, Instant now) {
    client::Actions out;
    for (auto& action : from_session) {
        if (auto* send = std::get_if<client::Send>(&action)) {
            enqueue(std::move(send->bytes));
        } else {
            out.push_back(std::move(action));
        }
    }
    if (session_.is_closed()) {
        outbox_.clear();
        in_flight_.reset();
        return out;
    }
    // It waits for words of the server, and nothing is under way that they could answer.
    if (!has_unanswered() && session_.deadline()) outbox_.emplace_back();
    send_next(out, now);
    return out;
}

// A mechanism and its first message go out as two datagrams, the first of which is acknowledged,
// where they are two lines (PLAIN).
void UdpClient::enqueue(std::string bytes) {
    if (bytes.starts_with(authenticate_word)) {
        const auto line_size = bytes.find('\n') + 1;
        if (line_size > 0 && line_size < bytes.size()) {
            outbox_.push_back(bytes.substr(0, line_size));
            bytes.erase(0, line_size);
        }
    }
    outbox_.push_back(std::move(bytes));
}

void UdpClient::send_next(client::Actions& out, Instant now) {
    if (in_flight_ || outbox_.empty()) return;
    in_flight_ = InFlight{std::move(outbox_.front()), 1, now};
    outbox_.pop_front();
    // Before what the session told its owner, who may end it all on hearing that.
    out.emplace(out.begin(), client::Send{datagram(now)});
}

std::string UdpClient::datagram(Instant now) const {
    const auto timestamp = static_cast<std::uint32_t>((now - began_at_).count());  // milliseconds
    return encode_udp_packet({{sequence_, timestamp}, in_flight_->data});
}

const std::vector<Duration>& UdpClient::waits() const {
    return is_reused_ ? config_.waits_on_reuse : config_.waits;
}

std::size_t UdpClient::copies_max() const {
    return has_been_answered_ ? waits().size()
                              : std::min(config_.copies_to_silence, waits().size());
}

client::Actions UdpClient::give_up(Instant now) {
    outbox_.clear();
    in_flight_.reset();
    const auto limit = session_.deadline();
    if (!limit) return session_.handle(client::PeerClosed{}, now);
    return session_.handle(client::TimePassed{}, std::max(now, *limit));
}

}  // namespace dstm::tsp
