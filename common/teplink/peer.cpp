// Matches answers to calls (JSON-RPC 2.0 s4, s5). An id is in calls_ and deadlines_, or in neither.
#include "common/teplink/peer.hpp"

#include <utility>

namespace dstm::teplink {

Result<Peer::Call> Peer::call(const Request& request, Instant deadline) {
    if (gone_) return fail(ErrorCode::unavailable, "the link is gone");
    if (calls_.size() >= calls_max_) {
        return fail(ErrorCode::exhausted, "too many calls wait for an answer");
    }
    const CallId id = ++last_id_;
    calls_.emplace(id, Waiting{method_of(request), deadline});
    deadlines_.emplace(deadline, id);
    return Call{id, SendFrame{encode_request(id, request)}};
}

SendFrame Peer::notify(const Notification& notification) {
    return SendFrame{encode_notification(notification)};
}

SendFrame Peer::answer(RequestId id, const Answer& answer) {
    return SendFrame{encode_answer(id, answer)};
}

SendFrame Peer::refuse(RequestId id, const Error& error) {
    return SendFrame{encode_refusal(id, wire_code(error.code), error.context)};
}

std::vector<Action> Peer::receive(std::string_view text) {
    std::vector<Action> actions;
    if (gone_) return actions;
    const auto method_of_id = [this](RequestId id) -> std::optional<Method> {
        const auto at = calls_.find(id);
        return at == calls_.end() ? std::nullopt : std::optional(at->second.method);
    };
    Frame frame = decode(text, method_of_id);
    if (auto* request = std::get_if<RequestFrame>(&frame)) {
        actions.push_back(RequestReceived{request->id, std::move(request->request)});
    } else if (auto* bad = std::get_if<BadRequestFrame>(&frame)) {
        actions.push_back(SendFrame{encode_refusal(bad->id, bad->code, bad->text)});
        actions.push_back(FrameRejected{std::move(bad->text)});
    } else if (auto* notification = std::get_if<NotificationFrame>(&frame)) {
        actions.push_back(NotificationReceived{std::move(notification->notification)});
    } else if (auto* answer = std::get_if<AnswerFrame>(&frame)) {
        end_call(calls_.find(answer->id));
        actions.push_back(CallEnded{answer->id, std::move(answer->outcome)});
    } else if (auto* ignored = std::get_if<IgnoredFrame>(&frame)) {
        actions.push_back(FrameRejected{std::move(ignored->why)});
    }
    return actions;
}

std::vector<Action> Peer::tick(Instant now) {
    std::vector<Action> actions;
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
        const CallId id = deadlines_.begin()->second;
        const auto at = calls_.find(id);
        const std::string method(to_string(at->second.method));
        actions.push_back(CallEnded{id, fail(ErrorCode::timed_out, "no answer to " + method)});
        end_call(at);
    }
    return actions;
}

std::vector<Action> Peer::gone(std::string_view why) {
    std::vector<Action> actions;
    gone_ = true;
    for (auto at = calls_.begin(); at != calls_.end(); at = end_call(at)) {
        actions.push_back(CallEnded{at->first, fail(ErrorCode::unavailable, std::string(why))});
    }
    return actions;
}

std::optional<Instant> Peer::next_deadline() const {
    return deadlines_.empty() ? std::nullopt : std::optional(deadlines_.begin()->first);
}

Peer::Calls::iterator Peer::end_call(Calls::iterator at) {
    deadlines_.erase({at->second.deadline, at->first});
    return calls_.erase(at);
}

}  // namespace dstm::teplink
