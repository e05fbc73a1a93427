// The host's side of the tun data plane, by netlink and sysctl.
#include "common/dataplane/tun_host.hpp"

#include <algorithm>
#include <utility>

#include "common/dataplane/path_mtu.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

std::uint8_t host_prefix_length(const IpAddress& address) {
    return std::holds_alternative<Ipv4Address>(address) ? 32 : 128;
}

Route blackhole_of(const IpPrefix& pool) {
    Route out;
    out.destination = pool;
    out.kind = Route::Kind::blackhole;
    out.metric = blackhole_metric;
    return out;
}

Result<std::vector<Route>> all_routes(Netlink& netlink) {
    auto routes = netlink.routes_v4();
    if (!routes) return routes;
    auto more = netlink.routes_v6();
    if (!more) return more;
    routes->insert(routes->end(), more->begin(), more->end());
    return routes;
}

void set(const std::string& path, std::string_view value) {
    if (const auto done = write_sysctl(path, value); !done) {
        log_warning("TUN_SYSCTL_FAILED", "{}", to_string(done.error()));
    }
}

}  // namespace

Result<TunHost> TunHost::open(const std::string& device) {
    auto netlink = Netlink::open();
    if (!netlink) return tl::unexpected(netlink.error());
    const auto index = netlink->interface_index(device);
    if (!index) return tl::unexpected(index.error());
    return TunHost(std::move(*netlink), device, *index);
}

TunHost::~TunHost() {
    for (const auto& route : blackholes_) {
        if (const auto removed = netlink_.remove_route(route); !removed) {
            log_warning("TUN_BLACKHOLE_LEFT", "{}", to_string(removed.error()));
        }
    }
}

void TunHost::enable_ipv6() {
    constexpr auto no_link_local_address = "1";
    // On a device that is too narrow for it (RFC 8200 s5) the kernel has none.
    if (mtu_ != 0 && mtu_ < ipv6_mtu_min) static_cast<void>(set_mtu(ipv6_mtu_min));
    set("net/ipv6/conf/" + device_ + "/addr_gen_mode", no_link_local_address);
    set("net/ipv6/conf/" + device_ + "/accept_ra", "0");
    set("net/ipv6/conf/" + device_ + "/disable_ipv6", "0");
}

void TunHost::disable_ipv6() { set("net/ipv6/conf/" + device_ + "/disable_ipv6", "1"); }

Result<void> TunHost::set_up() { return netlink_.set_interface_up(device_index_, true); }

Result<void> TunHost::set_mtu(std::uint32_t mtu) {
    auto done = netlink_.set_interface_mtu(device_index_, mtu);
    if (done) mtu_ = mtu;
    return done;
}

Result<void> TunHost::add_address(const IpAddress& address) {
    auto added = netlink_.add_address(device_index_, address, host_prefix_length(address));
    if (added && std::ranges::find(addresses_, address) == addresses_.end()) {
        addresses_.push_back(address);
    }
    return added;
}

Result<void> TunHost::remove_address(const IpAddress& address) {
    std::erase(addresses_, address);
    return netlink_.remove_address(device_index_, address, host_prefix_length(address));
}

// First the route, which another process may have: beneath it is nothing of ours then.
Result<void> TunHost::route_pool(const IpPrefix& pool, const std::optional<IpAddress>& source) {
    Route route;
    route.destination = pool;
    route.interface_index = device_index_;
    // IPv6 chooses it by the device (RFC 6724 s5, rule 5), and refuses one that is still tentative.
    if (std::holds_alternative<Ipv4Prefix>(pool)) route.source = source;
    if (auto added = route_into_device(route); !added) return added;
    routes_.push_back(route);
    const auto blackhole = blackhole_of(pool);
    // One that a killed process left is the same, and is ours from here on.
    if (auto added = netlink_.add_route(blackhole); !added) return added;
    blackholes_.push_back(blackhole);
    return {};
}

