// Reading dstm-server.conf, one function a section.
#include "dstm-server/config.hpp"

#include <algorithm>
#include <set>

#include "common/config/reader.hpp"
#include "dstm-server/dns/delegation_plan.hpp"

namespace dstm::server {
namespace {

using config::Reader;

constexpr std::int64_t lifetime_min_s = 60;     // TSP speaks of minutes (RFC 5572 s4.7.1)
constexpr std::int64_t lifetime_max_s = 31536000;
constexpr std::size_t unix_path_size_max = 107;  // sockaddr_un

std::chrono::seconds seconds(Reader& reader, std::string_view key, std::int64_t min,
                             std::int64_t max, std::int64_t fallback) {
    return std::chrono::seconds(reader.integer(key, min, max, fallback));
}

std::size_t count(Reader& reader, std::string_view key, std::int64_t min, std::int64_t max,
                  std::size_t fallback) {
    return static_cast<std::size_t>(
        reader.integer(key, min, max, static_cast<std::int64_t>(fallback)));
}

std::string socket_path(Reader& reader, std::string_view key, bool required) {
    std::string path = required ? reader.string(key) : reader.string(key, "");
    if (path.size() > unix_path_size_max) {
        reader.mistake(key, "the path is longer than a UNIX socket can have (107 bytes)");
    }
    return path;
}

IpEndpoint read_endpoint(Reader& reader, std::int64_t default_port) {
    IpEndpoint endpoint;
    const std::string text = reader.string("address");
    if (const auto address = parse_ip_address(text)) endpoint.address = *address;
    else if (!text.empty()) reader.mistake("address", text + " is not an IPv6 or IPv4 address");
    endpoint.port = static_cast<std::uint16_t>(reader.integer("port", 1, 65535, default_port));
    return endpoint;
}

bool is_broker_address(tsp::AddressType type, const std::string& text) {
    switch (type) {
        case tsp::AddressType::ipv4: return Ipv4Address::parse(text).has_value();
        case tsp::AddressType::ipv6: return Ipv6Address::parse(text).has_value();
        case tsp::AddressType::dn: break;
    }
    // RFC 1035 s2.3.4, in the letters of a host name.
    return text.size() <= 253 && std::ranges::all_of(text, [](char c) {
               return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '.';
           });
}

void read_mechanisms(Reader& tsp, SaslConfig& sasl) {
    sasl.mechanisms = tsp.strings("mechanisms", {"SCRAM-SHA-256", "DIGEST-MD5"});
    if (sasl.mechanisms.empty()) tsp.mistake("mechanisms", "at least one is needed");
    std::set<std::string> seen;
    for (const std::string& mechanism : sasl.mechanisms) {
        // RFC 4422 s3.1: 1 to 20 upper-case letters, digits, hyphens and underscores.
        const bool is_name =
            !mechanism.empty() && mechanism.size() <= 20 &&
            std::all_of(mechanism.begin(), mechanism.end(), [](char c) {
                return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
            });
        if (!is_name) tsp.mistake("mechanisms", mechanism + " is not the name of a mechanism");
        if (!seen.insert(mechanism).second) {
            tsp.mistake("mechanisms", mechanism + " is named twice");
        }
    }
}

void read_tunnel_types(Reader& tsp, Settings& settings) {
    auto& types = settings.broker.tunnel_types;
    types.clear();
    settings.tsp.session.tunnel_types.clear();
    for (const std::string& name : tsp.strings("tunnel-types", {"v4v6"})) {
        const auto type = parse_tunnel_type(name);
        if (!type) {
            tsp.mistake("tunnel-types", name + " is none of v4v6, v6v4 and v6udpv4");
        } else if (std::find(types.begin(), types.end(), *type) == types.end()) {
            types.push_back(*type);
            settings.tsp.session.tunnel_types.push_back(*tsp::parse_request_type(name));
        }
    }
    if (settings.broker.tunnel_types.empty()) {
        tsp.mistake("tunnel-types", "at least one is needed");
    }
}

// RFC 5572 s8.
void read_tries(Reader& limits, Settings& settings) {
    const auto tries = [&](std::string_view key, std::uint32_t& value) {
        value = static_cast<std::uint32_t>(limits.integer(key, 1, 1'000'000, value));
    };
    tries("tries-per-address", settings.tsp.tries.per_address);
    tries("tries-per-prefix", settings.tsp.tries.per_prefix);
    tries("tries-per-user", settings.tsp.tries.per_user);
    settings.udp.limits.tries = settings.tsp.tries;
}

void read_limits(Reader limits, Settings& settings) {
    auto& tsp = settings.tsp;
    tsp.sessions_max = count(limits, "sessions", 1, 1'000'000, tsp.sessions_max);
    tsp.sessions_per_address_max =
        count(limits, "sessions-per-address", 1, 1'000'000, tsp.sessions_per_address_max);
    auto& udp = settings.udp.limits;
    udp.places.total = tsp.sessions_max;
    udp.places.per_address = tsp.sessions_per_address_max;
    udp.places.per_prefix =
        count(limits, "udp-sessions-per-prefix", 1, 1'000'000, udp.places.per_prefix);
    udp.replies_per_second = static_cast<std::uint32_t>(
        limits.integer("udp-replies-per-prefix", 1, 1'000'000, udp.replies_per_second));
    udp.replies_burst = 2 * udp.replies_per_second;
    read_tries(limits, settings);
    auto& broker = settings.broker;
    broker.tunnels_per_user =
        count(limits, "tunnels-per-user", 0, 1'000'000, broker.tunnels_per_user);
    broker.tunnels_per_address =
        count(limits, "tunnels-per-address", 0, 1'000'000, broker.tunnels_per_address);
    tsp.session.limits.phase_timeout = seconds(limits, "phase-timeout", 1, 3600, 30);
    tsp.session.limits.accept_timeout = tsp.session.limits.phase_timeout;
    tsp.session.limits.idle_timeout = seconds(limits, "idle-timeout", 0, 86400, 300);
    tsp.write_timeout = tsp.session.limits.phase_timeout;
}

void read_redirect(Reader redirect, Settings& settings) {
    static const std::vector<std::string> times = {"busy", "always"};
    auto& read = settings.tsp.session.redirect;
    read.is_always = redirect.choice("when", times, 0) == 1;
    for (Reader& broker : redirect.objects("brokers")) {
        tsp::Broker one;
        for (const auto type :
             {tsp::AddressType::ipv4, tsp::AddressType::ipv6, tsp::AddressType::dn}) {
            const std::string key(tsp::to_string(type));
            const auto text = broker.string(key, "");
            if (text.empty()) continue;
            if (!is_broker_address(type, text)) broker.mistake(key, text + " is not one");
            one.addresses.push_back({type, text, {}});
        }
        if (one.addresses.empty()) broker.mistake("dn", "ipv4, ipv6 or dn is needed");
        read.brokers.push_back(std::move(one));
    }
    if (read.brokers.empty()) redirect.mistake("brokers", "at least one is needed");
}

void read_tsp_tls(Reader tls, Settings& settings) {
    net::TspTls read;
    read.listen = read_endpoint(tls, 3655);
    read.files = {tls.string("certificate"), tls.string("key"), tls.string("client-ca", "")};
    settings.tsp.tls = std::move(read);
}

void read_tsp(Reader tsp, Settings& settings) {
    for (Reader& listen : tsp.objects("listen")) {
        settings.tsp.listen.push_back(read_endpoint(listen, 3653));
        if (listen.boolean("udp", true)) settings.udp.listen.push_back(settings.tsp.listen.back());
    }
    if (settings.tsp.listen.empty()) tsp.mistake("listen", "at least one address is needed");
    read_tunnel_types(tsp, settings);
    read_mechanisms(tsp, settings.sasl);
    const auto lifetime = tsp.integer("lifetime", 0, lifetime_max_s, 3600);
    if (lifetime != 0 && lifetime < lifetime_min_s) {
        tsp.mistake("lifetime", "less than 60 seconds, and not 0 (the subnet's own)");
    }
    auto& broker = settings.broker;
    broker.lifetime_s = static_cast<std::uint32_t>(lifetime);
    broker.keepalive_default_s = static_cast<std::uint32_t>(tsp.integer("keepalive", 0, 3600, 30));
    broker.allow_other_source = tsp.boolean("allow-other-source", broker.allow_other_source);
    broker.prefix_length =
        static_cast<std::uint8_t>(tsp.integer("prefix-length", 48, 64, broker.prefix_length));
    static const std::vector<std::string> idle = {"keep", "remove"};
    broker.idle_tunnels = tsp.choice("idle-tunnels", idle, 0) == 0 ? IdleTunnels::keep
                                                                   : IdleTunnels::remove;
    read_limits(tsp.object("limits"), settings);
    if (tsp.has("redirect")) read_redirect(tsp.object("redirect"), settings);
    if (tsp.has("tls")) read_tsp_tls(tsp.object("tls"), settings);
}

void read_sasl(Reader sasl, Settings& settings) {
    const auto& mechanisms = settings.sasl.mechanisms;
    const bool has_passwords =
        std::any_of(mechanisms.begin(), mechanisms.end(), [](const auto& name) {
            return name != "ANONYMOUS" && name != "EXTERNAL" && name != "GSSAPI";
        });
    settings.sasl.realm = has_passwords ? sasl.string("realm") : sasl.string("realm", "");
    settings.sasl.sasldb = sasl.string("sasldb", "/etc/dstm/sasldb2");
    settings.sasl.plain_without_tls = sasl.boolean("plain-without-tls", false);
    const bool has_kerberos = std::ranges::find(mechanisms, "GSSAPI") != mechanisms.end();
    settings.sasl.hostname =
        has_kerberos ? sasl.string("hostname") : sasl.string("hostname", "");
    settings.sasl.keytab = sasl.string("keytab", "");
    settings.sasl_workers = count(sasl, "workers", 1, 64, settings.sasl_workers);
}

// One of Kea's two servers. It must be there when a tunnel type needs its leases.
std::optional<KeaStreamConfig> read_kea(Reader& server, std::string_view key, Family family,
                                        const BrokerConfig& broker, std::uint32_t& subnet_id) {
    const auto& types = broker.tunnel_types;
    const bool is_needed = std::any_of(types.begin(), types.end(), [&](TunnelType type) {
        return family_of(type) == family;
    });
    if (!is_needed && !server.has(key)) return std::nullopt;
    Reader kea = server.object(key);
    KeaStreamConfig config;
    config.family = family;
    config.socket_path = socket_path(kea, "socket", true);
    config.call_timeout = seconds(kea, "timeout", 1, 60, 5);
    subnet_id = static_cast<std::uint32_t>(kea.integer("subnet-id", 0, UINT32_MAX - 1, 0));
    return config;
}

void read_endpoints(Reader endpoints, Settings& settings) {
    settings.endpoint_socket = socket_path(endpoints, "unix-socket", false);
    if (endpoints.has("tls")) {
        Reader tls = endpoints.object("tls");
        EndpointTls read;
        read.listen = read_endpoint(tls, 3654);
        read.certificate = tls.string("certificate");
        read.key = tls.string("key");
        read.ca = tls.string("ca");
        settings.endpoint_tls = std::move(read);
    }
    if (settings.endpoint_socket.empty() && !settings.endpoint_tls) {
        endpoints.mistake("unix-socket", "unix-socket or tls is needed, else no endpoint can come");
    }
}

// RFC 5572 s5.2: to whom reverse zones of prefixes go, and how.
ReverseDelegationConfig read_reverse(Reader reverse) {
    ReverseDelegationConfig config;
    config.server = read_endpoint(reverse, 53);
    config.key_file = reverse.string("key-file");
    config.zones = reverse.strings("zones", {});
    if (config.zones.empty()) reverse.mistake("zones", "at least one is needed");
    for (const std::string& zone : config.zones) {
        if (!is_reverse_zone(zone)) {
            reverse.mistake("zones", zone + " is not a zone like 8.b.d.0.1.0.0.2.ip6.arpa");
        }
    }
    config.ttl_s = static_cast<std::uint32_t>(reverse.integer("ttl", 1, INT32_MAX, config.ttl_s));
    config.timeout = seconds(reverse, "timeout", 1, 300, config.timeout.count());
    return config;
}

void read_dns(Reader dns, Settings& settings) {
    std::string& suffix = settings.broker.dns_suffix;
    suffix = dns.string("suffix", "");
    if (suffix.ends_with('.')) suffix.pop_back();
    if (!suffix.empty() && !is_host_name(suffix)) {
        dns.mistake("suffix", suffix + " is not a domain name like dstm.example.org");
    }
    if (dns.has("reverse")) settings.reverse_delegation = read_reverse(dns.object("reverse"));
    settings.broker.delegates_reverse_zones = settings.reverse_delegation.has_value();
}

LoadedSettings read(config::Document document) {
    LoadedSettings loaded;
    Settings& settings = loaded.settings;
    Reader root = document.root();
    Reader server = root.object("dstm-server");
    static const std::vector<std::string> levels = {"debug", "info", "warning", "error"};
    settings.name = server.string("name");
    settings.log_level = levels[server.choice("log-level", levels, 1)];
    read_tsp(server.object("tsp"), settings);
    read_sasl(server.object("sasl"), settings);
    auto& broker = settings.broker;
    settings.kea = read_kea(server, "kea", Family::v4, broker, broker.subnet_id);
    settings.kea6 = read_kea(server, "kea6", Family::v6, broker, broker.subnet_id_v6);
    read_dns(server.object("dns"), settings);
    read_endpoints(server.object("endpoints"), settings);
    settings.admin_socket = socket_path(server, "admin-socket", false);
    settings.audit_log = server.string("audit-log", "");
    loaded.mistakes = document.finish();
    return loaded;
}

LoadedSettings read(Result<config::Document> document) {
    if (!document) return {{}, {document.error().context}};
    return read(std::move(*document));
}

}  // namespace

LoadedSettings load_settings(const std::string& path) {
    return read(config::Document::load(path));
}

LoadedSettings parse_settings(std::string_view text, std::string name) {
    return read(config::Document::parse(text, std::move(name)));
}

}  // namespace dstm::server
