// The way back from a lasting plane, step by step; a step that fails does not keep the others.
#include <algorithm>
#include <memory>
#include <utility>

#include <net/if.h>

#include "common/dataplane/netlink.hpp"
#include "common/dataplane/tun_device.hpp"
#include "common/dataplane/tun_host.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/entrances.hpp"
#include "tep/bpf/hook_records.hpp"
#include "tep/bpf/left_behind.hpp"
#include "tep/bpf/pins.hpp"
#include "tep/bpf/tc_hook.hpp"
#include "tep/bpf/xdp_hook.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::IpPrefix;
using dataplane::Netlink;
using dataplane::Route;
using dataplane::TunDevice;

// What can be found of it, whatever else stands beside; maps of a newer version have their hooks in
// the same place.
Maps maps_of(const Pins* pins, const std::string& device) {
    auto maps = pins != nullptr ? pins->good_maps() : Maps{};
    maps.merge(maps_of_hook(device));
    return maps;
}

std::vector<std::pair<int, std::string>> interfaces() {
    std::vector<std::pair<int, std::string>> out;
    const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> all(
        ::if_nameindex(), ::if_freenameindex);
    for (const auto* i = all.get(); i != nullptr && i->if_index != 0; ++i) {
        out.emplace_back(static_cast<int>(i->if_index), i->if_name);
    }
    return out;
}

void detach_hooks(int map, Netlink& netlink, std::vector<std::string>& done) {
    HookRecords records(map);
    for (const auto& [index, record] : records.all()) {
        take_back(index, record);
        records.erase(index);
        const auto name = netlink.interface_name(index);
        done.push_back("programs on " + (name ? *name : "interface " + std::to_string(index)));
    }
}

// What is in no record: filters tell by their names that they are ours.
void detach_filters(std::vector<std::string>& done) {
    for (const auto& [index, name] : interfaces()) {
        XdpHook::detach_ours(index, 0);
        if (!TcHook::stands_on(index, TcDirection::ingress)) continue;
        static_cast<void>(TcHook::adopt(index, TcDirection::ingress, false));
        done.push_back("program on " + name);
    }
}

// A program that drops what another plane should have must not stay unnoticed.
Result<void> check_xdp() {
    for (const auto& [index, name] : interfaces()) {
        if (XdpHook::number_on(index) == 0) continue;
        return fail(ErrorCode::refused, "whose the XDP program on " + name +
                                            " is cannot be read without CAP_BPF");
    }
    return {};
}

void add_pools_of(const dstm_meta& meta, std::vector<IpPrefix>& out) {
    for (std::uint32_t i = 0; i < std::min<__u32>(meta.pool_count, DSTM_POOLS_MAX); ++i) {
        std::uint8_t length = 32;
        while (length > 0 && (1ULL << (32 - length)) < meta.pools[i].size) --length;
        out.emplace_back(Ipv4Prefix{Ipv4Address(meta.pools[i].first), length});
    }
}

bool is_blackhole_of(const Route& route, const std::vector<IpPrefix>& pools) {
    return route.kind == Route::Kind::blackhole && route.metric == dataplane::blackhole_metric &&
           std::ranges::find(pools, route.destination) != pools.end();
}

Result<void> remove_blackholes(const std::vector<IpPrefix>& pools, Netlink& netlink,
                               std::vector<std::string>& done) {
    auto routes = netlink.routes_v4();
    if (!routes) return tl::unexpected(routes.error());
    auto routes_v6 = netlink.routes_v6();
    if (!routes_v6) return tl::unexpected(routes_v6.error());
    routes->insert(routes->end(), routes_v6->begin(), routes_v6->end());
    for (const auto& route : *routes) {
        if (!is_blackhole_of(route, pools)) continue;
        if (auto removed = netlink.remove_route(route); !removed) return removed;
        done.push_back("blackhole of " +
                       std::visit([](const auto& p) { return p.to_string(); }, route.destination));
    }
    return {};
}

}  // namespace

Result<std::vector<std::string>> detach(const std::string& device,
                                        const std::vector<IpPrefix>& pools) {
    auto netlink = Netlink::open();
    if (!netlink) return tl::unexpected(netlink.error());
    const auto pins = Pins::open(device);
    const auto maps = maps_of(pins ? &*pins : nullptr, device);
    const bool may_read = !pins || pins->may_be_read();
    std::vector<std::string> done;

    // First, since it fails while a daemon runs, and then nothing may be touched.
    const bool has_device = netlink->interface_index(device).has_value();
    if (auto removed = TunDevice::remove(device); !removed) return tl::unexpected(removed.error());
    if (has_device) done.push_back("device " + device);
    if (const auto hooks = maps.find("hooks"); hooks != maps.end()) {
        detach_hooks(hooks->second.number(), *netlink, done);
    }
    if (!pins || !pins->have_neighbours()) detach_filters(done);

    auto beneath = pools;
    if (const auto meta = meta_in(maps)) add_pools_of(*meta, beneath);
    if (auto removed = remove_blackholes(beneath, *netlink, done); !removed) {
        return tl::unexpected(removed.error());
    }
    if (!may_read) {
        // The records stay for one who may read them.
        if (const auto checked = check_xdp(); !checked) return tl::unexpected(checked.error());
        return done;
    }
    if (!pins) return done;
    const bool has_pins = pins->exist();
    if (auto removed = pins->remove(); !removed) return tl::unexpected(removed.error());
    if (has_pins) done.push_back(pins->directory());
    return done;
}

bool is_left(const std::string& device) {
    const auto pins = Pins::open(device);
    if (pins && pins->exist()) return true;
    const bool is_alone = !pins || !pins->have_neighbours();
    return std::ranges::any_of(interfaces(), [&](const auto& interface) {
        const auto& [index, name] = interface;
        return (name == device && TcHook::stands_on(index, TcDirection::egress)) ||
               (is_alone && TcHook::stands_on(index, TcDirection::ingress));
    });
}

}  // namespace dstm::tep::bpf
