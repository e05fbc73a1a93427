// Which keys there are, and what is a mistake in each.
#include "client/config.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "common/config/reader.hpp"
#include "common/log/log.hpp"

namespace dstm::client {
namespace {

constexpr std::int64_t route_metric_max = 0xffffffff;
constexpr std::int64_t keepalive_max_s = 86400;
constexpr std::size_t routes_max = 64;
constexpr std::size_t device_size_max = 15;  // IFNAMSIZ - 1
constexpr std::size_t path_size_max = 107;   // sun_path of a UNIX socket, without the NUL

// What the Cyrus adapter (auth/) can do and a test covers.
constexpr std::array known_mechanisms{"ANONYMOUS", "PLAIN", "DIGEST-MD5", "SCRAM-SHA-256"};

void read_server(config::Reader& reader, Settings& settings) {
    settings.server = reader.string("server");
    // Brackets are how people write an IPv6 address; the number stands in `port`.
    if (settings.server.size() > 2 && settings.server.front() == '[' &&
        settings.server.back() == ']') {
        settings.server = settings.server.substr(1, settings.server.size() - 2);
    }
    const bool is_name_or_address =
        settings.server.size() <= 253 &&
        std::all_of(settings.server.begin(), settings.server.end(), [](unsigned char c) {
            return std::isalnum(c) || c == '.' || c == '-' || c == '_' || c == ':';
        });
    if (reader.has("server") && (settings.server.empty() || !is_name_or_address)) {
        reader.mistake("server", log::quoted(settings.server) +
                                     " is not a host name or an IPv6 address");
    }
    if (Ipv4Address::parse(settings.server)) {
        reader.mistake("server", "a v4v6 tunnel is asked for over IPv6: give a name or an IPv6 "
                                 "address");
    }
    settings.port = static_cast<std::uint16_t>(reader.integer("port", 1, 65535, 3653));
}

void read_identity(config::Reader& reader, Settings& settings) {
    settings.user = reader.string("user", "");
    if (settings.user.size() > 255) reader.mistake("user", "is longer than 255 characters");
    settings.password_file = reader.string("password-file", "");
    // PLAIN sends the password readable, and ANONYMOUS gets a user somebody else's address: both
    // are used only by whoever wrote them down.
    settings.mechanisms = reader.strings(
        "mechanisms", settings.user.empty()
                          ? std::vector<std::string>{"ANONYMOUS"}
                          : std::vector<std::string>{"SCRAM-SHA-256", "DIGEST-MD5"});
    if (settings.mechanisms.empty()) reader.mistake("mechanisms", "names no mechanism");
    for (const auto& mechanism : settings.mechanisms) {
        if (std::find(known_mechanisms.begin(), known_mechanisms.end(), mechanism) ==
            known_mechanisms.end()) {
            reader.mistake("mechanisms", log::quoted(mechanism) +
                                             " is unknown; known are SCRAM-SHA-256, DIGEST-MD5, "
                                             "PLAIN, ANONYMOUS");
        }
    }
    if (!settings.user.empty()) return;
    // Without a name there is nothing to prove.
    std::erase_if(settings.mechanisms, [](const auto& name) { return name != "ANONYMOUS"; });
    if (settings.mechanisms.empty() && reader.has("mechanisms")) {
        reader.mistake("mechanisms", "without \"user\" it must hold ANONYMOUS");
    }
}

void read_host(config::Reader& reader, Settings& settings) {
    settings.device = reader.string("device", "dstm0");
    const bool is_device_name =
        !settings.device.empty() && settings.device.size() <= device_size_max &&
        settings.device != "." && settings.device != ".." &&
        std::all_of(settings.device.begin(), settings.device.end(), [](unsigned char c) {
            return std::isalnum(c) || c == '-' || c == '_' || c == '.';
        });
    if (!is_device_name) {
        reader.mistake("device", log::quoted(settings.device) + " is not a device name (1-15 "
                                                                "letters, digits, - _ .)");
    }
    const auto routes = reader.strings("routes", {"0.0.0.0/0"});
    if (routes.size() > routes_max) {
        reader.mistake("routes", "more than " + std::to_string(routes_max) + " routes");
    }
    for (const auto& text : routes) {
        if (const auto prefix = Ipv4Prefix::parse(text)) {
            settings.routes.push_back(*prefix);
        } else {
            reader.mistake("routes", log::quoted(text) + " is not an IPv4 prefix such as "
                                                         "192.0.2.0/24 (host bits zero)");
        }
    }
    settings.route_metric =
        static_cast<std::uint32_t>(reader.integer("route-metric", 0, route_metric_max, 1024));
    settings.state_directory = reader.string("state-directory", "/var/lib/dstm-client");
    settings.control_socket =
        reader.string("control-socket", "/run/dstm-client/control.sock");
    if (settings.control_socket.size() > path_size_max) {
        reader.mistake("control-socket", "is longer than " + std::to_string(path_size_max) +
                                             " characters");
    }
    for (const char* key : {"state-directory", "control-socket", "password-file"}) {
        if (!reader.has(key)) continue;
        const auto path = reader.string(key, "");
        if (path.empty() || path.front() != '/') reader.mistake(key, "is not an absolute path");
    }
}

tl::expected<Settings, Mistakes> read(config::Document& document) {
    auto root = document.root();
    auto reader = root.object("dstm-client");
    if (!root.has("dstm-client")) root.mistake("dstm-client", "is missing");
    Settings settings;
    read_server(reader, settings);
    const std::vector<std::string> levels{"debug", "info", "warning", "error"};
    settings.log_level = levels[reader.choice("log-level", levels, 1)];
    read_identity(reader, settings);
    // The one type this client builds; the key is there for the types to come.
    (void)reader.choice("tunnel-type", {"v4v6"}, 0);
    settings.keepalive_s =
        static_cast<std::uint32_t>(reader.integer("keepalive", 0, keepalive_max_s, 30));
    read_host(reader, settings);
    auto mistakes = document.finish();
    if (!mistakes.empty()) return tl::unexpected<Mistakes>(std::move(mistakes));
    return settings;
}

}  // namespace

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
