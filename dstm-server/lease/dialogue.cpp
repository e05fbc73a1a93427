// The dialogue with the hook: who waits for which answer, and what becomes of late ones.
#include "dstm-server/lease/dialogue.hpp"

#include <fmt/format.h>

#include "common/log/log.hpp"

namespace dstm::server::lease {

// --- the connection ------------------------------------------------------------------------------

void Dialogue::connected(Instant now) {
    connected_ = true;
    hello_deadline_ = now + config_.call_timeout;
    lines_ = LineBuffer(line_size_max);
}

Result<void> Dialogue::received(std::string_view bytes, Instant now) {
    lines_.append(bytes);
    while (const auto line = lines_.next()) {
        if (line->size() > line_size_max) return fail(ErrorCode::invalid, "line over the limit");
        if (auto handled = handle_line(*line, now); !handled) return handled;
    }
    if (lines_.is_overlong()) return fail(ErrorCode::invalid, "line over the limit");
    return {};
}

void Dialogue::disconnected(const std::string& why) {
    const bool was_ready = std::exchange(ready_, false);
    connected_ = false;
    stalled_ = false;
    deadlines_.clear();
    orphans_.clear();
    output_.clear();
    auto lost = std::exchange(pending_, {});
    for (auto& [id, pending] : lost) {
        fail_call(pending.call, Error{ErrorCode::unavailable, "Kea: " + why});
    }
    if (was_ready) outcomes_.emplace_back(Lost{});
}

void Dialogue::time_passed(Instant now) {
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
        const std::uint64_t id = deadlines_.begin()->second;
        Pending& pending = pending_.at(id);
        const bool waited_for =
            std::visit([](auto& call) {
                if constexpr (requires { call.done; }) return static_cast<bool>(call.done);
                else return false;
            }, pending.call);
        if (!waited_for) {
            deadlines_.erase(deadlines_.begin());
            stalled_ = true;
            continue;
        }
        fail_call(pending.call, Error{ErrorCode::timed_out, "Kea: no answer in time"});
        wait_until(id, pending, now + config_.stall_timeout);
    }
}

std::optional<Instant> Dialogue::deadline() const {
    if (connected_ && !ready_) return hello_deadline_;
    if (deadlines_.empty()) return std::nullopt;
    return deadlines_.begin()->first;
}

std::optional<std::string> Dialogue::fault(Instant now) const {
    if (connected_ && !ready_ && now >= hello_deadline_) return "no hello in time";
    if (stalled_) return "no answer to a request for a long time";
    return std::nullopt;
}

// --- calls ---------------------------------------------------------------------------------------

std::optional<std::uint64_t> Dialogue::begin(Call call, Instant now) {
    if (!ready_) {
        fail_call(call, Error{ErrorCode::unavailable, "Kea: not connected"});
        return std::nullopt;
    }
    if (pending_.size() >= config_.calls_max) {
        fail_call(call, Error{ErrorCode::unavailable, "Kea: too many requests outstanding"});
        return std::nullopt;
    }
    const std::uint64_t id = next_id_++;
    auto [entry, inserted] = pending_.emplace(id, Pending{std::move(call), {}});
    wait_until(id, entry->second, now + config_.call_timeout);
    return id;
}

void Dialogue::wait_until(std::uint64_t id, Pending& pending, Instant deadline) {
    deadlines_.erase({pending.deadline, id});
    pending.deadline = deadline;
    deadlines_.emplace(deadline, id);
}

void Dialogue::fail_call(Call& call, const Error& error) {
    std::visit([&](auto& one) {
        if constexpr (requires { one.done; }) {
            complete(std::exchange(one.done, nullptr), {tl::unexpected(error)});
        }
    }, call);
}

void Dialogue::allocate(const LeaseRequest& request, Done<Lease> done, Instant now) {
    Allocate call{std::move(done), request.client_id, request.context.generation};
    if (const auto id = begin(std::move(call), now)) {
        send(encode_allocate(*id, config_.family, request));
    }
}

void Dialogue::renew(const IpAddress& address, const LeaseRequest& request, Done<Lease> done,
                     Instant now) {
    if (const auto id = begin(Renew{std::move(done)}, now)) {
        send(encode_renew(*id, address, request));
    }
}

void Dialogue::release(const IpAddress& address, const ClientId& client_id, Generation up_to,
                       Done<void> done, Instant now) {
    if (const auto id = begin(Release{std::move(done)}, now)) {
        send(encode_release(*id, address, client_id, up_to));
    }
}

void Dialogue::list(Done<std::vector<Lease>> done, Instant now) {
    if (const auto id = begin(List{std::move(done), {}, {}}, now)) {
        send(encode_list(*id, config_.family, std::nullopt));
    }
}

// --- what the hook says --------------------------------------------------------------------------

Result<void> Dialogue::handle_line(std::string_view line, Instant now) {
    auto message = decode(config_.family, line);
    if (!message) return tl::unexpected(message.error());
    if (const auto* hello = std::get_if<Hello>(&*message)) return handle(*hello);
    if (!ready_) return fail(ErrorCode::invalid, "the first line is not hello");
    if (auto* answer = std::get_if<Answer>(&*message)) return handle(*answer, now);
    if (auto* ended = std::get_if<LeaseEnded>(&*message)) {
        note_sequence(ended->sequence);
        if (ended->lease) outcomes_.emplace_back(LeaseGone{*std::move(ended->lease), ended->why});
        return {};
    }
    if (const auto* resync = std::get_if<Resync>(&*message)) {
        last_sequence_ = resync->sequence;
        outcomes_.emplace_back(Ready{});
        return {};
    }
    note_sequence(std::get<UnknownEvent>(*message).sequence);
    return {};
}

