// The envelope: JSON-RPC 2.0 around the parameters and results of payload.hpp.
#include "common/teplink/codec.hpp"

#include "common/base/base64.hpp"
#include "common/teplink/payload.hpp"

namespace dstm::teplink {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
    using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::optional<Method> parse_method(std::string_view text) {
    for (const auto method : {Method::hello, Method::install, Method::remove, Method::sync,
                              Method::list, Method::counters}) {
        if (text == to_string(method)) return method;
    }
    return std::nullopt;
}

Json call(std::string_view method, Json params) {
    return Json{{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}};
}

// Text that came from elsewhere may not be UTF-8; it is made so rather than refused.
std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<RequestId> read_id(const Json& frame) {
    const Json* id = find(frame, "id");
    if (id == nullptr || !id->is_number_unsigned()) return std::nullopt;
    return id->get<RequestId>();
}

const Json& params_in(const Json& frame) {
    static const Json none = Json::object();
    const Json* params = find(frame, "params");
    return params == nullptr ? none : need_object(*params, "params");
}

Idle read_idle(const Json& params) {
    Idle idle;
    for (const auto& item : need_array(params, "inner", tunnels_per_message_max)) {
        idle.inner.push_back(parse_text(item, "inner", parse_ip_address));
    }
    return idle;
}

Datagram read_datagram(const Json& params) {
    Datagram datagram;
    datagram.peer.address = need_parsed(params, "peer", parse_ip_address);
    datagram.peer.port = static_cast<std::uint16_t>(need_number(params, "port", 65535));
    if (datagram.peer.port == 0) throw BadField{"port is 0"};
    datagram.data = need_parsed(params, "data", decode_base64);
    if (datagram.data.empty() || datagram.data.size() > datagram_size_max) {
        throw BadField{"data has not 1 to 4096 bytes"};
    }
    return datagram;
}

Frame decode_notification(const std::string& method, const Json& frame) {
    try {
        if (method == "down") return NotificationFrame{Down{}};
        if (method == "idle") return NotificationFrame{read_idle(params_in(frame))};
        if (method == "datagram") return NotificationFrame{read_datagram(params_in(frame))};
        return IgnoredFrame{"unknown notification"};
    } catch (const BadField& bad) {
        return IgnoredFrame{method + ": " + bad.what};
    }
}

Frame decode_call(const Json& frame) {
    const Json* version = find(frame, "jsonrpc");
    if (version == nullptr || *version != "2.0" || !frame["method"].is_string()) {
        return BadRequestFrame{read_id(frame), code_invalid_request, "not a JSON-RPC 2.0 request"};
    }
    const auto& name = frame["method"].get_ref<const std::string&>();
    if (!frame.contains("id")) return decode_notification(name, frame);
    const auto id = read_id(frame);
    if (!id) return BadRequestFrame{{}, code_invalid_request, "the id is not a number"};
    const auto method = parse_method(name);
    if (!method) return BadRequestFrame{id, code_method_not_found, "no such method"};
    try {
        return RequestFrame{*id, read_request(*method, params_in(frame))};
    } catch (const BadField& bad) {
        return BadRequestFrame{id, code_invalid_params, bad.what};
    }
}

Frame decode_answer(const Json& frame, const MethodOfId& method_of_id) {
    const auto id = read_id(frame);
    const auto method = id ? method_of_id(*id) : std::nullopt;
    if (!method) return IgnoredFrame{"an answer to nothing that was asked"};
    try {
        if (const Json* error = find(frame, "error")) {
            return AnswerFrame{
                *id, tl::unexpected<Error>(read_error(need_object(*error, "error"), "message"))};
        }
        return AnswerFrame{*id, read_answer(*method, need(frame, "result"))};
    } catch (const BadField& bad) {
        return AnswerFrame{*id,
                           fail(ErrorCode::internal,
                                "answer to " + std::string(to_string(*method)) + ": " + bad.what)};
    }
}

}  // namespace

Method method_of(const Request& request) {
    return std::visit(Overloaded{[](const Hello&) { return Method::hello; },
                                 [](const Install&) { return Method::install; },
                                 [](const Remove&) { return Method::remove; },
                                 [](const Sync&) { return Method::sync; },
                                 [](const List&) { return Method::list; },
                                 [](const Counters&) { return Method::counters; }},
                      request);
}

std::string_view to_string(Method method) {
    switch (method) {
        case Method::hello: return "hello";
        case Method::install: return "install";
        case Method::remove: return "remove";
        case Method::sync: return "sync";
        case Method::list: return "list";
        case Method::counters: return "counters";
    }
    return "unknown";
}

std::string encode_request(RequestId id, const Request& request) {
    Json json = call(to_string(method_of(request)), params_of(request));
    json["id"] = id;
    return dump(json);
}

std::string encode_notification(const Notification& notification) {
    const auto idle = [](const Idle& each) {
        Json inner = Json::array();
        for (const auto& address : each.inner) inner.push_back(to_string(address));
        return call("idle", Json{{"inner", std::move(inner)}});
    };
    const auto down = [](const Down&) { return call("down", Json::object()); };
    const auto datagram = [](const Datagram& each) {
        return call("datagram", Json{{"peer", to_string(each.peer.address)},
                                     {"port", each.peer.port},
                                     {"data", encode_base64(each.data)}});
    };
    return dump(std::visit(Overloaded{idle, down, datagram}, notification));
}

std::string encode_answer(RequestId id, const Answer& answer) {
    return dump(Json{{"jsonrpc", "2.0"}, {"id", id}, {"result", result_of(answer)}});
}

std::string encode_refusal(std::optional<RequestId> id, int code, std::string_view text) {
    Json json{{"jsonrpc", "2.0"},
              {"error", Json{{"code", code}, {"message", text.substr(0, error_text_size_max)}}}};
    json["id"] = id ? Json(*id) : Json(nullptr);
    return dump(json);
}

Frame decode(std::string_view text, const MethodOfId& method_of_id) {
    if (text.size() > frame_size_max) {
        return BadRequestFrame{{}, code_invalid_request, "the frame is too large"};
    }
    const Json frame = Json::parse(text, nullptr, false);
    if (frame.is_discarded()) return BadRequestFrame{{}, code_parse_error, "not JSON"};
    if (!frame.is_object()) return BadRequestFrame{{}, code_invalid_request, "not an object"};
    if (frame.contains("method")) return decode_call(frame);
    if (frame.contains("result") || frame.contains("error")) {
        return decode_answer(frame, method_of_id);
    }
    return BadRequestFrame{{}, code_invalid_request, "neither a request nor an answer"};
}

}  // namespace dstm::teplink
