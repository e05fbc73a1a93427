// Reads the routes.
#include "client/host/native_way.hpp"

#include <algorithm>

namespace dstm::client {
namespace {

// RFC 3927 s2.6.2: some give such a source a default route, which leads no further than the link.
bool is_link_local(const std::optional<IpAddress>& source) {
    constexpr Ipv4Prefix link_local{Ipv4Address(0xa9fe0000), 16};
    const auto* address = source ? std::get_if<Ipv4Address>(&*source) : nullptr;
    return address != nullptr && link_local.contains(*address);
}

}  // namespace

Result<bool> has_native_ipv4(dataplane::Netlink& netlink, const std::string& device) {
    const auto routes = netlink.routes_v4();
    if (!routes) return tl::unexpected(routes.error());
    const int ours = netlink.interface_index(device).value_or(0);
    const int watch = netlink.interface_index(device + "-w").value_or(0);  // demand_watch.hpp
    return std::any_of(routes->begin(), routes->end(), [=](const dataplane::Route& route) {
        return route.destination == dataplane::IpPrefix(Ipv4Prefix{}) &&
               route.kind == dataplane::Route::Kind::unicast && !route.is_link_down &&
               !is_link_local(route.source) && route.interface_index != ours &&
               route.interface_index != watch;
    });
}

}  // namespace dstm::client
