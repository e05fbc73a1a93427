// Tunnels of an endpoint: added, moved, removed, counted. kernel_adoption.cpp has the start.
#include "common/dataplane/kernel_endpoint.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "common/dataplane/host_changes.hpp"
#include "common/dataplane/path_mtu.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

// Priorities of packet filters on a tunnel's device; two for each slot: address and prefix.
constexpr std::uint16_t priority_to_endpoint = 100;
constexpr std::uint16_t priority_hairpin = 500;
constexpr std::uint16_t priority_source = 1000;

constexpr unsigned numbers_max = 99999;

// How late "last seen" may be when nobody asks.
constexpr Duration look_every = std::chrono::seconds(10);

// The addresses that may stand as a source, and that are led to the client.
std::vector<IpPrefix> prefixes_of(const TunnelSpec& spec) {
    std::vector<IpPrefix> out{host_prefix(spec.inner)};
    if (spec.inner_prefix) out.emplace_back(*spec.inner_prefix);
    return out;
}

void add_to(TunnelCounters& sum, const TunnelCounters& more, std::uint64_t times) {
    sum.packets_up += times * more.packets_up;
    sum.bytes_up += times * more.bytes_up;
    sum.packets_down += times * more.packets_down;
    sum.bytes_down += times * more.bytes_down;
}
constexpr auto minus = ~std::uint64_t{0};  // times -1

std::optional<Slot> free_slot(const std::map<Slot, TunnelSpec>& tunnels) {
    for (Slot slot = 0; slot < slots_max; ++slot) {
        if (!tunnels.contains(slot)) return slot;
    }
    return std::nullopt;
}

}  // namespace

const Carried* KernelEndpoint::carried_as(TunnelType type) const {
    const auto found = std::find_if(carried_.begin(), carried_.end(),
                                    [&](const Carried& carried) { return carried.type == type; });
    return found == carried_.end() ? nullptr : &*found;
}

Result<void> KernelEndpoint::check_add(const TunnelSpec& spec) const {
    if (auto checked = check_tunnel(spec); !checked) return checked;
    const auto* carried = carried_as(spec.type);
    if (carried == nullptr) {
        return fail(ErrorCode::refused,
                    "this endpoint has no outer address for " + std::string(to_string(spec.type)));
    }
    if (spec.outer_server != carried->outer) {
        return fail(ErrorCode::invalid, to_string(spec.outer_server) + " is not this endpoint, " +
                                            to_string(carried->outer) + " is");
    }
    const auto pooled = [&](const IpAddress& address) {
        return std::any_of(carried->pools.begin(), carried->pools.end(),
                           [&](const IpPrefix& pool) { return contains(pool, address); });
    };
    const bool is_free = config_.outside_pools && config_.hairpin && spec.type == TunnelType::v4v6;
    if (spec.inner == carried->inner || !(is_free || pooled(spec.inner)) ||
        (spec.inner_prefix && !pooled(spec.inner_prefix->address))) {
        return fail(ErrorCode::invalid, to_string(spec.inner) + " is in none of the pools");
    }
    const auto at = tunnels_.find(spec.inner);
    if (at == tunnels_.end()) {
        if (tunnels_.size() < config_.tunnels_max) return {};
        return fail(ErrorCode::exhausted, "the tunnel table is full");
    }
    const auto& stands = devices_.at(at->second.far_end).tunnels.at(at->second.slot);
    if (stands.generation <= spec.generation) return {};
    return fail(ErrorCode::conflict, "a newer tunnel is installed");
}

Result<void> KernelEndpoint::add(const TunnelSpec& spec) {
    const std::lock_guard lock(mutex_);
    if (auto checked = check_add(spec); !checked) return checked;
    auto added = stays(spec) ? renew(tunnels_.at(spec.inner), spec) : move_in(spec);
    if (added) close_if_over(tunnels_.at(spec.inner));
    return added;
}

// On its device; only generation and end of the lease are new.
bool KernelEndpoint::stays(const TunnelSpec& spec) const {
    const auto at = tunnels_.find(spec.inner);
    if (at == tunnels_.end() || at->second.far_end != spec.outer_client.address) return false;
    const auto& stands = devices_.at(at->second.far_end).tunnels.at(at->second.slot);
    return stands.type == spec.type && stands.inner_prefix == spec.inner_prefix;
}

