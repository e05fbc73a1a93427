#include "common/teplink/codec.hpp"

#include "common/teplink/fields.hpp"

namespace dstm::teplink {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
    using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

// --- values -------------------------------------------------------------------------------------

Json to_json(const TunnelSpec& spec) {
    Json json{{"type", to_string(spec.type)},
              {"inner", to_string(spec.inner)},
              {"outer-client", to_string(spec.outer_client.address)},
              {"outer-port", spec.outer_client.port},
              {"outer-server", to_string(spec.outer_server)},
              {"generation", spec.generation},
              {"expires-at", to_unix(spec.expires_at)}};
    if (spec.inner_prefix) json["inner-prefix"] = spec.inner_prefix->to_string();
    return json;
}

TunnelSpec read_spec(const Json& value) {
    const Json& json = need_object(value, "tunnel");
    TunnelSpec spec;
    spec.type = need_parsed(json, "type", parse_tunnel_type);
    spec.inner = need_parsed(json, "inner", parse_ip_address);
    spec.outer_client.address = need_parsed(json, "outer-client", parse_ip_address);
    spec.outer_client.port = static_cast<std::uint16_t>(need_number(json, "outer-port", 65535));
    spec.outer_server = need_parsed(json, "outer-server", parse_ip_address);
    spec.generation = need_number(json, "generation");
    spec.expires_at =
        from_unix(static_cast<std::int64_t>(need_number(json, "expires-at", unix_time_max)));
    if (const Json* prefix = find(json, "inner-prefix")) {
        spec.inner_prefix = parse_text(*prefix, "inner-prefix", Ipv6Prefix::parse);
    }
    return spec;
}

Json to_json(const std::vector<TunnelSpec>& specs) {
    Json list = Json::array();
    for (const auto& spec : specs) list.push_back(to_json(spec));
    return list;
}

std::vector<TunnelSpec> read_specs(const Json& params) {
    std::vector<TunnelSpec> specs;
    for (const auto& item : need_array(params, "tunnels", tunnels_per_message_max)) {
        specs.push_back(read_spec(item));
    }
    return specs;
}

Json to_json(const ListedTunnel& tunnel) {
    return Json{{"spec", to_json(tunnel.spec)},
                {"packets-up", tunnel.packets_up},
                {"bytes-up", tunnel.bytes_up},
                {"packets-down", tunnel.packets_down},
                {"bytes-down", tunnel.bytes_down},
                {"last-seen-up", to_unix(tunnel.last_seen_up)}};
}

ListedTunnel read_listed(const Json& value) {
    const Json& json = need_object(value, "tunnel");
    ListedTunnel tunnel;
    tunnel.spec = read_spec(need(json, "spec"));
    tunnel.packets_up = need_number(json, "packets-up");
    tunnel.bytes_up = need_number(json, "bytes-up");
    tunnel.packets_down = need_number(json, "packets-down");
    tunnel.bytes_down = need_number(json, "bytes-down");
    tunnel.last_seen_up =
        from_unix(static_cast<std::int64_t>(need_number(json, "last-seen-up", unix_time_max)));
    return tunnel;
}

Json to_json(const Result<void>& result) {
    if (result) return Json{{"ok", true}};
    return Json{{"ok", false},
                {"code", wire_code(result.error().code)},
                {"text", result.error().context}};
}

Error read_error(const Json& json, const char* text_key) {
    const Json& code = need(json, "code");
    if (!code.is_number_integer()) throw BadField{"code is not an integer"};
    std::string text = need_string(json, text_key);
    if (text.size() > error_text_size_max) text.resize(error_text_size_max);
    return Error{error_code(code.get<std::int64_t>()), std::move(text)};
}

Result<void> read_result(const Json& value) {
    const Json& json = need_object(value, "result");
    if (need_boolean(json, "ok")) return {};
    return tl::unexpected<Error>(read_error(json, "text"));
}

// --- requests -----------------------------------------------------------------------------------

Json params_of(const Hello& hello) {
    Json types = Json::array();
    for (const auto type : hello.types) types.push_back(to_string(type));
    Json pools = Json::array();
    for (const auto& pool : hello.pools) pools.push_back(pool.to_string());
    Json json{{"protocol", hello.protocol},
              {"name", hello.name},
              {"group", hello.group},
              {"types", std::move(types)},
              {"inner-ipv4", hello.inner_ipv4.to_string()},
              {"pools", std::move(pools)},
              {"data-plane", hello.data_plane},
              {"tunnels", hello.tunnels}};
    if (hello.outer_ipv6) json["outer-ipv6"] = hello.outer_ipv6->to_string();
    if (hello.outer_ipv4) json["outer-ipv4"] = hello.outer_ipv4->to_string();
    return json;
}

Hello read_hello(const Json& params) {
    Hello hello;
    hello.protocol = need_number(params, "protocol");
    hello.name = need_name(params, "name");
    hello.group = need_name(params, "group");
    for (const auto& type : need_array(params, "types", 16)) {
        // A type this side has not heard of is no reason to do without the others.
        if (!type.is_string()) throw BadField{"types holds what is not a string"};
        if (const auto known = parse_tunnel_type(type.get_ref<const std::string&>())) {
            hello.types.push_back(*known);
        }
    }
    if (const Json* outer = find(params, "outer-ipv6")) {
        hello.outer_ipv6 = parse_text(*outer, "outer-ipv6", Ipv6Address::parse);
    }
    if (const Json* outer = find(params, "outer-ipv4")) {
        hello.outer_ipv4 = parse_text(*outer, "outer-ipv4", Ipv4Address::parse);
    }
    hello.inner_ipv4 = need_parsed(params, "inner-ipv4", Ipv4Address::parse);
    for (const auto& pool : need_array(params, "pools", pools_max)) {
        hello.pools.push_back(parse_text(pool, "pools", Ipv4Prefix::parse));
    }
    hello.data_plane = need_name(params, "data-plane");
    hello.tunnels = need_number(params, "tunnels");
    return hello;
}

Json params_of(const Install& install) { return Json{{"tunnels", to_json(install.tunnels)}}; }

Json params_of(const Remove& remove) {
    Json list = Json::array();
    for (const auto& removal : remove.tunnels) {
        list.push_back(
            Json{{"inner", to_string(removal.inner)}, {"up-to-generation", removal.up_to}});
    }
    return Json{{"tunnels", std::move(list)}};
}

Remove read_remove(const Json& params) {
    Remove remove;
    for (const auto& item : need_array(params, "tunnels", tunnels_per_message_max)) {
        const Json& json = need_object(item, "tunnel");
        remove.tunnels.push_back(Removal{need_parsed(json, "inner", parse_ip_address),
                                         need_number(json, "up-to-generation")});
    }
    return remove;
}

Json params_of(const Sync& sync) {
    return Json{{"session", sync.session},
                {"first", sync.first},
                {"last", sync.last},
                {"as-of", sync.as_of},
                {"tunnels", to_json(sync.tunnels)}};
}

Sync read_sync(const Json& params) {
    Sync sync;
    sync.session = need_number(params, "session");
    sync.first = need_boolean(params, "first");
    sync.last = need_boolean(params, "last");
    sync.as_of = need_number(params, "as-of");
    sync.tunnels = read_specs(params);
    return sync;
}

Json params_of(const List& list) {
    Json json{{"limit", list.limit}};
    if (list.from) json["from"] = to_string(*list.from);
    return json;
}

List read_list(const Json& params) {
    List list;
    if (const Json* from = find(params, "from")) {
        list.from = parse_text(*from, "from", parse_ip_address);
    }
    if (find(params, "limit") != nullptr) {
        list.limit = need_number(params, "limit", tunnels_per_message_max);
        if (list.limit == 0) throw BadField{"limit is 0"};
    }
    return list;
}

Json params_of(const Counters&) { return Json::object(); }

std::optional<Method> parse_method(std::string_view text) {
    for (const auto method : {Method::hello, Method::install, Method::remove, Method::sync,
                              Method::list, Method::counters}) {
        if (text == to_string(method)) return method;
    }
    return std::nullopt;
}

Request read_request(Method method, const Json& params) {
    switch (method) {
        case Method::hello: return read_hello(params);
        case Method::install: return Install{read_specs(params)};
        case Method::remove: return read_remove(params);
        case Method::sync: return read_sync(params);
        case Method::list: return read_list(params);
        case Method::counters: return Counters{};
    }
    throw BadField{"method"};
}

// --- answers ------------------------------------------------------------------------------------

Json to_json(const HelloAnswer& answer) {
    return Json{{"protocol", answer.protocol}, {"server", answer.server}};
}

Json to_json(const BatchAnswer& answer) {
    Json list = Json::array();
    for (const auto& result : answer.results) list.push_back(to_json(result));
    return Json{{"results", std::move(list)}};
}

Json to_json(const SyncAnswer& answer) {
    if (!answer.totals) return Json::object();
    return Json{{"installed", answer.totals->installed},
                {"unchanged", answer.totals->unchanged},
                {"removed", answer.totals->removed}};
}

Json to_json(const ListAnswer& answer) {
    Json list = Json::array();
    for (const auto& tunnel : answer.tunnels) list.push_back(to_json(tunnel));
    Json json{{"tunnels", std::move(list)}};
    if (answer.next) json["next"] = to_string(*answer.next);
    return json;
}

Json to_json(const CountersAnswer& answer) { return Json{{"drops", answer.drops}}; }

BatchAnswer read_batch_answer(const Json& json) {
    BatchAnswer answer;
    for (const auto& item : need_array(json, "results", tunnels_per_message_max)) {
        answer.results.push_back(read_result(item));
    }
    return answer;
}

SyncAnswer read_sync_answer(const Json& json) {
    if (find(json, "installed") == nullptr) return {};
    return SyncAnswer{SyncTotals{need_number(json, "installed"), need_number(json, "unchanged"),
                                 need_number(json, "removed")}};
}

ListAnswer read_list_answer(const Json& json) {
    ListAnswer answer;
    for (const auto& item : need_array(json, "tunnels", tunnels_per_message_max)) {
        answer.tunnels.push_back(read_listed(item));
    }
    if (const Json* next = find(json, "next")) {
        answer.next = parse_text(*next, "next", parse_ip_address);
    }
    return answer;
}

CountersAnswer read_counters_answer(const Json& json) {
    CountersAnswer answer;
    const Json& drops = need_object(need(json, "drops"), "drops");
    for (const auto& [name, value] : drops.items()) {
        answer.drops.emplace(name, need_number(drops, name.c_str()));
    }
    return answer;
}

Answer read_answer(Method method, const Json& value) {
    const Json& json = need_object(value, "result");
    switch (method) {
        case Method::hello:
            return HelloAnswer{need_name(json, "server"), need_number(json, "protocol")};
        case Method::install:
        case Method::remove: return read_batch_answer(json);
        case Method::sync: return read_sync_answer(json);
        case Method::list: return read_list_answer(json);
        case Method::counters: return read_counters_answer(json);
    }
    throw BadField{"method"};
}

// --- frames -------------------------------------------------------------------------------------

Json call(std::string_view method, Json params) {
    return Json{{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}};
}

// Text that came from elsewhere may not be UTF-8; it is made so rather than refused.
std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

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

Frame decode_notification(const std::string& method, const Json& frame) {
    if (method == "down") return NotificationFrame{Down{}};
    if (method != "idle") return IgnoredFrame{"unknown notification"};
    try {
        Idle idle;
        for (const auto& item : need_array(params_in(frame), "inner", tunnels_per_message_max)) {
            idle.inner.push_back(parse_text(item, "inner", parse_ip_address));
        }
        return NotificationFrame{std::move(idle)};
    } catch (const BadField& bad) {
        return IgnoredFrame{"idle: " + bad.what};
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
            return AnswerFrame{*id, tl::unexpected<Error>(
                                        read_error(need_object(*error, "error"), "message"))};
        }
        return AnswerFrame{*id, read_answer(*method, need(frame, "result"))};
    } catch (const BadField& bad) {
        return AnswerFrame{*id, fail(ErrorCode::internal, "answer to " +
                                                              std::string(to_string(*method)) +
                                                              ": " + bad.what)};
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
    Json json = call(to_string(method_of(request)),
                     std::visit([](const auto& each) { return params_of(each); }, request));
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
    return dump(std::visit(Overloaded{idle, down}, notification));
}

std::string encode_answer(RequestId id, const Answer& answer) {
    return dump(Json{{"jsonrpc", "2.0"},
                     {"id", id},
                     {"result", std::visit([](const auto& each) { return to_json(each); }, answer)}});
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
