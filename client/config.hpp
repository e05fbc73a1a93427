// The configuration file as values (docs/examples/dstm-client.conf). Knows nothing of their use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "common/base/ip_address.hpp"

namespace dstm::client {

struct Settings {
    std::string server;
    std::uint16_t port = 3653;  // RFC 5572 s4.4.1
    std::string log_level = "info";
    std::string user;           // empty: ANONYMOUS
    std::string password_file;  // empty: credentials directory or environment
    std::vector<std::string> mechanisms;
    std::string device = "dstm0";
    std::vector<Ipv4Prefix> routes;
    std::uint32_t route_metric = 1024;
    std::uint32_t keepalive_s = 30;
    std::string state_directory;
    std::string control_socket;
};

// Every mistake at once, each with file, line and path.
using Mistakes = std::vector<std::string>;

[[nodiscard]] tl::expected<Settings, Mistakes> load_settings(const std::string& path);
// `name` stands where the file's path would.
[[nodiscard]] tl::expected<Settings, Mistakes> parse_settings(std::string_view text,
                                                              std::string name);

}  // namespace dstm::client
