// Specifications of tunnels and the parameters of requests.
#include "common/teplink/payload.hpp"

namespace dstm::teplink {

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

namespace {

Json list_of(const std::vector<TunnelSpec>& specs) {
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

Json write(const Hello& hello) {
    Json types = Json::array();
    for (const auto type : hello.types) types.push_back(to_string(type));
    Json pools = Json::array();
    for (const auto& pool : hello.pools) pools.push_back(pool.to_string());
    Json pools_ipv6 = Json::array();
    for (const auto& pool : hello.pools_ipv6) pools_ipv6.push_back(pool.to_string());
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
    if (hello.inner_ipv6) json["inner-ipv6"] = hello.inner_ipv6->to_string();
    if (!hello.pools_ipv6.empty()) json["pools-ipv6"] = std::move(pools_ipv6);
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
    if (const Json* inner = find(params, "inner-ipv6")) {
        hello.inner_ipv6 = parse_text(*inner, "inner-ipv6", Ipv6Address::parse);
    }
    if (find(params, "pools-ipv6") != nullptr) {
        for (const auto& pool : need_array(params, "pools-ipv6", pools_max)) {
            hello.pools_ipv6.push_back(parse_text(pool, "pools-ipv6", Ipv6Prefix::parse));
        }
    }
    hello.data_plane = need_name(params, "data-plane");
    hello.tunnels = need_number(params, "tunnels");
    return hello;
}

Json write(const Install& install) { return Json{{"tunnels", list_of(install.tunnels)}}; }

Json write(const Remove& remove) {
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

Json write(const Sync& sync) {
    return Json{{"session", sync.session},
                {"first", sync.first},
                {"last", sync.last},
                {"as-of", sync.as_of},
                {"tunnels", list_of(sync.tunnels)}};
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

Json write(const List& list) {
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

Json write(const Counters&) { return Json::object(); }

}  // namespace

Json params_of(const Request& request) {
    return std::visit([](const auto& each) { return write(each); }, request);
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

}  // namespace dstm::teplink
