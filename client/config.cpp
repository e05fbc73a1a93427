// Which keys there are, and what is a mistake in each.
#include "client/config.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "client/request.hpp"
#include "common/config/reader.hpp"
#include "common/log/log.hpp"

namespace dstm::client {
namespace {

constexpr std::int64_t route_metric_max = 0xffffffff;
// A native route wins whoever set it: ifupdown 0, NetworkManager 100 or 600, systemd-networkd 512
// to 2048, the kernel 1024, dhcpcd 1000 or 3000 and the interface's number. Not one of which
// NetworkManager has found that it leads nowhere: it adds 20000.
constexpr std::int64_t route_metric_default = 4096;
constexpr std::int64_t keepalive_max_s = 86400;
constexpr std::size_t routes_max = 64;
constexpr std::int64_t idle_timeout_max_s = 86400;
constexpr std::size_t demand_suffix_size = 2;  // "-w"
constexpr std::size_t device_size_max = 15;  // IFNAMSIZ - 1
constexpr std::uint8_t prefix_length_min = 48;
constexpr std::uint8_t prefix_length_max = 64;
constexpr std::size_t dns_servers_max = 8;
constexpr std::uint16_t tls_port_default = 3655;
constexpr std::size_t path_size_max = 107;   // sun_path of a UNIX socket, without the NUL

// What the Cyrus adapter (auth/) can do and a test covers.
constexpr std::array known_mechanisms{"ANONYMOUS", "PLAIN",    "DIGEST-MD5", "SCRAM-SHA-256",
                                      "EXTERNAL",  "GSSAPI"};

void check_path(config::Reader& reader, const char* key) {
    if (!reader.has(key)) return;
    const auto path = reader.string(key, "");
    if (path.empty() || path.front() != '/') reader.mistake(key, "is not an absolute path");
}

void check_file(config::Reader& reader, const char* key, Settings& settings) {
    check_path(reader, key);
    if (reader.has(key)) settings.files.push_back({reader.string(key, ""), reader.place_of(key)});
}

void read_server(config::Reader& reader, Settings& settings) {
    settings.server = reader.string("server", "");
    // Brackets are how people write an IPv6 address; the number stands in `port`.
    if (settings.server.size() > 2 && settings.server.front() == '[' &&
        settings.server.back() == ']') {
        settings.server = settings.server.substr(1, settings.server.size() - 2);
    }
    const bool is_name =
        settings.server.size() <= 253 &&
        std::all_of(settings.server.begin(), settings.server.end(), [](unsigned char c) {
            return std::isalnum(c) || c == '.' || c == '-' || c == '_';
        });
    const auto address = parse_ip_address(settings.server);
    // RFC 5572 Figure 4: a tunnel is asked for over what it runs over.
    const auto family = outer_family(settings.tunnel_type);
    const std::string family_name = family == Family::ipv4 ? "IPv4" : "IPv6";
    if (reader.has("server") && (settings.server.empty() || !(is_name || address))) {
        reader.mistake("server", log::quoted(settings.server) + " is not a host name or an " +
                                     family_name + " address; a port stands in \"port\"");
    }
    if (address && !is_of(family, *address)) {
        reader.mistake("server", "this type of tunnel is asked for over " + family_name +
                                     ": give a name or an " + family_name + " address");
    }
    settings.port = static_cast<std::uint16_t>(
        reader.integer("port", 1, 65535, settings.tls ? tls_port_default : 3653));
}

void read_tls(config::Reader& root, Settings& settings) {
    if (!root.has("tls")) return;
    auto reader = root.object("tls");
    TlsSettings tls;
    tls.ca = reader.string("ca", "");
    tls.certificate = reader.string("certificate", "");
    tls.key = reader.string("key", "");
    tls.server_name = reader.string("server-name", "");
    for (const char* key : {"ca", "certificate", "key"}) check_file(reader, key, settings);
    if (tls.certificate.empty() != tls.key.empty()) {
        reader.mistake(tls.key.empty() ? "certificate" : "key",
                       "certificate and key come together");
    }
    if (settings.transport == Transport::udp || may_share_port(settings.tunnel_type)) {
        root.mistake("tls", "this configuration signals by UDP, which has no TLS");
    }
    if (!root.has("server")) {
        root.mistake("tls", "needs \"server\": what the DNS says is not proven");
    }
    settings.tls = std::move(tls);
}

std::vector<std::string> default_mechanisms(const Settings& settings) {
    if (settings.tls && !settings.tls->certificate.empty()) return {"EXTERNAL"};
    if (settings.user.empty()) return {"ANONYMOUS"};
    return {"SCRAM-SHA-256", "DIGEST-MD5"};
}

void read_identity(config::Reader& reader, Settings& settings) {
    settings.user = reader.string("user", "");
    if (settings.user.size() > 255) reader.mistake("user", "is longer than 255 characters");
    if (reader.has("user")) settings.user_place = reader.place_of("user");
    settings.password_file = reader.string("password-file", "");
    check_file(reader, "password-file", settings);
    if (reader.has("password-file")) {
        settings.files.back().is_password = true;
        if (settings.user.empty()) reader.mistake("password-file", "needs \"user\"");
    }
    // PLAIN sends the password readable, and ANONYMOUS gets a user somebody else's address: both
    // are used only by whoever wrote them down.
    const bool has_certificate = settings.tls && !settings.tls->certificate.empty();
    settings.mechanisms = reader.strings("mechanisms", default_mechanisms(settings));
    if (settings.mechanisms.empty()) reader.mistake("mechanisms", "names no mechanism");
    for (const auto& mechanism : settings.mechanisms) {
        if (std::find(known_mechanisms.begin(), known_mechanisms.end(), mechanism) ==
            known_mechanisms.end()) {
            reader.mistake("mechanisms", log::quoted(mechanism) +
                                             " is unknown; known are SCRAM-SHA-256, DIGEST-MD5, "
                                             "GSSAPI, EXTERNAL, PLAIN, ANONYMOUS");
        } else if (mechanism == "EXTERNAL" && !has_certificate) {
            reader.mistake("mechanisms", "EXTERNAL needs \"tls\" with a certificate");
        }
    }
    if (!settings.user.empty()) return;
    // Without a name there is no password to prove it by; certificate and ticket bring theirs.
    std::erase_if(settings.mechanisms, needs_password);
    if (settings.mechanisms.empty() && reader.has("mechanisms")) {
        reader.mistake("mechanisms", "without \"user\" it must hold ANONYMOUS, EXTERNAL or GSSAPI");
    }
}

std::string read_device(config::Reader& reader, const char* key, std::string name) {
    const bool is_device_name =
        !name.empty() && name.size() <= device_size_max && name != "." && name != ".." &&
        std::all_of(name.begin(), name.end(), [](unsigned char c) {
            return std::isalnum(c) || c == '-' || c == '_' || c == '.';
        });
    if (!is_device_name) {
        reader.mistake(key, log::quoted(name) + " is not a device name (1-15 letters, digits, "
                                                "- _ .)");
    }
    return name;
}

// RFC 5572 s5.2.
void read_router(config::Reader& root, Settings& settings) {
    if (!root.has("router")) return;
    if (settings.tunnel_type == tsp::RequestType::v4v6) {
        root.mistake("router", "a prefix comes with the v6 types only");
    }
    auto reader = root.object("router");
    RouterSettings router;
    router.prefix_length = static_cast<std::uint8_t>(
        reader.integer("prefix-length", prefix_length_min, prefix_length_max, prefix_length_max));
    router.inside_interface =
        read_device(reader, "inside-interface", reader.string("inside-interface"));
    for (const auto& text : reader.strings("dns-servers", {})) {
        if (const auto address = parse_ip_address(text)) {
            router.dns_servers.push_back(*address);
        } else {
            reader.mistake("dns-servers", log::quoted(text) + " is not an address");
        }
    }
    if (router.dns_servers.size() > dns_servers_max) {
        reader.mistake("dns-servers", "more than " + std::to_string(dns_servers_max));
    }
    router.script = reader.string("script", "");
    check_path(reader, "script");
    settings.router = std::move(router);
}

void read_host(config::Reader& reader, Settings& settings) {
    settings.device = read_device(reader, "device", reader.string("device", "dstm0"));
    const bool carries_ipv4 = settings.tunnel_type == tsp::RequestType::v4v6;
    const auto routes = reader.strings("routes", {carries_ipv4 ? "0.0.0.0/0" : "::/0"});
    if (routes.size() > routes_max) {
        reader.mistake("routes", "more than " + std::to_string(routes_max) + " routes");
    }
    for (const auto& text : routes) {
        const auto v4 = carries_ipv4 ? Ipv4Prefix::parse(text) : std::nullopt;
        const auto v6 = carries_ipv4 ? std::nullopt : Ipv6Prefix::parse(text);
        if (v4) {
            settings.routes.emplace_back(*v4);
        } else if (v6) {
            settings.routes.emplace_back(*v6);
        } else {
            reader.mistake("routes", log::quoted(text) + " is not an " +
                                         (carries_ipv4 ? "IPv4 prefix such as 192.0.2.0/24"
                                                       : "IPv6 prefix such as 2001:db8::/32") +
                                         " (host bits zero)");
        }
    }
    settings.route_metric = static_cast<std::uint32_t>(
        reader.integer("route-metric", 0, route_metric_max, route_metric_default));
    settings.yields_to_native =
        reader.choice("native-ipv4", {"prefer", "exclusive"}, 0) == 1;
    if (reader.has("native-ipv4") && !carries_ipv4) {
        reader.mistake("native-ipv4", "is for v4v6: this type of tunnel runs over IPv4");
    }
    if (reader.has("on-demand")) {
        auto on_demand = reader.object("on-demand");
        settings.idle_timeout = std::chrono::seconds(
            on_demand.integer("idle-timeout", 1, idle_timeout_max_s, 300));
        if (!carries_ipv4) reader.mistake("on-demand", "is for v4v6");
        if (settings.route_metric == route_metric_max) {
            reader.mistake("route-metric", "is too high for \"on-demand\", whose own routes are "
                                           "one above it");
        }
        if (settings.device.size() + demand_suffix_size > device_size_max) {
            reader.mistake("device", "is too long for \"on-demand\", which needs a second device "
                                     "with \"-w\" behind this name");
        }
    }
    settings.state_directory = reader.string("state-directory", "/var/lib/dstm-client");
    settings.control_socket =
        reader.string("control-socket", "/run/dstm-client/control.sock");
    if (settings.control_socket.size() > path_size_max) {
        reader.mistake("control-socket", "is longer than " + std::to_string(path_size_max) +
                                             " characters");
    }
    for (const char* key : {"state-directory", "control-socket"}) check_path(reader, key);
    read_router(reader, settings);
}

tl::expected<Settings, Mistakes> read(config::Document& document) {
    auto root = document.root();
    auto reader = root.object("dstm-client");
    if (!root.has("dstm-client")) root.mistake("dstm-client", "is missing");
    Settings settings;
    using tsp::RequestType;
    constexpr std::array types{RequestType::v4v6, RequestType::v6v4, RequestType::v6udpv4,
                               RequestType::v6anyv4};
    settings.tunnel_type =
        types[reader.choice("tunnel-type", {"v4v6", "v6v4", "v6udpv4", "v6anyv4"}, 0)];
    const std::vector<std::string> levels{"debug", "info", "warning", "error"};
    settings.log_level = levels[reader.choice("log-level", levels, 1)];
    constexpr std::array transports{Transport::automatic, Transport::udp, Transport::tcp};
    settings.transport = transports[reader.choice("transport", {"auto", "udp", "tcp"}, 0)];
    read_tls(reader, settings);
    read_server(reader, settings);
    if (may_share_port(settings.tunnel_type) && settings.transport == Transport::tcp) {
        reader.mistake("transport", "this type of tunnel is signalled by UDP (RFC 5572 s4.4.1)");
    }
    constexpr std::array wishes{PlaneWish::automatic, PlaneWish::kernel, PlaneWish::tun};
    settings.data_plane = wishes[reader.choice("data-plane", {"auto", "kernel", "tun"}, 0)];
    if (may_share_port(settings.tunnel_type) && settings.data_plane == PlaneWish::kernel) {
        reader.mistake("data-plane", "the kernel has no device for v6udpv4");
    }
    read_identity(reader, settings);
    settings.keepalive_s =
        static_cast<std::uint32_t>(reader.integer("keepalive", 0, keepalive_max_s, 30));
    read_host(reader, settings);
    auto mistakes = document.finish();
    if (!mistakes.empty()) return tl::unexpected<Mistakes>(std::move(mistakes));
    return settings;
}

}  // namespace

bool needs_password(const std::string& mechanism) {
    return mechanism != "ANONYMOUS" && mechanism != "EXTERNAL" && mechanism != "GSSAPI";
}

tl::expected<Settings, Mistakes> load_settings(const std::string& path) {
    auto document = config::Document::load(path);
    if (!document) return tl::unexpected<Mistakes>({document.error().context});
    return read(*document);
}

tl::expected<Settings, Mistakes> parse_settings(std::string_view text, std::string name) {
    auto document = config::Document::parse(text, std::move(name));
    if (!document) return tl::unexpected<Mistakes>({document.error().context});
    return read(*document);
}

}  // namespace dstm::client