Result<void> KernelEndpoint::renew(Tunnel& tunnel, const TunnelSpec& spec) {
    auto& device = devices_.at(tunnel.far_end);
    auto after = device.tunnels;
    after[tunnel.slot] = spec;
    if (auto said = host_.links.set_alias(device.index, write_alias(after)); !said) return said;
    device.tunnels = std::move(after);
    if (tunnel.is_open) return {};
    auto opened = open_tunnel(device, tunnel.slot);
    tunnel.is_open = opened.has_value();
    return opened;
}

// Each step leaves the old tunnel as it is until the route, which is one step, leads to the new.
Result<void> KernelEndpoint::move_in(const TunnelSpec& spec) {
    const auto made = find_or_make_device(spec);
    if (!made) return tl::unexpected(made.error());
    auto& device = (*made)->second;
    const auto slot = free_slot(device.tunnels);
    auto after = device.tunnels;
    if (slot) after[*slot] = spec;
    const auto alias = write_alias(after);
    if (!slot || alias.size() > alias_size_max) {
        return fail(ErrorCode::exhausted,
                    to_string(spec.outer_client.address) + " has too many tunnels");
    }
    Tunnel tunnel{(*made)->first, *slot, true, {}, {}};
    add_to(tunnel.before, counted_by(device), minus);
    const auto at = tunnels_.find(spec.inner);
    const bool is_new = at == tunnels_.end();
    if (!is_new) {
        const auto& old = at->second;
        tunnel.sightings = old.sightings;
        add_to(tunnel.before, old.before, 1);
    }
    tunnel.sightings.change_device(host_.filter.dropped_in(device.index));
    device.tunnels = std::move(after);
    auto done = host_.links.set_alias(device.index, alias);
    if (done) done = host_.netlink.set_interface_up(device.index, true);
    if (done) done = open_tunnel(device, *slot);
    if (!done) {
        leave(tunnel);
        return done;
    }
    if (!is_new) {
        // Only now does the old device carry nothing more.
        add_to(tunnel.before, counted_by(devices_.at(at->second.far_end)), 1);
        leave(at->second);
    }
    tunnels_.insert_or_assign(spec.inner, tunnel);
    return {};
}

Result<KernelEndpoint::Devices::iterator> KernelEndpoint::find_or_make_device(
    const TunnelSpec& spec) {
    const auto& far_end = spec.outer_client.address;
    if (const auto at = devices_.find(far_end); at != devices_.end()) return at;
    auto device = make_device(spec.type, far_end);
    if (!device) return tl::unexpected(device.error());
    return devices_.emplace(far_end, std::move(*device)).first;
}

Result<KernelEndpoint::Device> KernelEndpoint::make_device(TunnelType type,
                                                           const IpAddress& far_end) {
    const auto& carried = *carried_as(type);
    TunnelLink link;
    link.type = type;
    link.local = carried.outer;
    link.remote = far_end;
    link.alias = write_alias({});
    do {
        number_ = number_ % numbers_max + 1;
        link.name = config_.device + '-' + std::to_string(number_);
    } while (host_.netlink.interface_index(link.name));
    const auto index = host_.links.add(link);
    if (!index && index.error().code == ErrorCode::conflict) {
        return fail(ErrorCode::unavailable, "somebody else's device goes from " +
                                                to_string(link.local) + " to " +
                                                to_string(far_end));
    }
    if (!index) return tl::unexpected(index.error());
    Device device{*index, link.name, type, {}};
    if (auto prepared = prepare_device(device, carried); !prepared) {
        static_cast<void>(host_.links.remove(*index));
        return tl::unexpected(prepared.error());
    }
    return device;
}

Result<void> KernelEndpoint::prepare_device(const Device& device, const Carried& carried) {
    const bool is_v4v6 = device.type == TunnelType::v4v6;
    if (is_v4v6) silence_ipv6(device.name);
    const auto forwarding =
        std::string(is_v4v6 ? "net/ipv4/conf/" : "net/ipv6/conf/") + device.name + "/forwarding";
    if (const auto on = write_sysctl(forwarding, "1"); !on) {
        log_warning("KERNEL_SYSCTL_FAILED", "{}", to_string(on.error()));
    }
    auto done = host_.filter.close_ingress(device.index);
    if (config_.hairpin) return done;
    auto priority = priority_hairpin;
    for (const auto& pool : carried.pools) {
        if (done) done = host_.filter.add(device.index, {priority++, {}, pool, false});
    }
    return done;
}

