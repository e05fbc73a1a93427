// The configuration file as values (docs/examples/dstm-client.conf). Knows nothing of their use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "client/host/plane_choice.hpp"
#include "client/transport.hpp"
#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/dataplane/netlink.hpp"
#include "common/tsp/message.hpp"

namespace dstm::client {

// A network behind this host that is to have a prefix (v6 types).
struct RouterSettings {
    std::uint8_t prefix_length = 64;
    std::string inside_interface;
    std::vector<IpAddress> dns_servers;
    std::string script;  // empty: none
};

// A file that the configuration names, and where it does: file, line and path.
struct NamedFile {
    std::string path;
    std::string place;
    bool is_password = false;
};

struct Settings {
    tsp::RequestType tunnel_type = tsp::RequestType::v4v6;
    std::string server;         // empty: by DNS
    std::uint16_t port = 3653;  // RFC 5572 s4.4.1
    Transport transport = Transport::automatic;
    std::optional<TlsSettings> tls;
    std::string log_level = "info";
    std::string user;           // empty: ANONYMOUS
    std::string password_file;  // empty: credentials directory or environment
    std::vector<std::string> mechanisms;
    std::string device = "dstm0";
    PlaneWish data_plane = PlaneWish::automatic;
    std::vector<dataplane::IpPrefix> routes;
    std::uint32_t route_metric = 4096;
    std::optional<RouterSettings> router;
    std::uint32_t keepalive_s = 30;
    std::optional<Duration> idle_timeout;  // set: on demand
    bool yields_to_native = false;  // no tunnel at all while there is native IPv4
    std::string state_directory;
    std::string control_socket;
    std::vector<NamedFile> files;  // to be read
    std::string user_place;        // of `user`, if it is there
};

// A user's password, that is; certificates and tickets prove the others.
[[nodiscard]] bool needs_password(const std::string& mechanism);

// Every mistake at once, each with file, line and path.
using Mistakes = std::vector<std::string>;

[[nodiscard]] tl::expected<Settings, Mistakes> load_settings(const std::string& path);
// `name` stands where the file's path would.
[[nodiscard]] tl::expected<Settings, Mistakes> parse_settings(std::string_view text,
                                                              std::string name);

}  // namespace dstm::client
