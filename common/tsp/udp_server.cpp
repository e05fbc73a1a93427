// Who is answered, and how much (RFC 5572 s4.4.1.2, s8).
#include "common/tsp/udp_server.hpp"

#include <iterator>
#include <utility>

#include "common/base/assert.hpp"
#include "common/tsp/reply.hpp"

namespace dstm::tsp {
namespace {

constexpr std::string_view version_word = "VERSION=";
constexpr std::string_view echo_request = "ECHO REQUEST";
constexpr std::size_t udp_overhead = 8;
constexpr std::size_t ipv4_overhead = 20;
constexpr std::size_t ipv6_overhead = 40;

// Bytes on the wire of a datagram, which is what an amplifier is measured by.
std::uint64_t wire_size(const UdpPath& path, std::size_t datagram_size) {
    const bool is_v4 = std::holds_alternative<Ipv4Address>(path.peer.address);
    return datagram_size + udp_overhead + (is_v4 ? ipv4_overhead : ipv6_overhead);
}

// Deployed clients send it without a line end.
bool is_echo_request(std::string_view data) {
    if (!data.starts_with(echo_request)) return false;
    data.remove_prefix(echo_request.size());
    return data.find_first_not_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

// A redirect is told to strangers, so it must not be longer than what they may get.
UdpServerConfig fitted(UdpServerConfig config) {
    config.session.limits.bare_redirect_size_max =
        config.limits.stranger_reply_max - udp_header_size;
    return config;
}

RateTable::Rate reply_rate(const UdpServerLimits& limits) {
    return {limits.replies_per_second, limits.replies_burst};
}

}  // namespace

UdpServer::UdpServer(UdpServerConfig config)
    : config_(fitted(std::move(config))),
      replies_(reply_rate(config_.limits), config_.key),
      throttle_(config_.limits.tries, config_.key),
      places_(config_.limits.places) {}

void UdpServer::reconfigure(UdpServerConfig config) {
    config.key = config_.key;
    config_ = fitted(std::move(config));
    replies_.set_rate(reply_rate(config_.limits));
    throttle_.set_limits(config_.limits.tries);
    places_.set_limits(config_.limits.places);
}

// --- datagrams -----------------------------------------------------------------------------------

udp::Actions UdpServer::receive(const UdpPath& path, std::string_view datagram, Instant now) {
    ++counters_.received;
    if (datagram.size() > config_.limits.datagram_size_max) {
        ++counters_.oversize;
    } else if (const auto packet = decode_udp_packet(datagram)) {
        receive_packet(path, *packet, now);
    } else {
        ++counters_.not_signalling;
    }
    return take_actions();
}

void UdpServer::receive_packet(const UdpPath& path, const UdpPacket& packet, Instant now) {
    if (is_echo_request(packet.data)) {
        ++counters_.echo;
        const bool is_welcome =
            is_willing_ && places_.has_room() && !config_.session.redirect.is_always;
        const auto status = is_welcome ? Status::success : Status::too_busy;
        return reply_to_stranger(path, packet.header,
                                 format_status_line(static_cast<std::uint16_t>(status)), now);
    }
    const auto known = by_path_.find(path);
    if (known != by_path_.end()) {
        const auto entry = entries_.find(known->second);
        DSTM_ASSERT(entry != entries_.end());
        if (!is_restart(entry->second, packet, now)) return deliver(entry, packet, now);
        end(entry);
    }
    if (packet.data.starts_with(version_word)) return begin(path, packet, now);
    ++counters_.no_exchange;
}

// s4.5.2: a client may signal anew at any time, from the same address and port too. Its VERSION has
// a sequence of its own; the one that began the exchange is taken for a late repeat as long as
// those come, or until the client insists.
bool UdpServer::is_restart(Entry& entry, const UdpPacket& packet, Instant now) const {
    if (!packet.data.starts_with(version_word)) return false;
    if (packet.header.sequence != entry.exchange.first_sequence()) return true;
    return now - entry.exchange.began_at() >= config_.limits.repeat_time ||
           entry.exchange.takes_for_restart(packet.header);
}

void UdpServer::begin(const UdpPath& path, const UdpPacket& packet, Instant now) {
    if (!throttle_.admit(path.peer.address, now)) {
        ++counters_.throttled;
        return;
    }
    if (!replies_.has(UdpReplies::Peer::stranger, path.peer.address, now)) {
        ++counters_.limited;
        return;
    }
    const auto id = ++last_id_;
    const auto admission = places_.admit(id, path.peer.address);
    for (const auto displaced : admission.displaced) {
        ++counters_.displaced;
        const auto entry = entries_.find(displaced);
        DSTM_ASSERT(entry != entries_.end());
        if (entry->second.is_open) {
            out_.emplace_back(udp::OwnerAction{displaced, ServerAction(Close{})});
        }
        by_path_.erase(entry->second.path);
        entries_.erase(entry);
    }
    if (!admission.is_admitted) {
        ++counters_.no_room;
        return reply_to_stranger(path, packet.header,
                                 format_redirect(Status::too_busy, {},
                                                 config_.session.redirect.brokers,
                                                 config_.session.limits.bare_redirect_size_max),
                                 now);
    }
    const auto entry =
        entries_
            .emplace(id, Entry{path, UdpExchange(config_.session, packet.header, now), true, now,
                               0, 0, 0})
            .first;
    by_path_.emplace(path, id);
    out_.emplace_back(udp::OpenExchange{id, path});
    deliver(entry, packet, now);
}

void UdpServer::deliver(Entries::iterator entry, const UdpPacket& packet, Instant now) {
    Entry& peer = entry->second;
    auto outcome = peer.exchange.receive(packet, now);
    count(outcome.verdict);
    // What is ignored pays for nothing and keeps nothing alive.
    using Verdict = UdpExchange::Verdict;
    if (outcome.verdict == Verdict::taken) peer.long_copies = 0;
    if (outcome.verdict == Verdict::altered || outcome.verdict == Verdict::out_of_turn) return;
    peer.heard_at = now;
    peer.bytes_in += wire_size(peer.path, packet.data.size() + udp_header_size);
    carry_out(entry, std::move(outcome), now);
}

void UdpServer::count(UdpExchange::Verdict verdict) {
    switch (verdict) {
        case UdpExchange::Verdict::taken: ++counters_.taken; return;
        case UdpExchange::Verdict::repeated: ++counters_.repeated; return;
        case UdpExchange::Verdict::in_work: ++counters_.in_work; return;
        case UdpExchange::Verdict::altered: ++counters_.altered; return;
        case UdpExchange::Verdict::out_of_turn: ++counters_.out_of_turn; return;
    }
}

// --- outcomes and time ---------------------------------------------------------------------------

udp::Actions UdpServer::handle(udp::ExchangeId id, const AuthenticationStepDone& event,
                               Instant now) {
    const auto entry = entries_.find(id);
    if (entry == entries_.end() || entry->second.exchange.is_closed()) return {};
    carry_out(entry, entry->second.exchange.handle(event, now), now);
    return take_actions();
}

udp::Actions UdpServer::handle(udp::ExchangeId id, const TunnelAnswered& event, Instant now) {
    const auto entry = entries_.find(id);
    if (entry == entries_.end() || entry->second.exchange.is_closed()) return {};
    carry_out(entry, entry->second.exchange.handle(event, now), now);
    return take_actions();
}

udp::Actions UdpServer::tick(Instant now) {
    for (auto entry = entries_.begin(); entry != entries_.end();) {
        const auto next = std::next(entry);
        auto& exchange = entry->second.exchange;
        const auto deadline = exchange.deadline();
        if (deadline && *deadline <= now) {
            carry_out(entry, exchange.handle(TimePassed{}, now), now);
            if (exchange.is_closed()) ++counters_.expired;
        }
        // Its last words are kept for as long as they may be asked for.
        const bool is_forgotten = exchange.is_closed() &&
                                  now - entry->second.heard_at >= config_.limits.repeat_time;
        if (is_forgotten) end(entry);
        entry = next;
    }
    return take_actions();
}

udp::Actions UdpServer::channel_gone(std::uint32_t channel) {
    for (auto entry = entries_.begin(); entry != entries_.end();) {
        const auto next = std::next(entry);
        if (entry->second.path.channel == channel) end(entry);
        entry = next;
    }
    return take_actions();
}

// --- sending -------------------------------------------------------------------------------------

void UdpServer::carry_out(Entries::iterator entry, UdpExchange::Outcome outcome, Instant now) {
    Entry& peer = entry->second;
    if (outcome.datagram) reply(peer, std::move(*outcome.datagram), now);
    for (auto& action : outcome.actions) {
        if (std::holds_alternative<Close>(action)) peer.is_open = false;
        out_.emplace_back(udp::OwnerAction{entry->first, std::move(action)});
    }
    places_.touch(entry->first, !peer.exchange.is_at_stake());
}

void UdpServer::reply(Entry& peer, std::string datagram, Instant now) {
    const auto size = wire_size(peer.path, datagram.size());
    if (!peer.exchange.is_proven()) {
        const bool is_short = datagram.size() <= config_.limits.stranger_reply_max;
        const bool is_paid =
            peer.exchange.has_stepped() &&
            peer.long_copies < config_.limits.long_reply_copies &&
            peer.bytes_out + size <= peer.bytes_in * config_.limits.budget_factor;
        if (!is_short && !is_paid) {
            ++counters_.withheld;
            return;
        }
        const auto kind = peer.exchange.has_stepped() ? UdpReplies::Peer::stepped
                                                      : UdpReplies::Peer::stranger;
        if (!replies_.take(kind, peer.path.peer.address, now)) {
            ++counters_.limited;
            return;
        }
        if (!is_short) ++peer.long_copies;
    }
    peer.bytes_out += size;
    ++counters_.replied;
    out_.emplace_back(udp::SendDatagram{peer.path, std::move(datagram)});
}

void UdpServer::reply_to_stranger(const UdpPath& path, const UdpHeader& header,
                                  std::string_view text, Instant now) {
    if (!replies_.take(UdpReplies::Peer::stranger, path.peer.address, now)) {
        ++counters_.limited;
        return;
    }
    ++counters_.replied;
    out_.emplace_back(udp::SendDatagram{path, encode_udp_packet({header, text})});
}

void UdpServer::end(Entries::iterator entry) {
    if (entry->second.is_open) {
        out_.emplace_back(udp::OwnerAction{entry->first, ServerAction(Close{})});
    }
    places_.leave(entry->first);
    by_path_.erase(entry->second.path);
    entries_.erase(entry);
}

udp::Actions UdpServer::take_actions() { return std::exchange(out_, {}); }

}  // namespace dstm::tsp
