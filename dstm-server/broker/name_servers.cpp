// Name servers of a delegation. See name_servers.hpp.
#include "dstm-server/broker/name_servers.hpp"

#include <algorithm>

#include "common/base/ip_address.hpp"
#include "dstm-server/dns/delegation_plan.hpp"

namespace dstm::server {
namespace {

// Not all of it digits, so that no damaged address passes for a name.
bool is_name(const std::string& text) {
    return is_host_name(text) && text.find_first_not_of("0123456789.") != std::string::npos;
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
