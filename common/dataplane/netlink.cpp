// Netlink by libnl-3. See netlink.hpp for what each call promises.
#include "common/dataplane/netlink.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/nexthop.h>

#include "common/dataplane/netlink_detail.hpp"

namespace dstm::dataplane {
namespace {

using namespace detail;

// What the kernel gives an IPv6 route that was added without a metric.
constexpr std::uint32_t ipv6_metric_default = 1024;

IpAddress address_of(const IpPrefix& prefix) {
    return std::visit([](const auto& family) { return IpAddress(family.address); }, prefix);
}

std::uint8_t length_of(const IpPrefix& prefix) {
    return std::visit([](const auto& family) { return family.length; }, prefix);
}

int family_of(const IpPrefix& prefix) {
    return std::holds_alternative<Ipv4Prefix>(prefix) ? AF_INET : AF_INET6;
}

std::string describe(const Route& route) {
    return "route " + to_string(address_of(route.destination)) + '/' +
           std::to_string(length_of(route.destination));
}

NativeRoute native(const Route& route) {
    const auto family = family_of(route.destination);
    auto out = owned<NativeRoute>(rtnl_route_alloc());
    rtnl_route_set_family(out.get(), static_cast<std::uint8_t>(family));
    rtnl_route_set_table(out.get(), RT_TABLE_MAIN);
    rtnl_route_set_protocol(out.get(), RTPROT_STATIC);
    const auto destination = native_address(address_of(route.destination));
    nl_addr_set_prefixlen(destination.get(), length_of(route.destination));
    rtnl_route_set_dst(out.get(), destination.get());
    if (route.metric != 0) rtnl_route_set_priority(out.get(), route.metric);
    if (route.mtu != 0) rtnl_route_set_metric(out.get(), RTAX_MTU, route.mtu);
    if (route.is_mtu_locked) rtnl_route_set_metric(out.get(), RTAX_LOCK, 1U << RTAX_MTU);
    if (route.source) rtnl_route_set_pref_src(out.get(), native_address(*route.source).get());
    const bool on_link = route.kind == Route::Kind::unicast && !route.gateway && family == AF_INET;
    rtnl_route_set_scope(out.get(), on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
    if (route.kind != Route::Kind::unicast) {
        const bool is_silent = route.kind == Route::Kind::blackhole;
        rtnl_route_set_type(out.get(), is_silent ? RTN_BLACKHOLE : RTN_UNREACHABLE);
        return out;
    }
    rtnl_route_set_type(out.get(), RTN_UNICAST);
    auto* next_hop = rtnl_route_nh_alloc();
    if (next_hop == nullptr) throw std::bad_alloc();
    rtnl_route_nh_set_ifindex(next_hop, route.interface_index);
    if (route.gateway) rtnl_route_nh_set_gateway(next_hop, native_address(*route.gateway).get());
    rtnl_route_add_nexthop(out.get(), next_hop);  // owned by the route from here on
    return out;
}

IpPrefix make_prefix(const Ipv4Address& address, std::uint8_t length) {
    return Ipv4Prefix{address, length};
}
IpPrefix make_prefix(const Ipv6Address& address, std::uint8_t length) {
    return Ipv6Prefix{address, length};
}

std::optional<IpPrefix> destination_of(rtnl_route* route) {
    const auto* native_prefix = rtnl_route_get_dst(route);
    const bool v4 = rtnl_route_get_family(route) == AF_INET;
    // The default route comes with an address of length zero.
    auto address = value_of(native_prefix);
    if (!address) address = v4 ? IpAddress(Ipv4Address()) : IpAddress(Ipv6Address());
    const auto length = native_prefix == nullptr ? 0u : nl_addr_get_prefixlen(native_prefix);
    if (length > (v4 ? 32u : 128u)) return std::nullopt;
    const auto short_length = static_cast<std::uint8_t>(length);
    return std::visit([&](const auto& a) { return make_prefix(a, short_length); }, *address);
}

// One Route per next hop; none for kinds that Route does not know.
void append_routes(rtnl_route* route, std::vector<Route>& out) {
    if (rtnl_route_get_table(route) != RT_TABLE_MAIN) return;
    const auto destination = destination_of(route);
    if (!destination) return;
    Route common;
    common.destination = *destination;
    common.metric = rtnl_route_get_priority(route);
    common.source = value_of(rtnl_route_get_pref_src(route));
    unsigned int mtu = 0;
    if (rtnl_route_get_metric(route, RTAX_MTU, &mtu) == 0) common.mtu = mtu;
    const auto type = rtnl_route_get_type(route);
    if (type == RTN_BLACKHOLE || type == RTN_UNREACHABLE) {
        common.kind = type == RTN_BLACKHOLE ? Route::Kind::blackhole : Route::Kind::unreachable;
        out.push_back(common);
        return;
    }
    if (type != RTN_UNICAST) return;
    for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
        auto* next_hop = rtnl_route_nexthop_n(route, i);
        auto one = common;
        one.interface_index = rtnl_route_nh_get_ifindex(next_hop);
        one.gateway = value_of(rtnl_route_nh_get_gateway(next_hop));
        one.is_link_down = (rtnl_route_nh_get_flags(next_hop) & RTNH_F_LINKDOWN) != 0;
        out.push_back(one);
    }
}

bool is_same(const Route& asked, const Route& there) {
    auto metric = asked.metric;
    if (metric == 0 && family_of(asked.destination) == AF_INET6) metric = ipv6_metric_default;
    return asked.destination == there.destination && asked.kind == there.kind &&
           asked.interface_index == there.interface_index && asked.gateway == there.gateway &&
           asked.source == there.source && metric == there.metric && asked.mtu == there.mtu;
}

}  // namespace

bool holds(const std::vector<Route>& table, const Route& route) {
    return std::any_of(table.begin(), table.end(),
                       [&](const Route& candidate) { return is_same(route, candidate); });
}

struct Netlink::Impl {
    Socket socket;

