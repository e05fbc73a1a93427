// The way back from a lasting plane, step by step; a step that fails does not keep the others.
#include <algorithm>

#include "common/dataplane/netlink.hpp"
#include "common/dataplane/tun_device.hpp"
#include "common/dataplane/tun_host.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/entrances.hpp"
#include "tep/bpf/hook_records.hpp"
#include "tep/bpf/left_behind.hpp"
#include "tep/bpf/pins.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::IpPrefix;
using dataplane::Netlink;
using dataplane::Route;
using dataplane::TunDevice;

// What can be found of it; maps of a newer version have their hooks in the same place.
Maps maps_of(const Pins* pins, const std::string& device) {
    if (pins != nullptr) {
        if (auto pinned = pins->maps(); pinned && !pinned->empty()) return std::move(*pinned);
    }
    return maps_of_hook(device);
}

void detach_hooks(const Maps& maps, Netlink& netlink, std::vector<std::string>& done) {
    const auto found = maps.find("hooks");
    if (found == maps.end()) return;
    HookRecords records(found->second.number());
    for (const auto& [index, record] : records.all()) {
        take_back(index, record);
        records.erase(index);
        const auto name = netlink.interface_name(index);
        done.push_back("programs on " + (name ? *name : "interface " + std::to_string(index)));
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
    std::vector<std::string> done;

    // First, since it fails while a daemon runs, and then nothing may be touched.
    const bool has_device = netlink->interface_index(device).has_value();
    if (auto removed = TunDevice::remove(device); !removed) return tl::unexpected(removed.error());
    if (has_device) done.push_back("device " + device);
    detach_hooks(maps, *netlink, done);

    auto beneath = pools;
    if (const auto meta = meta_in(maps)) add_pools_of(*meta, beneath);
    if (auto removed = remove_blackholes(beneath, *netlink, done); !removed) {
        return tl::unexpected(removed.error());
    }
    if (!pins) return done;
    const bool has_pins = pins->exist();
    if (auto removed = pins->remove(); !removed) return tl::unexpected(removed.error());
    if (has_pins) done.push_back(pins->directory());
    return done;
}

}  // namespace dstm::tep::bpf
