// Name servers of a delegation. See name_servers.hpp.
#include "dstm-server/broker/name_servers.hpp"

#include <algorithm>
#include <string_view>

#include "common/base/ip_address.hpp"

namespace dstm::server {
namespace {

constexpr std::size_t label_size_max = 63;  // RFC 1035 s2.3.4
constexpr std::size_t name_size_max = 253;

bool is_label(std::string_view label) {
    const auto is_allowed = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '-';
    };
    return !label.empty() && label.size() <= label_size_max && label.front() != '-' &&
           label.back() != '-' && std::ranges::all_of(label, is_allowed);
}

// RFC 1123 s2.1, with or without the last dot; not all of it digits, so that no damaged address
// passes for a name.
bool is_name(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty() || name.size() > name_size_max) return false;
    if (name.find_first_not_of("0123456789.") == std::string_view::npos) return false;
    while (true) {
        const auto dot = name.find('.');
        if (!is_label(name.substr(0, dot))) return false;
        if (dot == std::string_view::npos) return true;
        name.remove_prefix(dot + 1);
    }
}

bool is_sound(const tsp::Address& server) {
    switch (server.type) {
        case tsp::AddressType::ipv4: {
            const auto address = Ipv4Address::parse(server.text);
            return address && address->is_usable_unicast();
        }
        case tsp::AddressType::ipv6: {
            const auto address = Ipv6Address::parse(server.text);
            return address && address->is_usable_unicast();
        }
        case tsp::AddressType::dn: return is_name(server.text);
    }
    return false;
}

}  // namespace

Result<std::vector<std::string>> read_name_servers(const tsp::Party& client) {
    std::vector<tsp::Address> given = client.dns_servers;
    if (client.router) {
        const auto& more = client.router->dns_servers;
        given.insert(given.end(), more.begin(), more.end());
    }
    std::vector<std::string> servers;
    for (const tsp::Address& server : given) {
        if (!is_sound(server)) return fail(ErrorCode::invalid, "A name server is malformed");
        const auto address = parse_ip_address(server.text);
        std::string text = address ? to_string(*address) : server.text;
        if (std::ranges::find(servers, text) == servers.end()) servers.push_back(std::move(text));
    }
    if (servers.size() > name_servers_max) {
        return fail(ErrorCode::invalid, "There are too many name servers");
    }
    return servers;
}

tsp::Address to_address(const std::string& name_server) {
    const auto address = parse_ip_address(name_server);
    if (!address) return {tsp::AddressType::dn, name_server, {}};
    const bool is_v4 = std::holds_alternative<Ipv4Address>(*address);
    return {is_v4 ? tsp::AddressType::ipv4 : tsp::AddressType::ipv6, name_server, {}};
}

}  // namespace dstm::server