std::vector<IngressRule> KernelEndpoint::rules_of(const TunnelSpec& spec, Slot slot) const {
    const auto& inner = carried_as(spec.type)->inner;
    std::vector<IngressRule> rules;
    auto offset = static_cast<std::uint16_t>(2 * slot);
    for (const auto& source : prefixes_of(spec)) {
        const auto at = [&](std::uint16_t base) {
            return static_cast<std::uint16_t>(base + offset);
        };
        rules.push_back({at(priority_source), source, {}, true});
        if (!config_.hairpin && inner) {
            // The endpoint's own address may lie in a pool, where a client's must not.
            rules.push_back({at(priority_to_endpoint), source, host_prefix(*inner), true});
        }
        ++offset;
    }
    return rules;
}

std::vector<Route> KernelEndpoint::routes_of(const TunnelSpec& spec, const Device& device) const {
    std::vector<Route> routes;
    for (const auto& destination : prefixes_of(spec)) {
        Route route;
        route.destination = destination;
        route.interface_index = device.index;
        route.source = carried_as(spec.type)->inner;
        route.mtu = device.mtu;
        route.is_mtu_locked = device.mtu != 0 && spec.type == TunnelType::v6v4;
        routes.push_back(route);
    }
    return routes;
}

Result<void> KernelEndpoint::open_tunnel(const Device& device, Slot slot) {
    const auto& spec = device.tunnels.at(slot);
    Result<void> done;
    for (const auto& rule : rules_of(spec, slot)) {
        if (done) done = host_.filter.add(device.index, rule);
    }
    for (const auto& route : routes_of(spec, device)) {
        if (done) done = host_.netlink.replace_route(route);
    }
    return done;
}

void KernelEndpoint::close_tunnel(const Device& device, Slot slot) {
    const auto& spec = device.tunnels.at(slot);
    const auto tell = [](const Result<void>& done) {
        if (!done) log_warning("KERNEL_CLEANUP_FAILED", "{}", to_string(done.error()));
    };
    // A route that leads elsewhere by now is another one, and stays.
    for (const auto& route : routes_of(spec, device)) tell(host_.netlink.remove_route(route));
    for (const auto& rule : rules_of(spec, slot)) tell(host_.filter.remove(device.index, rule));
}

void KernelEndpoint::leave(const Tunnel& tunnel) {
    const auto at = devices_.find(tunnel.far_end);
    DSTM_ASSERT(at != devices_.end());
    auto& device = at->second;
    if (device.tunnels.size() == 1) return remove_device(at);
    close_tunnel(device, tunnel.slot);
    device.tunnels.erase(tunnel.slot);
    const auto said = host_.links.set_alias(device.index, write_alias(device.tunnels));
    if (!said) log_warning("KERNEL_CLEANUP_FAILED", "{}", to_string(said.error()));
}

void KernelEndpoint::remove_device(Devices::iterator at) {
    const auto& device = at->second;
    gone_["source_check"] += host_.filter.dropped_in(device.index);
    if (const auto link = host_.links.read(device.index)) {
        gone_["ecn_congested"] += link->congested;
        gone_["send_failed"] += link->send_errors;
    }
    if (const auto removed = host_.links.remove(device.index); !removed) {
        log_warning("KERNEL_CLEANUP_FAILED", "{}", to_string(removed.error()));
    }
    devices_.erase(at);
}

Result<void> KernelEndpoint::remove(const IpAddress& inner, Generation up_to) {
    const std::lock_guard lock(mutex_);
    const auto at = tunnels_.find(inner);
    if (at == tunnels_.end()) {
        return fail(ErrorCode::not_found, "no tunnel for " + to_string(inner));
    }
    const auto& tunnel = at->second;
    if (devices_.at(tunnel.far_end).tunnels.at(tunnel.slot).generation > up_to) {
        return fail(ErrorCode::conflict, "a newer tunnel is installed");
    }
    leave(tunnel);
    tunnels_.erase(at);
    return {};
}

void KernelEndpoint::keep_house() {
    const std::lock_guard lock(mutex_);
    look_after_devices();
    for (auto& [inner, tunnel] : tunnels_) close_if_over(tunnel);
    hear_of_paths();
    if (clock_.now() < look_at_) return;
    look_at_ = clock_.now() + look_every;
    static_cast<void>(listed());
}