Result<void> Dialogue::handle(const Hello& hello) {
    if (ready_) return fail(ErrorCode::invalid, "a second hello");
    if (hello.protocol != protocol_version) {
        return fail(ErrorCode::invalid, fmt::format("the hook speaks protocol {}, not {}",
                                                    hello.protocol, protocol_version));
    }
    const std::int64_t family = config_.family == Family::v4 ? 4 : 6;
    if (hello.family != family) {
        return fail(ErrorCode::invalid,
                    fmt::format("this is the hook of kea-dhcp{}, not {}", hello.family, family));
    }
    ready_ = true;
    last_sequence_ = hello.sequence;
    outcomes_.emplace_back(Ready{});
    return {};
}

void Dialogue::note_sequence(std::uint64_t sequence) {
    const std::uint64_t expected = last_sequence_ + 1;
    last_sequence_ = sequence;
    if (sequence != expected) {
        log_warning("KEA_EVENTS_LOST", "expected={} received={}", expected, sequence);
        outcomes_.emplace_back(Ready{});
    }
}

Result<void> Dialogue::handle(Answer& answer, Instant now) {
    const auto found = pending_.find(answer.id);
    if (found == pending_.end()) {
        if (answer.id < next_id_) return {};  // of an earlier connection, or a second answer
        return fail(ErrorCode::invalid, fmt::format("an answer to request {}, which was never sent",
                                                    answer.id));
    }
    deadlines_.erase({found->second.deadline, answer.id});
    Call call = std::move(found->second.call);
    pending_.erase(found);
    return std::visit([&](auto& one) { return finish(one, answer, now); }, call);
}

Result<void> Dialogue::finish(Allocate& call, Answer& answer, Instant now) {
    if (answer.error) {
        complete(std::move(call.done), {tl::unexpected(*answer.error)});
        return {};
    }
    auto allocated = decode_allocated(config_.family, answer.arguments);
    if (!allocated) {
        complete(std::move(call.done), {tl::unexpected(allocated.error())});
        return tl::unexpected(allocated.error());
    }
    if (!call.done) {
        give_back(*allocated, call, now);
        return {};
    }
    orphans_.erase(allocated->lease.address);
    complete(std::move(call.done), {std::move(allocated->lease)});
    return {};
}

// A lease that the client had before is not ours to end: a tunnel may live on it. Unless it was
// itself given to a caller that had gone.
void Dialogue::give_back(const Allocated& late, const Allocate& call, Instant now) {
    const Lease& lease = late.lease;
    if (late.reused && !orphans_.contains(lease.address)) return;
    log_info("KEA_LATE_LEASE_RELEASED", "address={}", to_string(lease.address));
    orphans_.insert(lease.address);
    if (const auto id = begin(GiveBack{lease.address}, now)) {
        send(encode_release(*id, lease.address, call.client_id, call.generation));
    }
}

Result<void> Dialogue::finish(Renew& call, Answer& answer, Instant) {
    if (answer.error) {
        complete(std::move(call.done), {tl::unexpected(*answer.error)});
        return {};
    }
    auto lease = decode_lease(config_.family, answer.arguments);
    Result<void> outcome;
    if (!lease) outcome = tl::unexpected(lease.error());
    complete(std::move(call.done), std::move(lease));
    return outcome;
}

Result<void> Dialogue::finish(Release& call, Answer& answer, Instant) {
    Result<void> outcome;
    if (answer.error) outcome = tl::unexpected(*answer.error);
    complete(std::move(call.done), std::move(outcome));
    return {};
}

Result<void> Dialogue::finish(List& call, Answer& answer, Instant now) {
    if (!call.done) return {};
    if (answer.error && answer.error->code == ErrorCode::not_found) {
        complete(std::move(call.done), {std::move(call.leases)});
        return {};
    }
    if (answer.error) {
        complete(std::move(call.done), {tl::unexpected(*answer.error)});
        return {};
    }
    auto page = decode_page(config_.family, answer.arguments);
    const bool goes_back = page && page->next && call.from && *page->next <= *call.from;
    if (!page || goes_back || call.leases.size() + page->leases.size() > config_.leases_max) {
        const Error error{ErrorCode::invalid, page ? "Kea: the list of leases does not end"
                                                   : page.error().context};
        complete(std::move(call.done), {tl::unexpected(error)});
        return tl::unexpected(error);
    }
    if (page->unreadable != 0) log_warning("KEA_LEASE_UNREADABLE", "count={}", page->unreadable);
    std::move(page->leases.begin(), page->leases.end(), std::back_inserter(call.leases));
    if (!page->next) {
        complete(std::move(call.done), {std::move(call.leases)});
        return {};
    }
    call.from = page->next;
    if (const auto id = begin(std::move(call), now)) {
        send(encode_list(*id, config_.family, page->next));
    }
    return {};
}

Result<void> Dialogue::finish(GiveBack& call, Answer& answer, Instant) {
    // conflict: a newer allocation of it is on its way and decides its fate.
    if (!answer.error || answer.error->code != ErrorCode::conflict) orphans_.erase(call.address);
    return {};
}

}  // namespace dstm::server::lease
