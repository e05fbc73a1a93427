// JSON-RPC 2.0 frames of the endpoint link to values and back (docs/wire/endpoint-link.md). Who
// includes this sees no JSON: that stays inside this folder.
//
// Strict on every member that is needed, blind to members that are not known. Does not know what
// was asked before: the caller tells the method of an answer's id.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/teplink/message.hpp"

namespace dstm::teplink {

// Ours are positive integers; requests of the other side may carry 0 as well. Ids that are strings,
// which JSON-RPC 2.0 allows, are not spoken on this link.
using RequestId = std::uint64_t;

enum class Method { hello, install, remove, sync, list, counters };
[[nodiscard]] Method method_of(const Request& request);
[[nodiscard]] std::string_view to_string(Method method);

[[nodiscard]] std::string encode_request(RequestId id, const Request& request);
[[nodiscard]] std::string encode_notification(const Notification& notification);
[[nodiscard]] std::string encode_answer(RequestId id, const Answer& answer);
// `code` as it goes over the wire; without an id the frame that is refused could not be read.
[[nodiscard]] std::string encode_refusal(std::optional<RequestId> id, int code,
                                         std::string_view text);

struct RequestFrame {
    RequestId id = 0;
    Request request;
};
// A request that cannot be served; to be answered with encode_refusal.
struct BadRequestFrame {
    std::optional<RequestId> id;
    int code = code_invalid_request;
    std::string text;
};
struct NotificationFrame {
    Notification notification;
};
// The other side's answer or refusal; an answer of the wrong shape is ErrorCode::internal.
struct AnswerFrame {
    RequestId id = 0;
    Result<Answer> outcome;
};
// Not to be answered: an answer to nothing we asked, an unknown notification.
struct IgnoredFrame {
    std::string why;
};
using Frame =
    std::variant<RequestFrame, BadRequestFrame, NotificationFrame, AnswerFrame, IgnoredFrame>;

// What was asked under this id; nullopt when nothing waits for it.
using MethodOfId = std::function<std::optional<Method>(RequestId)>;

[[nodiscard]] Frame decode(std::string_view text, const MethodOfId& method_of_id);

}  // namespace dstm::teplink
