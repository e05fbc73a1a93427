// JSON of the admin socket. Does not know the socket.
#include "tep/admin.hpp"

#include <nlohmann/json.hpp>

namespace dstm::tep {
namespace {

using Json = nlohmann::json;

std::string failed(int result, std::string text) {
    return Json{{"result", result}, {"text", std::move(text)}}.dump(-1, ' ', false,
                                                                    Json::error_handler_t::replace);
}

std::string done(Json arguments) {
    return Json{{"result", 0}, {"arguments", std::move(arguments)}}.dump(
        -1, ' ', false, Json::error_handler_t::replace);
}

Json to_json(const teplink::ListedTunnel& tunnel) {
    const auto& spec = tunnel.spec;
    Json json{{"inner", to_string(spec.inner)},
              {"type", to_string(spec.type)},
              {"outer-client", to_string(spec.outer_client.address)},
              {"outer-port", spec.outer_client.port},
              {"outer-server", to_string(spec.outer_server)},
              {"generation", spec.generation},
              {"expires-at", to_unix(spec.expires_at)},
              {"packets-up", tunnel.packets_up},
              {"bytes-up", tunnel.bytes_up},
              {"packets-down", tunnel.packets_down},
              {"bytes-down", tunnel.bytes_down},
              {"last-seen-up", to_unix(tunnel.last_seen_up)},
              {"last-seen-down", to_unix(tunnel.last_seen_down)}};
    if (spec.inner_prefix) json["inner-prefix"] = spec.inner_prefix->to_string();
    return json;
}

template <class Prefix>
Json to_json(const std::vector<Prefix>& pools) {
    Json json = Json::array();
    for (const auto& pool : pools) json.push_back(pool.to_string());
    return json;
}

// docs/counters.md says what each counts.
Json to_json(const RelayCounters& counters) {
    return Json{{"relayed", counters.relayed},     {"returned", counters.returned},
                {"oversize", counters.oversize},   {"overrun", counters.overrun},
                {"limited", counters.limited},     {"no-server", counters.no_server},
                {"link-busy", counters.link_busy}, {"not-sent", counters.not_sent}};
}

Json status(const AdminView& view) {
    Json servers = Json::array();
    for (const auto& link : view.control.links()) {
        servers.push_back(Json{{"address", to_string(link->address())},
                               {"up", link->is_up()},
                               {"server", link->server()}});
    }
    const auto& config = view.config;
    Json json{{"name", config.name},
              {"group", config.group},
              {"data-plane", view.plane.name()},
              {"outer-ipv6", config.outer_ipv6.to_string()},
              {"inner-ipv4", config.inner_ipv4.to_string()},
              {"pools", to_json(config.pools)},
              {"tunnels", view.table.size()},
              {"servers", std::move(servers)}};
    if (!config.outer_ipv4) return json;
    json["outer-ipv4"] = config.outer_ipv4->to_string();
    json["inner-ipv6"] = config.inner_ipv6->to_string();
    json["pools-ipv6"] = to_json(config.pools_ipv6);
    json["udp-port"] = config.udp_port;
    return json;
}

std::string tunnels(const AdminView& view, const Json& arguments) {
    teplink::List request;
    if (const auto from = arguments.find("from"); from != arguments.end()) {
        request.from = from->is_string() ? parse_ip_address(from->get_ref<const std::string&>())
                                         : std::nullopt;
        if (!request.from) return failed(1, "from is not an address");
    }
    if (const auto limit = arguments.find("limit"); limit != arguments.end()) {
        const auto value = limit->is_number_unsigned() ? limit->get<std::uint64_t>() : 0;
        if (value < 1 || value > teplink::tunnels_per_message_max) {
            return failed(1, "limit is not a number from 1 to 1000");
        }
        request.limit = value;
    }
    const auto page = view.table.list(request);
    Json list = Json::array();
    for (const auto& tunnel : page.tunnels) list.push_back(to_json(tunnel));
    Json answer{{"tunnels", std::move(list)}};
    if (page.next) answer["next"] = to_string(*page.next);
    return done(std::move(answer));
}

}  // namespace

std::string answer_admin(const AdminView& view, const std::string& line) {
    const Json request = Json::parse(line, nullptr, false);
    if (!request.is_object() || !request.contains("command") || !request["command"].is_string()) {
        return failed(1, "a line is {\"command\": \"...\"}");
    }
    const Json arguments = request.value("arguments", Json::object());
    if (!arguments.is_object()) return failed(1, "arguments is not an object");
    const auto& command = request["command"].get_ref<const std::string&>();
    if (command == "status") return done(status(view));
    if (command == "tunnels") return tunnels(view, arguments);
    if (command == "counters") {
        return done(Json{{"drops", view.plane.drops()}, {"relay", to_json(view.relay.counters())}});
    }
    return failed(2, "no such command: there are status, tunnels and counters");
}

}  // namespace dstm::tep
