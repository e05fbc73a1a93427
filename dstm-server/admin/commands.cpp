// The admin socket's answers by nlohmann-json.
#include "dstm-server/admin/commands.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "dstm-server/admin/rfc3339.hpp"

namespace dstm::server {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t page_size_max = 1000;

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}
std::string success(Json arguments) {
    return dump({{"result", 0}, {"arguments", std::move(arguments)}});
}
std::string failure(std::string text) { return dump({{"result", 1}, {"text", std::move(text)}}); }

const char* kea_state(const LeaseStoreStatus& status) {
    if (!status.is_used) return "unused";
    if (!status.is_up) return "away";
    return status.has_listed ? "ready" : "reading";
}

// docs/counters.md says what each counts.
Json to_json(const tsp::Throttle::Counters& refused) {
    return {{"by-address", refused.by_address},
            {"by-prefix", refused.by_prefix},
            {"by-user", refused.by_user}};
}

Json to_json(const net::UdpListenerStatus& status) {
    const tsp::UdpServerCounters& counters = status.counters;
    return {{"exchanges", status.exchanges},
            {"relayed", status.relayed},
            {"received", counters.received},
            {"taken", counters.taken},
            {"repeated", counters.repeated},
            {"in-work", counters.in_work},
            {"altered", counters.altered},
            {"out-of-turn", counters.out_of_turn},
            {"echo", counters.echo},
            {"not-signalling", counters.not_signalling},
            {"oversize", counters.oversize},
            {"no-exchange", counters.no_exchange},
            {"no-room", counters.no_room},
            {"throttled", counters.throttled},
            {"replied", counters.replied},
            {"limited", counters.limited},
            {"withheld", counters.withheld},
            {"send-failed", status.send_failed},
            {"displaced", counters.displaced},
            {"expired", counters.expired},
            {"tries-refused", to_json(status.throttled)}};
}

std::string answer_status(const AdminSource& source) {
    const BrokerStatus status = source.status();
    const auto endpoints = source.endpoints();
    const auto usable = std::count_if(endpoints.begin(), endpoints.end(), [](const auto& one) {
        return one.connected && one.in_sync;
    });
    return success({{"name", source.name},
                    {"version", DSTM_VERSION},
                    {"started", to_rfc3339(source.started_at)},
                    {"uptime-s", (source.now() - source.started_at).count()},
                    {"kea", kea_state(status.kea)},
                    {"kea6", kea_state(status.kea6)},
                    {"sessions", status.sessions},
                    {"bindings", status.bindings},
                    {"exchanges", status.exchanges},
                    {"debts", status.debts},
                    {"endpoints", usable},
                    {"endpoints-known", endpoints.size()},
                    {"tries-refused", to_json(source.throttled())},
                    {"udp", to_json(source.udp())}});
}

Json to_json(const BindingView& view) {
    const Lease& lease = view.lease;
    const BindingContext& context = lease.context;
    Json json = {{"address", to_string(lease.address)}};
    if (lease.prefix) json["prefix"] = lease.prefix->to_string();
    if (!lease.hostname.empty()) json["name"] = lease.hostname;
    if (!context.name_servers.empty()) json["name-servers"] = context.name_servers;
    json.update({{"user", context.user},
                 {"host", context.host},
                 {"type", std::string(to_string(context.type))},
                 {"outer", to_string(context.outer_client.address)},
                 {"outer-port", context.outer_client.port},
                 {"endpoint", context.endpoint},
                 {"generation", context.generation},
                 {"expires", to_rfc3339(lease.expires_at)},
                 {"accepted", view.accepted}});
    return json;
}

template <class Prefix>
Json texts_of(const std::vector<Prefix>& prefixes) {
    Json texts = Json::array();
    for (const Prefix& prefix : prefixes) texts.push_back(prefix.to_string());
    return texts;
}

template <class Address>
std::string text_of(const std::optional<Address>& address) {
    return address ? address->to_string() : "";
}

std::string answer_bindings(const AdminSource& source, const Json& arguments) {
    std::optional<IpAddress> from;
    std::size_t limit = page_size_max;
    if (const auto given = arguments.find("from"); given != arguments.end()) {
        if (given->is_string()) from = parse_ip_address(given->get<std::string>());
        if (!from) return failure("from is not an IP address");
    }
    if (const auto given = arguments.find("limit"); given != arguments.end()) {
        if (!given->is_number_unsigned()) return failure("limit is not a number from 1 to 1000");
        limit = given->get<std::size_t>();
        if (limit < 1 || limit > page_size_max) return failure("limit is not from 1 to 1000");
    }
    auto all = source.bindings();
    std::sort(all.begin(), all.end(), [](const auto& left, const auto& right) {
        return left.lease.address < right.lease.address;
    });
    Json page = Json::array();
    std::optional<IpAddress> last;
    bool has_more = false;
    for (const BindingView& view : all) {
        if (from && view.lease.address <= *from) continue;
        if (page.size() == limit) {
            has_more = true;
            break;
        }
        page.push_back(to_json(view));
        last = view.lease.address;
    }
    Json answer = {{"count", page.size()}, {"total", all.size()}};
    answer["bindings"] = std::move(page);
    if (has_more) answer["next"] = to_string(*last);
    return success(std::move(answer));
}

std::string answer_endpoints(const AdminSource& source) {
    Json list = Json::array();
    for (const EndpointView& view : source.endpoints()) {
        const EndpointInfo& info = view.info;
        Json types = Json::array();
        for (const TunnelType type : info.types) types.push_back(std::string(to_string(type)));
        list.push_back({{"name", info.name},
                        {"group", info.group},
                        {"connected", view.connected},
                        {"in-sync", view.in_sync},
                        {"bindings", view.bindings},
                        {"types", std::move(types)},
                        {"outer-ipv6", text_of(info.outer_ipv6)},
                        {"outer-ipv4", text_of(info.outer_ipv4)},
                        {"inner-ipv4", info.inner_ipv4.to_string()},
                        {"inner-ipv6", text_of(info.inner_ipv6)},
                        {"pools", texts_of(info.pools)},
                        {"pools-ipv6", texts_of(info.pools_ipv6)},
                        {"data-plane", info.data_plane}});
    }
    Json answer;
    answer["endpoints"] = std::move(list);
    return success(std::move(answer));
}

}  // namespace

std::string answer_command(const std::string& line, const AdminSource& source) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) return failure("not a JSON object");
    const auto command = json.find("command");
    if (command == json.end() || !command->is_string()) return failure("no command");
    const auto given = json.find("arguments");
    if (given != json.end() && !given->is_object()) return failure("arguments is not an object");
    const Json arguments = given == json.end() ? Json::object() : *given;

    const auto name = command->get<std::string>();
    if (name == "status") return answer_status(source);
    if (name == "bindings") return answer_bindings(source, arguments);
    if (name == "endpoints") return answer_endpoints(source);
    if (name == "version") return success({{"version", DSTM_VERSION}});
    return failure("unknown command; known are status, bindings, endpoints, version");
}

}  // namespace dstm::server
