// The configuration of dstm-tep as values (docs/examples/dstm-tep.conf). Does not know how it is
// used; knows every bound that can be checked without looking at the host.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/config/reader.hpp"
#include "common/io/web_socket_link.hpp"

namespace dstm::tep {

struct UnixServer {
    std::string path;
};
struct TlsServer {
    std::string host;
    std::uint16_t port = 0;
    io::TlsFiles tls;
};
using ServerAddress = std::variant<UnixServer, TlsServer>;
// "/run/dstm/endpoints.sock", "dstm1.campus.example:3654"
[[nodiscard]] std::string to_string(const ServerAddress& address);

// How packets pass by the kernel's IPv4 routing (tep/bpf/bpf_plane.hpp), the default first.
inline const std::vector<std::string> shortcut_names{"auto", "none", "tc", "xdp"};

struct InterfaceConfig {
    std::string name;
    std::size_t shortcut = 0;  // index into shortcut_names
};

struct Config {
    std::string name;
    std::string group;
    std::string log_level;
    std::vector<ServerAddress> servers;
    Ipv6Address outer_ipv6;
    Ipv4Address inner_ipv4;
    std::vector<Ipv4Prefix> pools;
    bool outside_pools = false;  // tunnels with an address in none of them are carried too
    std::optional<Ipv4Address> outer_ipv4;  // without it, v4v6 only and nothing of the next three
    std::optional<Ipv6Address> inner_ipv6;
    std::vector<Ipv6Prefix> pools_ipv6;
    std::uint16_t udp_port = 0;  // 0: no v6udpv4
    std::string device;
    std::string data_plane;
    // Of the bpf data plane. Empty: those that routes lead to.
    std::vector<InterfaceConfig> interfaces;
    std::size_t shortcut = 0;  // index into shortcut_names
    bool hairpin = true;
    bool mss_clamp = true;
    std::chrono::seconds idle_timeout{0};
    std::string admin_socket;  // empty: none
};

// Reads every field; what is wrong is told by document.finish().
[[nodiscard]] Config read_config(config::Document& document);

}  // namespace dstm::tep
