// The way back from a lasting plane, step by step; a step that fails does not keep the others.
#include <algorithm>
#include <memory>
#include <utility>

#include <net/if.h>

#include "common/dataplane/netlink.hpp"
#include "common/dataplane/tun_device.hpp"
#include "common/dataplane/tun_host.hpp"
#include "common/log/log.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/entrances.hpp"
#include "tep/bpf/hook_records.hpp"
#include "tep/bpf/left_behind.hpp"
#include "tep/bpf/pins.hpp"
#include "tep/bpf/tc_hook.hpp"

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

void detach_hooks(int map, std::uint32_t handle, Netlink& netlink,
                  std::vector<std::string>& done) {
    HookRecords records(map);
    for (const auto& [index, record] : records.all()) {
        take_back({index, TcDirection::ingress, handle, true}, record);
        records.erase(index);
        const auto name = netlink.interface_name(index);
        done.push_back("programs on " + (name ? *name : "interface " + std::to_string(index)));
    }
}

// What is in no record: filters tell by their handles that they are ours.
void detach_filters(std::uint32_t handle, std::vector<std::string>& done) {
    for (const auto& [index, name] : interfaces()) {
        const TcPlace place{index, TcDirection::ingress, handle};
        if (!TcHook::stands_on(place)) continue;
        static_cast<void>(TcHook::adopt(place, false));
        done.push_back("program on " + name);
    }
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
    if (pins) pins->end_links();
    const auto handle = tc_handle_of(device);
    if (const auto hooks = maps.find("hooks"); hooks != maps.end()) {
        detach_hooks(hooks->second.number(), handle, *netlink, done);
    }
    detach_filters(handle, done);

    auto beneath = pools;
    if (const auto meta = meta_in(maps)) add_pools_of(*meta, beneath);
    if (auto removed = remove_blackholes(beneath, *netlink, done); !removed) {
        return tl::unexpected(removed.error());
    }
    if (!pins) return tl::unexpected(pins.error());  // perhaps there is more than could be seen
    if (!may_read) return done;  // the records stay for one who may read them
    const bool has_pins = pins->exist();
    const auto removed = pins->remove();
    if (!removed && removed.error().code != ErrorCode::conflict) {
        return tl::unexpected(removed.error());
    }
    if (!removed) log_warning("BPF_FOREIGN_PIN", "{}", removed.error().context);
    if (has_pins && removed) done.push_back(pins->directory());
    return done;
}

bool is_left(const std::string& device) {
    const auto pins = Pins::open(device);
    if (pins && pins->exist()) return true;
    const auto handle = tc_handle_of(device);
    return std::ranges::any_of(interfaces(), [&](const auto& interface) {
        const auto& [index, name] = interface;
        return (name == device && TcHook::stands_on({index, TcDirection::egress, handle, true})) ||
               TcHook::stands_on({index, TcDirection::ingress, handle});
    });
}

}  // namespace dstm::tep::bpf
