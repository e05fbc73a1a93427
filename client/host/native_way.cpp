// Reads the routes.
#include "client/host/native_way.hpp"

#include <algorithm>

namespace dstm::client {

Result<bool> has_native_ipv4(dataplane::Netlink& netlink, const std::string& device) {
    const auto routes = netlink.routes_v4();
    if (!routes) return tl::unexpected(routes.error());
    const int ours = netlink.interface_index(device).value_or(0);
    const int watch = netlink.interface_index(device + "-w").value_or(0);  // demand_watch.hpp
    return std::any_of(routes->begin(), routes->end(), [=](const dataplane::Route& route) {
        return route.destination == dataplane::IpPrefix(Ipv4Prefix{}) &&
               route.kind == dataplane::Route::Kind::unicast && route.interface_index != ours &&
               route.interface_index != watch;
    });
}

}  // namespace dstm::client
