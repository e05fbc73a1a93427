// One end of the endpoint link as a machine: who asked what, who still waits, what was too late.
// Both daemons use it. JSON-RPC 2.0 over text frames (docs/wire/endpoint-link.md).
//
// Frames, calls and the time go in, actions come out. Knows no socket, clock or thread, and does
// not know what a method means. Every call ends exactly once: answered, refused, timed out, or
// unavailable because the link went.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/teplink/codec.hpp"
#include "common/teplink/message.hpp"

namespace dstm::teplink {

using CallId = RequestId;

// --- actions ------------------------------------------------------------------------------------

struct SendFrame {
    std::string text;
};
// To be answered with answer() or refuse().
struct RequestReceived {
    RequestId id = 0;
    Request request;
};
struct NotificationReceived {
    Notification notification;
};
struct CallEnded {
    CallId id = 0;
    Result<Answer> outcome;
};
// The other side sent what makes no sense; the frame was answered or dropped. For a log line.
struct FrameRejected {
    std::string why;
};

using Action =
    std::variant<SendFrame, RequestReceived, NotificationReceived, CallEnded, FrameRejected>;

class Peer {
public:
    // Calls under way at once; more are a sign that the other side does not answer.
    static constexpr std::size_t calls_max_default = 10000;

    explicit Peer(std::size_t calls_max = calls_max_default) : calls_max_(calls_max) {}

    struct Call {
        CallId id = 0;
        SendFrame frame;
    };
    // unavailable: the link is gone. exhausted: too many calls wait already.
    [[nodiscard]] Result<Call> call(const Request& request, Instant deadline);
    [[nodiscard]] static SendFrame notify(const Notification& notification);
    [[nodiscard]] static SendFrame answer(RequestId id, const Answer& answer);
    [[nodiscard]] static SendFrame refuse(RequestId id, const Error& error);

    [[nodiscard]] std::vector<Action> receive(std::string_view frame);
    // Ends the calls whose deadline is not after `now`; their answers are ignored from then on.
    [[nodiscard]] std::vector<Action> tick(Instant now);
    // Ends every call with `unavailable`; nothing is received or called any more.
    [[nodiscard]] std::vector<Action> gone(std::string_view why);

    [[nodiscard]] std::optional<Instant> next_deadline() const;
    [[nodiscard]] std::size_t calls() const { return calls_.size(); }

private:
    struct Waiting {
        Method method = Method::hello;
        Instant deadline;
    };
    using Calls = std::map<CallId, Waiting>;
    Calls::iterator end_call(Calls::iterator at);

    std::size_t calls_max_;
    CallId last_id_ = 0;  // never reused, so that a late answer meets nobody
    bool gone_ = false;
    Calls calls_;
    std::set<std::pair<Instant, CallId>> deadlines_;
};

}  // namespace dstm::teplink