    Result<Link> link(int index) {
        rtnl_link* found = nullptr;
        const int error = rtnl_link_get_kernel(socket.get(), index, nullptr, &found);
        if (error < 0) return fail_netlink(error, "interface " + std::to_string(index));
        return Link(found);
    }

    Result<void> change(int index, rtnl_link* changes, const std::string& doing) {
        auto current = link(index);
        if (!current) return tl::unexpected(current.error());
        return check(rtnl_link_change(socket.get(), current->get(), changes, 0), doing);
    }

    Result<std::vector<Route>> routes(int family) {
        nl_cache* filled = nullptr;
        const int error = rtnl_route_alloc_cache(socket.get(), family, 0, &filled);
        if (error < 0) return fail_netlink(error, "read routes");
        const Cache cache(filled);
        std::vector<Route> out;
        for (auto* item = nl_cache_get_first(filled); item != nullptr;
             item = nl_cache_get_next(item)) {
            append_routes(reinterpret_cast<rtnl_route*>(item), out);
        }
        return out;
    }
};

Netlink::Netlink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Netlink::Netlink(Netlink&&) noexcept = default;
Netlink& Netlink::operator=(Netlink&&) noexcept = default;
Netlink::~Netlink() = default;

Result<Netlink> Netlink::open() {
    auto socket = open_socket();
    if (!socket) return tl::unexpected(socket.error());
    auto impl = std::make_unique<Impl>();
    impl->socket = std::move(*socket);
    return Netlink(std::move(impl));
}

Result<int> Netlink::interface_index(const std::string& name) {
    rtnl_link* found = nullptr;
    const int error = rtnl_link_get_kernel(impl_->socket.get(), 0, name.c_str(), &found);
    if (error < 0) return fail_netlink(error, "interface " + name);
    return rtnl_link_get_ifindex(Link(found).get());
}

Result<std::string> Netlink::interface_name(int index) {
    return impl_->link(index).map(
        [](const Link& link) { return std::string(rtnl_link_get_name(link.get())); });
}

Result<std::uint32_t> Netlink::interface_mtu(int index) {
    return impl_->link(index).map(
        [](const Link& link) -> std::uint32_t { return rtnl_link_get_mtu(link.get()); });
}

Result<void> Netlink::set_interface_up(int index, bool up) {
    auto changes = owned<Link>(rtnl_link_alloc());
    if (up)
        rtnl_link_set_flags(changes.get(), IFF_UP);
    else
        rtnl_link_unset_flags(changes.get(), IFF_UP);
    return impl_->change(index, changes.get(), "set interface up or down");
}

Result<void> Netlink::set_interface_mtu(int index, std::uint32_t mtu) {
    auto changes = owned<Link>(rtnl_link_alloc());
    rtnl_link_set_mtu(changes.get(), mtu);
    return impl_->change(index, changes.get(), "set interface MTU " + std::to_string(mtu));
}

Result<int> Netlink::interface_of_address(const IpAddress& address) {
    nl_cache* filled = nullptr;
    const int error = rtnl_addr_alloc_cache(impl_->socket.get(), &filled);
    if (error < 0) return fail_netlink(error, "read addresses");
    const Cache cache(filled);
    for (auto* item = nl_cache_get_first(filled); item != nullptr; item = nl_cache_get_next(item)) {
        auto* candidate = reinterpret_cast<rtnl_addr*>(item);
        if (value_of(rtnl_addr_get_local(candidate)) == address) {
            return rtnl_addr_get_ifindex(candidate);
        }
    }
    return fail(ErrorCode::not_found, "no interface has the address " + to_string(address));
}

Result<std::vector<IpPrefix>> Netlink::addresses_of(int index) {
    nl_cache* filled = nullptr;
    const int error = rtnl_addr_alloc_cache(impl_->socket.get(), &filled);
    if (error < 0) return fail_netlink(error, "read addresses");
    const Cache cache(filled);
    std::vector<IpPrefix> out;
    for (auto* item = nl_cache_get_first(filled); item != nullptr; item = nl_cache_get_next(item)) {
        auto* candidate = reinterpret_cast<rtnl_addr*>(item);
        if (rtnl_addr_get_ifindex(candidate) != index) continue;
        if (rtnl_addr_get_scope(candidate) == RT_SCOPE_LINK) continue;
        const auto address = value_of(rtnl_addr_get_local(candidate));
        if (!address) continue;
        const auto length = static_cast<std::uint8_t>(rtnl_addr_get_prefixlen(candidate));
        std::visit([&](const auto& a) { out.push_back(make_prefix(a, length)); }, *address);
    }
    return out;
}

namespace {

InterfaceAddress native(int index, const IpAddress& address, std::uint8_t prefix_length) {
    auto out = owned<InterfaceAddress>(rtnl_addr_alloc());
    rtnl_addr_set_ifindex(out.get(), index);
    rtnl_addr_set_local(out.get(), native_address(address).get());
    rtnl_addr_set_prefixlen(out.get(), prefix_length);
    // On an end of a tunnel nobody else can have it: no duplicate address detection (RFC 4862
    // s5.4), during which the kernel refuses the address as the source of a route.
    if (prefix_length == 128) rtnl_addr_set_flags(out.get(), IFA_F_NODAD);
    return out;
}

}  // namespace

Result<void> Netlink::add_address(int index, const IpAddress& address, std::uint8_t prefix_length) {
    const auto wanted = native(index, address, prefix_length);
    const int error = rtnl_addr_add(impl_->socket.get(), wanted.get(), 0);
    if (error == -NLE_EXIST) return {};
    return check(error, "add address " + to_string(address));
}

Result<void> Netlink::remove_address(int index, const IpAddress& address,
                                     std::uint8_t prefix_length) {
    const auto unwanted = native(index, address, prefix_length);
    const int error = rtnl_addr_delete(impl_->socket.get(), unwanted.get(), 0);
    if (error < 0 && code_of(error) == ErrorCode::not_found) return {};
    return check(error, "remove address " + to_string(address));
}

Result<bool> Netlink::add_missing_route(const Route& route) {
    const int error = rtnl_route_add(impl_->socket.get(), native(route).get(), NLM_F_EXCL);
    if (error == -NLE_EXIST) return false;
    return check(error, "add " + describe(route)).map([] { return true; });
}

Result<void> Netlink::add_route(const Route& route) {
    const auto added = add_missing_route(route);
    if (!added) return tl::unexpected(added.error());
    if (*added) return {};
    // Somebody's route has this destination and metric. Ours: done. Another's: not ours to replace.
    const auto there = impl_->routes(family_of(route.destination));
    if (!there) return tl::unexpected(there.error());
    if (holds(*there, route)) return {};
    return fail(ErrorCode::conflict,
                describe(route) + " exists with the same metric and leads elsewhere");
}

Result<void> Netlink::replace_route(const Route& route) {
    return check(rtnl_route_add(impl_->socket.get(), native(route).get(), NLM_F_REPLACE),
                 "replace " + describe(route));
}

Result<void> Netlink::remove_route(const Route& route) {
    auto unwanted = route;
    unwanted.mtu = 0;  // which need not be known: the kernel compares what is said
    unwanted.is_mtu_locked = false;
    const int error = rtnl_route_delete(impl_->socket.get(), native(unwanted).get(), 0);
    if (error < 0 && code_of(error) == ErrorCode::not_found) return {};
    return check(error, "remove " + describe(route));
}

Result<std::vector<Route>> Netlink::routes_v4() { return impl_->routes(AF_INET); }
Result<std::vector<Route>> Netlink::routes_v6() { return impl_->routes(AF_INET6); }

}  // namespace dstm::dataplane
