// One spelling for each server, one server for each broker.
#include "client/redirect.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>

namespace dstm::client {
namespace {

std::optional<std::string> host_of(const tsp::Address& address, Family family) {
    if (const auto parsed = parse_ip_address(address.text)) {
        if (!is_of(family, *parsed)) return std::nullopt;
        return to_string(*parsed);
    }
    if (address.type != tsp::AddressType::dn) return std::nullopt;
    auto name = address.text;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (name.ends_with('.')) name.pop_back();
    if (name.empty()) return std::nullopt;
    return name;
}

}  // namespace

std::vector<Target> read_redirect(const std::vector<tsp::Broker>& brokers,
                                  const RedirectRules& rules) {
    std::vector<Target> targets;
    for (const auto& broker : brokers) {
        if (targets.size() == rules.brokers_max) break;
        for (const auto& address : broker.addresses) {
            auto host = host_of(address, rules.family);
            if (!host) continue;
            Target target{std::move(*host), rules.port};
            if (std::find(targets.begin(), targets.end(), target) == targets.end()) {
                targets.push_back(std::move(target));
            }
            break;
        }
    }
    return targets;
}

}  // namespace dstm::client
