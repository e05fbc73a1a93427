// See the header.
#include "dstm-server/dns/delegation_plan.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace dstm::server {

namespace {

constexpr std::string_view apex = "ip6.arpa";
constexpr int nibbles_max = 32;

// Of the first `nibbles` of the address.
std::string zone_of(const Ipv6Address& address, int nibbles) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string name;
    for (int at = nibbles - 1; at >= 0; --at) {
        const std::uint8_t byte = address.bytes()[static_cast<std::size_t>(at / 2)];
        name += digits[at % 2 == 0 ? byte >> 4 : byte & 15];
        name += '.';
    }
    return name.append(apex);
}

std::string lower_without_dot(std::string text) {
    if (text.ends_with('.')) text.pop_back();
    std::transform(text.begin(), text.end(), text.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return text;
}

// The configured zone that lies above this one, the closest if there are several.
std::optional<std::string> zone_above(const ReverseDelegationConfig& config,
                                      const std::string& zone) {
    std::string best;
    for (const auto& configured : config.zones) {
        const std::string candidate = lower_without_dot(configured);
        if (zone.ends_with("." + candidate) && candidate.size() > best.size()) best = candidate;
    }
    return best.empty() ? std::nullopt : std::optional(best);
}

// The end of every script, and what comes before it.
Result<std::string> begin(const ReverseDelegationConfig& config, const Ipv6Prefix& prefix,
                          std::vector<std::string>& zones) {
    if (prefix.length == 0 || prefix.length > 124) {
        return fail(ErrorCode::invalid, "no reverse zone for " + prefix.to_string());
    }
    zones = reverse_zones(prefix);
    const auto above = zone_above(config, zones.front());
    if (!above) {
        return fail(ErrorCode::invalid, "no configured zone holds " + prefix.to_string());
    }
    std::string script = fmt::format("server {} {}\nzone {}.\n", to_string(config.server.address),
                                     config.server.port, *above);
    for (const auto& zone : zones) {
        script += fmt::format("update delete {}. NS\n", zone);
        for (std::size_t i = 1; i <= name_servers_max; ++i) {
            script += fmt::format("update delete ns{}.{}.\n", i, zone);
        }
    }
    return script;
}

struct NameServer {
    std::string name;  // empty: it has an address
    std::optional<IpAddress> address;
};

Result<NameServer> read_name_server(const std::string& text) {
    if (const auto address = parse_ip_address(text)) {
        const bool usable =
            std::visit([](const auto& one) { return one.is_usable_unicast(); }, *address);
        if (usable) return NameServer{{}, address};
    } else if (is_host_name(text)) {
        return NameServer{lower_without_dot(text), std::nullopt};
    }
    return fail(ErrorCode::invalid, "a name server must be a host name or a unicast address");
}

}  // namespace

std::vector<std::string> reverse_zones(const Ipv6Prefix& prefix) {
    const int nibbles = (prefix.length + 3) / 4;
    const int spare_bits = nibbles * 4 - prefix.length;
    std::vector<std::string> zones;
    for (int i = 0; i < 1 << spare_bits; ++i) {
        auto bytes = prefix.address.bytes();
        const int last = nibbles - 1;
        auto& byte = bytes[static_cast<std::size_t>(last / 2)];
        byte = static_cast<std::uint8_t>(byte | (last % 2 == 0 ? i << 4 : i));
        zones.push_back(zone_of(Ipv6Address(bytes), nibbles));
    }
    return zones;
}

bool is_host_name(const std::string& text) {
    constexpr std::size_t name_max = 253;  // RFC 1035 s2.3.4
    constexpr std::size_t label_max = 63;
    const std::string name = lower_without_dot(text);
    if (name.size() > name_max || name.find('.') == std::string::npos) return false;
    for (std::size_t start = 0; start <= name.size();) {
        const std::size_t end = std::min(name.find('.', start), name.size());
        const std::string_view label = std::string_view(name).substr(start, end - start);
        if (label.empty() || label.size() > label_max) return false;
        if (label.front() == '-' || label.back() == '-') return false;
        constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyz0123456789-";
        if (label.find_first_not_of(allowed) != std::string_view::npos) return false;
        start = end + 1;
    }
    return true;
}

bool is_reverse_zone(const std::string& text) {
    const std::string zone = lower_without_dot(text);
    if (!zone.ends_with(std::string(".").append(apex))) return false;
    const std::size_t digits = zone.size() - apex.size();
    if (digits % 2 != 0 || digits / 2 >= nibbles_max) return false;
    for (std::size_t at = 0; at < digits; at += 2) {
        const bool digit =
            std::string_view("0123456789abcdef").find(zone[at]) != std::string_view::npos;
        if (!digit || zone[at + 1] != '.') return false;
    }
    return true;
}

Result<std::string> delegation_script(const ReverseDelegationConfig& config,
                                      const Ipv6Prefix& prefix,
                                      const std::vector<std::string>& name_servers) {
    if (name_servers.empty() || name_servers.size() > name_servers_max) {
        return fail(ErrorCode::invalid,
                    fmt::format("1 to {} name servers are needed", name_servers_max));
    }
    std::vector<NameServer> servers;
    for (const auto& text : name_servers) {
        auto server = read_name_server(text);
        if (!server) return tl::unexpected<Error>(server.error());
        servers.push_back(*std::move(server));
    }
    std::vector<std::string> zones;
    auto script = begin(config, prefix, zones);
    if (!script) return script;
    for (const auto& zone : zones) {
        for (std::size_t i = 0; i < servers.size(); ++i) {
            const auto& [name, address] = servers[i];
            const std::string target = address ? fmt::format("ns{}.{}", i + 1, zone) : name;
            *script += fmt::format("update add {}. {} NS {}.\n", zone, config.ttl_s, target);
            if (!address) continue;
            const bool is_ipv4 = std::holds_alternative<Ipv4Address>(*address);
            *script += fmt::format("update add {}. {} {} {}\n", target, config.ttl_s,
                                   is_ipv4 ? "A" : "AAAA", to_string(*address));
        }
    }
    return *script + "send\n";
}

Result<std::string> withdrawal_script(const ReverseDelegationConfig& config,
                                      const Ipv6Prefix& prefix) {
    std::vector<std::string> zones;
    auto script = begin(config, prefix, zones);
    if (!script) return script;
    return *script + "send\n";
}

}  // namespace dstm::server
