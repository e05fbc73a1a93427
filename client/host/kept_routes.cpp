// By adding what the main table does not hold.
#include "client/host/kept_routes.hpp"

#include <utility>

#include "client/host/state_directory.hpp"
#include "common/log/log.hpp"

namespace dstm::client {

Result<void> KeptRoutes::set(const std::vector<dataplane::Route>& routes) {
    routes_.clear();
    for (const auto& route : routes) {
        auto& kept = routes_.emplace_back(Kept{route});
        const auto added = netlink_.add_route(route);
        if (added) continue;
        if (added.error().code != ErrorCode::conflict) return added;
        tell(kept, added.error());
    }
    return {};
}

bool KeptRoutes::restore() {
    if (routes_.empty()) return false;
    const bool is_ipv4 = std::holds_alternative<Ipv4Prefix>(routes_.front().route.destination);
    const auto table = is_ipv4 ? netlink_.routes_v4() : netlink_.routes_v6();
    if (!table) return false;
    bool is_restored = false;
    for (auto& kept : routes_) {
        if (dataplane::holds(*table, kept.route)) continue;
        const auto added = netlink_.add_route(kept.route);
        if (!added) {
            tell(kept, added.error());
            continue;
        }
        kept.is_told = false;
        is_restored = true;
        log_info("CLIENT_ROUTE_RESTORED", "{}", to_string(kept.route.destination));
    }
    return is_restored;
}

Result<void> KeptRoutes::clear() {
    Result<void> first_failure;
    for (const auto& kept : std::exchange(routes_, {})) {
        const auto removed = netlink_.remove_route(kept.route);
        if (!removed && first_failure) first_failure = removed;
    }
    return first_failure;
}

void KeptRoutes::tell(Kept& kept, const Error& why) {
    if (std::exchange(kept.is_told, true)) return;
    log_warning("CLIENT_ROUTE_SKIPPED", "{}: {}", to_string(kept.route.destination), why.context);
}

}  // namespace dstm::client
