// Sequences in, replies out (RFC 5572 s4.4.1.2).
#include "common/tsp/udp_exchange.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

#include "common/base/assert.hpp"

namespace dstm::tsp {
namespace {

constexpr std::string_view length_word = "content-length:";
constexpr std::string_view authenticate_word = "AUTHENTICATE";

bool starts_with_word(std::string_view data, std::string_view lower_case_word) {
    return data.size() >= lower_case_word.size() &&
           std::equal(lower_case_word.begin(), lower_case_word.end(), data.begin(),
                      [](char word, char c) {
                          return word == (c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c);
                      });
}

const char* find_body_fault(std::string_view& data) {
    const auto line_end = data.find('\n');
    if (line_end == std::string_view::npos) return "datagram ends within Content-length";
    auto number = data.substr(length_word.size(), line_end - length_word.size());
    while (number.starts_with(' ')) number.remove_prefix(1);
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), length);
    if (error != std::errc()) return nullptr;  // the session says what is wrong with the line
    const std::size_t body_size = data.size() - line_end - 1;
    if (length > body_size) return "Content-length is more than the datagram holds";
    auto rest = data.substr(line_end + 1 + length);
    if (rest.find_first_not_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
        return "datagram goes on behind its message";
    }
    data.remove_suffix(rest.size());
    return nullptr;
}

}  // namespace

const char* find_datagram_fault(std::string_view& data) {
    if (starts_with_word(data, length_word)) return find_body_fault(data);
    while (data.ends_with('\0')) data.remove_suffix(1);
    if (!data.ends_with('\n')) return "datagram ends within a line";
    const auto lines = std::count(data.begin(), data.end(), '\n');
    const auto lines_max = data.starts_with(authenticate_word) ? 2 : 1;
    return lines > lines_max ? "datagram holds more than one message" : nullptr;
}

UdpExchange::UdpExchange(const ServerSessionConfig& config, UdpHeader first, Instant now)
    : session_(config, now), first_sequence_(first.sequence), began_at_(now),
      first_timestamp_(first.timestamp), last_timestamp_(first.timestamp), header_(first) {}

bool UdpExchange::takes_for_restart(UdpHeader version) {
    if (!has_stepped_) return false;
    // Timestamps wrap, and begin anew with the client.
    const bool is_late =
        version.timestamp - first_timestamp_ <= last_timestamp_ - first_timestamp_;
    if (is_late) return false;
    const auto before = std::exchange(restart_, version.timestamp);
    return before && static_cast<std::int32_t>(version.timestamp - *before) > 0;
}

UdpExchange::Outcome UdpExchange::receive(const UdpPacket& packet, Instant now) {
    if (has_begun_) {
        if (packet.header.sequence == header_.sequence) return repeat(packet);
        const bool is_next = packet.header.sequence == next_udp_sequence(header_.sequence);
        if (!is_next || !reply_ || is_closed()) return {Verdict::out_of_turn, {}, {}};
        has_stepped_ = true;
        restart_.reset();
    }
    DSTM_ASSERT(packet.header.sequence == first_sequence_ || has_begun_);
    has_begun_ = true;
    header_ = packet.header;
    data_size_ = packet.data.size();
    data_hash_ = std::hash<std::string_view>{}(packet.data);
    reply_.reset();
    if (packet.data.empty()) return settle({});

    surplus_.clear();
    std::string_view data = packet.data;
    if (const char* fault = find_datagram_fault(data)) {
        return settle(session_.handle(BadDatagramReceived{fault}, now));
    }
    return settle(session_.handle(BytesReceived{data}, now));
}

UdpExchange::Outcome UdpExchange::repeat(const UdpPacket& packet) {
    const bool is_same = packet.data.size() == data_size_ &&
                         std::hash<std::string_view>{}(packet.data) == data_hash_;
    if (!is_same) return {Verdict::altered, {}, {}};
    header_ = packet.header;
    if (!has_stepped_) last_timestamp_ = header_.timestamp;
    if (!reply_) return {Verdict::in_work, {}, {}};
    return {Verdict::repeated, reply_datagram(), {}};
}

UdpExchange::Outcome UdpExchange::handle(const AuthenticationStepDone& event, Instant now) {
    is_awaiting_ = false;
    using Kind = AuthenticationStepDone::Outcome;
    if (event.outcome == Kind::challenge) was_challenged_ = true;
    if (event.outcome == Kind::success && was_challenged_) is_proven_ = true;
    return settle(session_.handle(event, now));
}

UdpExchange::Outcome UdpExchange::handle(const TunnelAnswered& event, Instant now) {
    is_awaiting_ = false;
    return settle(session_.handle(event, now));
}

UdpExchange::Outcome UdpExchange::handle(const TimePassed& event, Instant now) {
    auto actions = session_.handle(event, now);
    if (reply_) std::erase_if(actions, [](const auto& one) {
        return std::holds_alternative<Send>(one);
    });
    if (actions.empty()) return {};
    return settle(std::move(actions));
}

// Sorts what the session wants: its words are kept for their sequences, the rest is the owner's.
UdpExchange::Outcome UdpExchange::settle(ServerActions actions) {
    Outcome outcome;
    for (auto& action : actions) {
        if (auto* send = std::get_if<Send>(&action)) {
            surplus_.push_back(std::move(send->bytes));
            continue;
        }
        if (std::holds_alternative<StartAuthentication>(action) ||
            std::holds_alternative<ContinueAuthentication>(action) ||
            std::holds_alternative<RequestTunnel>(action)) {
            is_awaiting_ = true;
        }
        if (std::holds_alternative<Close>(action)) is_awaiting_ = false;
        outcome.actions.push_back(std::move(action));
    }
    if (reply_) return outcome;
    if (!surplus_.empty()) {
        reply_ = std::move(surplus_.front());
        surplus_.pop_front();
    } else if (!is_awaiting_) {
        reply_.emplace();
    }
    if (reply_) outcome.datagram = reply_datagram();
    return outcome;
}

std::string UdpExchange::reply_datagram() const { return encode_udp_packet({header_, *reply_}); }

}  // namespace dstm::tsp