// The kernel forwards by the MTU of the device or of the route, not by what it has learned (unless
// ip_forward_use_pmtu is set, and not even then for IPv6).
void KernelEndpoint::hear_of_paths() {
    for (auto& reports : path_reports_) {
        for (const auto& report : reports.take()) {
            const auto at = tunnels_.find(report.client);
            if (at == tunnels_.end()) continue;
            auto& device = devices_.at(at->second.far_end);
            // What came another way did not pass the source check.
            if (device.index == report.device) lower_path(device, report.inner_mtu);
        }
    }
    for (auto& [far_end, device] : devices_) {
        const bool is_old = clock_.now() - device.mtu_told_at >= path_mtu_lifetime;
        if (device.mtu != 0 && is_old) set_path_mtu(device, 0);  // RFC 8201 s5.3
    }
}

void KernelEndpoint::lower_path(Device& device, std::uint32_t mtu) {
    mtu = std::max(mtu, path_mtu_floor(device.type) - overhead_of(device.type));
    const auto widest = host_.netlink.interface_mtu(device.index);
    if (!widest || mtu >= *widest || (device.mtu != 0 && mtu > device.mtu)) return;
    device.mtu_told_at = clock_.now();
    if (device.mtu == mtu) return;
    set_path_mtu(device, mtu);
    log_info("KERNEL_PATH_MTU", "device={} mtu={}", device.name, mtu);
}

void KernelEndpoint::set_path_mtu(Device& device, std::uint32_t mtu) {
    device.mtu = mtu;
    if (const auto led = lead_into(device); !led) {
        log_warning("KERNEL_MTU_NOT_SET", "{}", to_string(led.error()));
    }
}

void KernelEndpoint::close_if_over(Tunnel& tunnel) {
    const auto& device = devices_.at(tunnel.far_end);
    if (!tunnel.is_open || clock_.wall() < device.tunnels.at(tunnel.slot).expires_at) return;
    close_tunnel(device, tunnel.slot);
    tunnel.is_open = false;
}

TunnelCounters KernelEndpoint::counted_by(const Device& device) const {
    const auto link = host_.links.read(device.index);
    return link ? counters_of(*link) : TunnelCounters{};
}

TunnelCounters KernelEndpoint::counted_for(Tunnel& tunnel, TunnelCounters counters) const {
    add_to(counters, tunnel.before, 1);
    const auto device = devices_.at(tunnel.far_end).index;
    tunnel.sightings.note(counters, clock_.wall(), [&] { return host_.filter.dropped_in(device); });
    return counters;
}

std::vector<InstalledTunnel> KernelEndpoint::list() const {
    const std::lock_guard lock(mutex_);
    return listed();
}

std::vector<InstalledTunnel> KernelEndpoint::listed() const {
    std::vector<InstalledTunnel> out;
    std::map<int, TunnelCounters> counted;
    if (const auto links = host_.links.list()) {
        for (const auto& link : *links) counted[link.index] = counters_of(link);
    }
    for (auto& [inner, tunnel] : tunnels_) {
        const auto& device = devices_.at(tunnel.far_end);
        const auto counters = counted_for(tunnel, counted[device.index]);
        out.push_back({device.tunnels.at(tunnel.slot), counters});
    }
    return out;
}

std::vector<TunnelCounters> KernelEndpoint::counters(std::span<const IpAddress> inner) const {
    const std::lock_guard lock(mutex_);
    std::vector<TunnelCounters> out(inner.size());
    for (std::size_t i = 0; i < inner.size(); ++i) {
        const auto found = tunnels_.find(inner[i]);
        if (found == tunnels_.end()) continue;
        auto& tunnel = found->second;
        out[i] = counted_for(tunnel, counted_by(devices_.at(tunnel.far_end)));
    }
    return out;
}

DropCounters KernelEndpoint::drops() const {
    const std::lock_guard lock(mutex_);
    auto out = gone_;
    for (const auto& [type, device] : own_devices_) {
        out["unknown_outer"] += host_.filter.dropped_in(device);
        out["no_tunnel"] += host_.filter.dropped_out(device);
    }
    for (const auto& [far_end, device] : devices_) {
        out["source_check"] += host_.filter.dropped_in(device.index);
        if (const auto link = host_.links.read(device.index)) {
            out["ecn_congested"] += link->congested;
            out["send_failed"] += link->send_errors;
        }
    }
    return out;
}

}  // namespace dstm::dataplane
