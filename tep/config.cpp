// What each key may be. Mistakes go into the document, and reading goes on.
#include "tep/config.hpp"

#include <algorithm>
#include <bit>

#include "common/teplink/message.hpp"
#include "tep/bpf/layout.h"
#include "tep/data_plane_choice.hpp"

namespace dstm::tep {
namespace {

constexpr std::size_t servers_max = 16;
constexpr std::size_t device_name_size_max = 15;  // IFNAMSIZ less the zero
constexpr std::int64_t idle_timeout_max = 30 * 86400;
constexpr std::int64_t endpoint_port = 3654;
constexpr std::int64_t tsp_port = 3653;  // RFC 5572 s4.4.1.2

std::string read_name(config::Reader& reader, std::string_view key) {
    auto name = reader.string(key);
    if (reader.has(key) && !teplink::is_valid_name(name)) {
        reader.mistake(key, "a name is 1-64 letters, digits, '.', '-' and '_'");
    }
    return name;
}

ServerAddress read_server(config::Reader& reader) {
    if (reader.has("unix-socket")) {
        if (reader.has("host")) reader.mistake("host", "either host or unix-socket, not both");
        return UnixServer{reader.string("unix-socket")};
    }
    TlsServer server;
    server.host = reader.string("host");
    server.port = static_cast<std::uint16_t>(reader.integer("port", 1, 65535, endpoint_port));
    server.tls.certificate = reader.string("certificate");
    server.tls.key = reader.string("key");
    server.tls.ca = reader.string("ca");
    return server;
}

std::vector<ServerAddress> read_servers(config::Reader& tep) {
    std::vector<ServerAddress> servers;
    for (auto& reader : tep.objects("servers")) servers.push_back(read_server(reader));
    if (servers.empty()) tep.mistake("servers", "at least one server is needed");
    if (servers.size() > servers_max) tep.mistake("servers", "at most 16 servers");
    return servers;
}

template <class Prefix>
bool overlap(const Prefix& a, const Prefix& b) {
    return a.contains(b.address) || b.contains(a.address);
}

template <class Prefix>
std::vector<Prefix> read_pools(config::Reader& tep, std::string_view key, int length_min,
                               const std::string& wanted) {
    std::vector<Prefix> pools;
    const auto texts = tep.strings(key, {});
    if (texts.empty()) tep.mistake(key, "at least one pool is needed");
    if (texts.size() > teplink::pools_max) tep.mistake(key, "at most 256 pools");
    for (const auto& text : texts) {
        const auto pool = Prefix::parse(text);
        if (!pool) {
            tep.mistake(key, text + " is not " + wanted);
        } else if (pool->length < length_min) {
            tep.mistake(key, text + " is larger than a /" + std::to_string(length_min));
        } else if (!pool->address.is_usable_unicast()) {
            tep.mistake(key, text + " has no addresses of hosts");
        } else if (std::ranges::any_of(pools, [&](const auto& p) { return overlap(p, *pool); })) {
            tep.mistake(key, text + " overlaps another pool");
        } else {
            pools.push_back(*pool);
        }
    }
    return pools;
}

bool is_device_name(const std::string& name) {
    return !name.empty() && name.size() <= device_name_size_max &&
           name.find_first_of("/ \t\n:%") == std::string::npos;
}

std::string read_device(config::Reader& tep) {
    auto device = tep.string("device", "dstm0");
    if (!is_device_name(device)) {
        tep.mistake("device", "an interface name is 1-15 characters without '/', ':', '%', space");
    }
    return device;
}

std::vector<InterfaceConfig> read_interfaces(config::Reader& tep) {
    std::vector<InterfaceConfig> interfaces;
    if (!tep.has("interfaces")) return interfaces;
    for (auto& reader : tep.objects("interfaces")) {
        InterfaceConfig interface{reader.string("name"),
                                  reader.choice("shortcut", shortcut_names, 0)};
        if (reader.has("name") && !is_device_name(interface.name)) {
            reader.mistake("name", "not the name of an interface");
        }
        if (std::ranges::count(interfaces, interface.name, &InterfaceConfig::name) != 0) {
            reader.mistake("name", interface.name + " is in the list already");
        }
        interfaces.push_back(std::move(interface));
    }
    return interfaces;
}

std::string read_data_plane(config::Reader& tep) {
    const auto& there = data_plane_names();
    auto name = tep.string("data-plane", there.front());
    if (std::ranges::find(there, name) == there.end()) {
        std::string names;
        for (const auto& each : there) names += (names.empty() ? "" : ", ") + each;
        tep.mistake("data-plane", "no data plane " + name + " in this build; there is: " + names);
    }
    return name;
}

void read_addresses(config::Reader& tep, Config& config) {
    config.outer_ipv6 = tep.ipv6("outer-ipv6");
    if (config.outer_ipv6 != Ipv6Address() && !config.outer_ipv6.is_usable_unicast()) {
        tep.mistake("outer-ipv6", "clients cannot send to this address");
    }
    config.inner_ipv4 = tep.ipv4("inner-ipv4");
    if (config.inner_ipv4 != Ipv4Address() && !config.inner_ipv4.is_usable_unicast()) {
        tep.mistake("inner-ipv4", "not the address of a host");
    }
}

void read_ipv6_inside(config::Reader& tep, Config& config) {
    if (!tep.has("outer-ipv4")) {
        for (const auto* key : {"inner-ipv6", "pools-ipv6", "udp-port"}) {
            if (tep.has(key)) tep.mistake(key, "is of use only with outer-ipv4");
        }
        return;
    }
    config.outer_ipv4 = tep.ipv4("outer-ipv4");
    if (*config.outer_ipv4 != Ipv4Address() && !config.outer_ipv4->is_usable_unicast()) {
        tep.mistake("outer-ipv4", "clients cannot send to this address");
    }
    config.inner_ipv6 = tep.ipv6("inner-ipv6");
    if (*config.inner_ipv6 != Ipv6Address() && !config.inner_ipv6->is_usable_unicast()) {
        tep.mistake("inner-ipv6", "not the address of a host");
    }
    config.pools_ipv6 =
        read_pools<Ipv6Prefix>(tep, "pools-ipv6", 16, "an IPv6 prefix like 2001:db8:100::/48");
    config.udp_port = static_cast<std::uint16_t>(tep.integer("udp-port", 0, 65535, tsp_port));
}

// What is inside the tunnels and what is outside are apart.
template <class Address, class Prefix>
void check_apart(config::Reader& tep, std::pair<const char*, Address> inner,
                 std::pair<const char*, Address> outer, const std::vector<Prefix>& pools) {
    if (outer.second == Address()) return;  // and is told already
    if (inner.second == outer.second) {
        tep.mistake(inner.first, inner.second.to_string() + " is " + outer.first);
    }
    for (const auto& pool : pools) {
        if (!pool.contains(outer.second)) continue;
        tep.mistake(outer.first, outer.second.to_string() + " is in the pool " + pool.to_string());
    }
}

// What one data plane cannot do, and another can.
void check_data_plane(config::Reader& tep, const Config& config) {
    if (config.data_plane == "kernel" && config.udp_port != 0) {
        tep.mistake("udp-port", "data-plane kernel carries no v6udpv4: must be 0");
    }
    if (config.data_plane != "bpf") return;
    if (config.pools.size() > DSTM_POOLS_MAX) {
        tep.mistake("pools",
                    "data-plane bpf has at most " + std::to_string(DSTM_POOLS_MAX) + " pools");
    }
    constexpr int length_min = 32 - std::countr_zero(DSTM_POOL_ADDRESSES_MAX);
    for (const auto& pool : config.pools) {
        if (pool.length >= length_min) continue;
        tep.mistake("pools", pool.to_string() + " is larger than a /" + std::to_string(length_min) +
                                 ", the most for data-plane bpf");
    }
}

}  // namespace

std::string to_string(const ServerAddress& address) {
    if (const auto* local = std::get_if<UnixServer>(&address)) return local->path;
    const auto& remote = std::get<TlsServer>(address);
    return remote.host + ":" + std::to_string(remote.port);
}

Config read_config(config::Document& document) {
    auto tep = document.root().object("dstm-tep");
    Config config;
    config.name = read_name(tep, "name");
    config.group = tep.has("group") ? read_name(tep, "group") : "default";
    const std::vector<std::string> levels{"debug", "info", "warning", "error"};
    config.log_level = levels[tep.choice("log-level", levels, 1)];
    config.servers = read_servers(tep);
    read_addresses(tep, config);
    config.pools = read_pools<Ipv4Prefix>(tep, "pools", 8, "an IPv4 prefix like 192.0.2.0/24");
    config.outside_pools = tep.boolean("outside-pools", false);
    read_ipv6_inside(tep, config);
    config.device = read_device(tep);
    config.data_plane = read_data_plane(tep);
    check_apart<Ipv6Address>(tep, {"inner-ipv6", config.inner_ipv6.value_or(Ipv6Address())},
                             {"outer-ipv6", config.outer_ipv6}, config.pools_ipv6);
    check_apart<Ipv4Address>(tep, {"inner-ipv4", config.inner_ipv4},
                             {"outer-ipv4", config.outer_ipv4.value_or(Ipv4Address())},
                             config.pools);
    check_data_plane(tep, config);
    config.shortcut = tep.choice("shortcut", shortcut_names, 0);
    config.interfaces = read_interfaces(tep);
    config.hairpin = tep.boolean("hairpin", true);
    config.mss_clamp = tep.boolean("mss-clamp", true);
    config.idle_timeout = std::chrono::seconds(tep.integer("idle-timeout", 0, idle_timeout_max, 0));
    config.admin_socket = tep.string("admin-socket", "/run/dstm-tep/admin.sock");
    return config;
}

}  // namespace dstm::tep
