// Results of requests.
#include "common/teplink/payload.hpp"

namespace dstm::teplink {

Error read_error(const Json& json, const char* text_key) {
    const Json& code = need(json, "code");
    if (!code.is_number_integer()) throw BadField{"code is not an integer"};
    std::string text = need_string(json, text_key);
    if (text.size() > error_text_size_max) text.resize(error_text_size_max);
    return Error{error_code(code.get<std::int64_t>()), std::move(text)};
}

namespace {

Json write(const ListedTunnel& tunnel) {
    return Json{{"spec", to_json(tunnel.spec)},
                {"packets-up", tunnel.packets_up},
                {"bytes-up", tunnel.bytes_up},
                {"packets-down", tunnel.packets_down},
                {"bytes-down", tunnel.bytes_down},
                {"last-seen-up", to_unix(tunnel.last_seen_up)},
                {"last-seen-down", to_unix(tunnel.last_seen_down)}};
}

ListedTunnel read_listed(const Json& value) {
    const Json& json = need_object(value, "tunnel");
    ListedTunnel tunnel;
    tunnel.spec = read_spec(need(json, "spec"));
    tunnel.packets_up = need_number(json, "packets-up");
    tunnel.bytes_up = need_number(json, "bytes-up");
    tunnel.packets_down = need_number(json, "packets-down");
    tunnel.bytes_down = need_number(json, "bytes-down");
    const auto need_time = [&](const char* key) {
        return from_unix(static_cast<std::int64_t>(need_number(json, key, unix_time_max)));
    };
    tunnel.last_seen_up = need_time("last-seen-up");
    // An older endpoint does not say it.
    if (find(json, "last-seen-down") != nullptr) {
        tunnel.last_seen_down = need_time("last-seen-down");
    }
    return tunnel;
}

Json write(const Result<void>& result) {
    if (result) return Json{{"ok", true}};
    return Json{
        {"ok", false}, {"code", wire_code(result.error().code)}, {"text", result.error().context}};
}

Result<void> read_result(const Json& value) {
    const Json& json = need_object(value, "result");
    if (need_boolean(json, "ok")) return {};
    return tl::unexpected<Error>(read_error(json, "text"));
}

Json write(const HelloAnswer& answer) {
    return Json{{"protocol", answer.protocol}, {"server", answer.server}};
}

Json write(const BatchAnswer& answer) {
    Json list = Json::array();
    for (const auto& result : answer.results) list.push_back(write(result));
    return Json{{"results", std::move(list)}};
}

Json write(const SyncAnswer& answer) {
    if (!answer.totals) return Json::object();
    return Json{{"installed", answer.totals->installed},
                {"unchanged", answer.totals->unchanged},
                {"removed", answer.totals->removed}};
}

Json write(const ListAnswer& answer) {
    Json list = Json::array();
    for (const auto& tunnel : answer.tunnels) list.push_back(write(tunnel));
    Json json{{"tunnels", std::move(list)}};
    if (answer.next) json["next"] = to_string(*answer.next);
    return json;
}

Json write(const CountersAnswer& answer) { return Json{{"drops", answer.drops}}; }

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

}  // namespace

Json result_of(const Answer& answer) {
    return std::visit([](const auto& each) { return write(each); }, answer);
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

}  // namespace dstm::teplink