// An earlier process may have left one with another source.
Result<void> TunHost::route_into_device(const Route& route) {
    auto added = netlink_.add_route(route);
    if (added || added.error().code != ErrorCode::conflict) return added;
    const auto routes = all_routes(netlink_);
    if (!routes) return tl::unexpected(routes.error());
    const bool is_ours = std::ranges::any_of(*routes, [&](const Route& there) {
        return there.destination == route.destination && there.metric == route.metric &&
               there.interface_index == device_index_;
    });
    return is_ours ? netlink_.replace_route(route) : added;
}

// A pool is what has a route into the device and our blackhole beneath.
Result<void> TunHost::remove_others() {
    const auto routes = all_routes(netlink_);
    if (!routes) return tl::unexpected(routes.error());
    for (const auto& route : *routes) {
        const auto& pool = route.destination;
        const auto blackhole = blackhole_of(pool);
        if (route.interface_index != device_index_ || !holds(*routes, blackhole)) continue;
        if (std::ranges::find(routes_, pool, &Route::destination) != routes_.end()) continue;
        for (const auto& gone : {route, blackhole}) {
            if (auto removed = netlink_.remove_route(gone); !removed) return removed;
        }
    }
    const auto addresses = netlink_.addresses_of(device_index_);
    if (!addresses) return tl::unexpected(addresses.error());
    for (const auto& prefix : *addresses) {
        const auto address =
            std::visit([](const auto& p) { return IpAddress(p.address); }, prefix);
        if (std::ranges::find(addresses_, address) != addresses_.end()) continue;
        if (auto removed = remove_address(address); !removed) return removed;
    }
    return {};
}

// What is there already is refused by the kernel one by one; its tables may have a million routes.
Result<bool> TunHost::restore() {
    for (const auto& address : addresses_) {
        auto added = netlink_.add_address(device_index_, address, host_prefix_length(address));
        if (!added) return tl::unexpected(added.error());
    }
    bool is_changed = false;
    for (const auto& route : routes_) {
        const auto added = netlink_.add_missing_route(route);
        if (!added) return added;
        is_changed = is_changed || *added;
    }
    Result<bool> trouble;
    for (const auto& host : hosts_) {
        auto added = netlink_.add_missing_route(host_route(host));
        if (!added)
            trouble = std::move(added);
        else
            is_changed = is_changed || *added;
    }
    return trouble ? Result<bool>(is_changed) : trouble;
}

Result<void> TunHost::route_host(const IpAddress& host) {
    auto added = netlink_.add_route(host_route(host));
    if (added) hosts_.insert(host);
    return added;
}

Result<void> TunHost::remove_host_route(const IpAddress& host) {
    hosts_.erase(host);
    return netlink_.remove_route(host_route(host));
}

Route TunHost::host_route(const IpAddress& host) const {
    Route route;
    if (const auto* v4 = std::get_if<Ipv4Address>(&host)) {
        route.destination = Ipv4Prefix{*v4, 32};
    } else {
        route.destination = Ipv6Prefix{std::get<Ipv6Address>(host), 128};
    }
    route.interface_index = device_index_;
    return route;
}

void TunHost::forward(Version version) {
    const bool is_ipv4 = version == Version::ipv4;
    set(std::string(is_ipv4 ? "net/ipv4/conf/" : "net/ipv6/conf/") + device_ + "/forwarding", "1");
    const std::string whole_host = is_ipv4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
    if (read_sysctl(whole_host) == "0") {
        log_warning("TUN_FORWARDING_OFF", "{} is 0: packets may not reach the tunnels", whole_host);
    }
}

Result<void> TunHost::turn_gro_off(const IpAddress& outer, const std::string& record) {
    const auto index = netlink_.interface_of_address(outer);
    if (!index && index.error().code == ErrorCode::not_found) {
        return fail(ErrorCode::unavailable, index.error().context);
    }
    if (!index) return tl::unexpected(index.error());
    const auto interface = netlink_.interface_name(*index);
    if (!interface) return tl::unexpected(interface.error());
    const auto is_off = [&](const GroOff& each) { return each.interface() == *interface; };
    if (std::any_of(gro_.begin(), gro_.end(), is_off)) return {};
    auto off = GroOff::on(*interface, record);
    if (off)
        gro_.push_back(std::move(*off));
    else
        log_warning("TUN_GRO_UNKNOWN", "{}", to_string(off.error()));
    return {};
}

}  // namespace dstm::dataplane
