// How an endpoint's plane starts: its own devices, the pools' routes, and the tunnels that an
// earlier daemon left; and how all of it is taken down.
#include <algorithm>
#include <charconv>
#include <limits>

#include "common/dataplane/host_changes.hpp"
#include "common/dataplane/kernel_endpoint.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

// Below every route that an operator may set for (part of) a pool.
constexpr std::uint32_t blackhole_metric = std::numeric_limits<std::uint32_t>::max();
constexpr std::string_view own_mark = "dstm endpoint";
constexpr std::string_view unfinished = " unfinished";

std::vector<Carried> carried_by(const KernelPlaneConfig& config) {
    std::vector<Carried> out;
    if (config.outer) {
        Carried v4v6{TunnelType::v4v6, config.device, *config.outer, {}, {}};
        if (config.inner) v4v6.inner = *config.inner;
        v4v6.pools.assign(config.pools.begin(), config.pools.end());
        out.push_back(std::move(v4v6));
    }
    if (config.outer_ipv4) {
        Carried v6v4{TunnelType::v6v4, config.device + "-sit", *config.outer_ipv4, {}, {}};
        if (config.inner_ipv6) v6v4.inner = *config.inner_ipv6;
        v6v4.pools.assign(config.pools_ipv6.begin(), config.pools_ipv6.end());
        out.push_back(std::move(v6v4));
    }
    return out;
}

Route blackhole_of(const IpPrefix& pool) {
    Route route;
    route.destination = pool;
    route.kind = Route::Kind::blackhole;
    route.metric = blackhole_metric;
    return route;
}

// A device without an alias, beside its name, was being made when its daemon died.
bool is_ours(const TunnelLink& link) {
    return link.alias.empty() || link.alias.starts_with(own_mark) ||
           read_alias(link.alias).has_value();
}

// What an earlier daemon was told of paths stands in the routes that it left.
Result<std::map<int, std::uint32_t>> mtus_by_device(Netlink& netlink) {
    std::map<int, std::uint32_t> out;
    for (const auto& routes : {netlink.routes_v4(), netlink.routes_v6()}) {
        if (!routes) return tl::unexpected(routes.error());
        for (const auto& route : *routes) {
            if (route.mtu != 0) out[route.interface_index] = route.mtu;
        }
    }
    return out;
}

}  // namespace

KernelEndpoint::KernelEndpoint(const KernelPlaneConfig& config, const Clock& clock, KernelHost host,
                               Descriptor held)
    : config_(config),
      carried_(carried_by(config)),
      clock_(clock),
      held_(std::move(held)),
      host_(std::move(host)),
      gone_{{"unknown_outer", 0},
            {"no_tunnel", 0},
            {"source_check", 0},
            {"ecn_congested", 0},
            {"send_failed", 0}} {}

bool is_kernel_plane_left(const std::string& device) {
    auto links = TunnelLinks::open();
    const auto there = links ? links->list() : tl::unexpected(links.error());
    return there && std::any_of(there->begin(), there->end(), [&](const TunnelLink& link) {
               return (link.name == device && link.alias.starts_with(own_mark)) ||
                      (link.name.starts_with(device + '-') && read_alias(link.alias));
           });
}

Result<void> KernelEndpoint::start() {
    const std::lock_guard lock(mutex_);
    for (const auto& carried : carried_) {
        const auto holder = host_.netlink.interface_of_address(carried.outer);
        if (!holder && holder.error().code == ErrorCode::not_found) {
            return fail(ErrorCode::unavailable, holder.error().context);
        }
    }
    const auto links = host_.links.list();
    if (!links) return tl::unexpected(links.error());
    for (const auto& carried : carried_) {
        if (auto started = start_own(carried, *links); !started) return started;
    }
    if (auto adopted = adopt(*links); !adopted) return adopted;
    for (const auto& carried : carried_) {
        if (!carried.inner) continue;
        if (auto reports = PathReports::open(*carried.inner)) {
            path_reports_.push_back(std::move(*reports));
        } else {
            log_warning("KERNEL_REPORTS_NOT_HEARD", "{}", to_string(reports.error()));
        }
    }
    auto news = LinkNews::open();
    if (!news) return tl::unexpected(news.error());
    link_news_ = std::move(*news);
    if (config_.mss_clamp) mss_clamp_ = clamp_mss(config_.device + "-*");
    housekeeper_.emplace([this] { keep_house(); });
    return {};
}

// What, if it changed, makes the filters of all devices wrong.
std::string KernelEndpoint::alias_of_own(const Carried& carried) const {
    auto alias = std::string(own_mark);
    if (!config_.hairpin) {
        alias += " hairpin=off";
        if (carried.inner) alias += ' ' + to_string(*carried.inner);
        for (const auto& pool : carried.pools) alias += ' ' + to_string(pool);
    }
    return alias.substr(0, alias_size_max);
}

Result<int> KernelEndpoint::own_device(const Carried& carried,
                                       const std::vector<TunnelLink>& links) {
    TunnelLink wanted;
    wanted.type = carried.type;
    wanted.name = carried.device;
    wanted.local = carried.outer;
    wanted.remote =
        carried.type == TunnelType::v4v6 ? IpAddress(Ipv6Address()) : IpAddress(Ipv4Address());
    const auto alias = alias_of_own(carried);
    // A daemon may die before the filter stands, and then nobody must take the device over.
    wanted.alias = std::string(own_mark).append(unfinished);
    for (const auto& link : links) {
        if (link.name != carried.device || !link.alias.starts_with(own_mark)) continue;
        const bool same =
            link.type == wanted.type && link.local == wanted.local && link.alias == alias;
        if (same) return link.index;
        if (auto removed = host_.links.remove(link.index); !removed) {
            return tl::unexpected(removed.error());
        }
    }
    const auto made = host_.links.add(wanted);
    if (!made && made.error().code == ErrorCode::conflict) {
        return fail(ErrorCode::conflict,
                    carried.device +
                        " is somebody else's, or another tunnel device has the "
                        "address " +
                        to_string(carried.outer));
    }
    if (made) {
        // Of another configuration, or of none that we know: their filters cannot be trusted.
        for (const auto& link : links) {
            if (link.type != carried.type || !is_tunnel_device(link.name) || !is_ours(link))
                continue;
            if (auto removed = host_.links.remove(link.index); !removed) {
                return tl::unexpected(removed.error());
            }
        }
    }
    return made;
}

Result<void> KernelEndpoint::start_own(const Carried& carried,
                                       const std::vector<TunnelLink>& links) {
    const auto device = own_device(carried, links);
    if (!device) return tl::unexpected(device.error());
    own_devices_[carried.type] = *device;
    const bool is_v4v6 = carried.type == TunnelType::v4v6;
    if (is_v4v6) silence_ipv6(carried.device);
    auto done = host_.filter.close_ingress(*device);
    if (done) done = host_.filter.close_egress(*device);
    if (done) done = host_.links.set_alias(*device, alias_of_own(carried));
    if (done) done = host_.netlink.set_interface_up(*device, true);
    if (done) done = furnish(carried, *device);
    const std::string forwarding = is_v4v6 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
    if (done && read_sysctl(forwarding) == "0") {
        log_warning("KERNEL_FORWARDING_OFF", "{} is 0: packets may not reach the tunnels",
                    forwarding);
    }
    return done;
}

Result<void> KernelEndpoint::furnish(const Carried& carried, int device) {
    Result<void> done;
    if (carried.inner) {
        done =
            host_.netlink.add_address(device, *carried.inner, host_prefix_length(*carried.inner));
    }
    for (const auto& pool : carried.pools) {
        if (done) done = route_pool(carried, pool, device);
    }
    return done;
}

Result<void> KernelEndpoint::route_pool(const Carried& carried, const IpPrefix& pool, int device) {
    // Remains when an operator takes the device away: nothing loops.
    if (auto added = host_.netlink.add_route(blackhole_of(pool)); !added) return added;
    Route route;
    route.destination = pool;
    route.interface_index = device;
    route.source = carried.inner;
    return host_.netlink.add_route(route);
}

bool KernelEndpoint::is_tunnel_device(const std::string& name) const {
    if (!name.starts_with(config_.device + '-')) return false;
    const auto number = std::string_view(name).substr(config_.device.size() + 1);
    return !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
}

Result<void> KernelEndpoint::adopt(const std::vector<TunnelLink>& links) {
    auto mtus = mtus_by_device(host_.netlink);
    if (!mtus) return tl::unexpected(mtus.error());
    for (const auto& link : links) {
        if (!is_tunnel_device(link.name)) continue;
        // Not ours, or removed with the configuration that it belonged to.
        if (!is_ours(link) || !host_.links.read(link.index) ||
            adopt_device(link, (*mtus)[link.index])) {
            continue;
        }
        log_warning("KERNEL_LEFTOVER_REMOVED", "device={} alias={}", link.name,
                    log::quoted(link.alias));
        if (auto removed = host_.links.remove(link.index); !removed) return removed;
    }
    if (!tunnels_.empty()) {
        log_info("KERNEL_ADOPTED", "tunnels={} devices={}", tunnels_.size(), devices_.size());
    }
    return {};
}

// False when nothing of the device can stay.
bool KernelEndpoint::adopt_device(const TunnelLink& link, std::uint32_t mtu) {
    const auto* carried = carried_as(link.type);
    auto tunnels = read_alias(link.alias);
    if (carried == nullptr || link.local != carried->outer || !tunnels || tunnels->empty() ||
        devices_.contains(link.remote) || !host_.filter.is_ingress_closed(link.index)) {
        return false;
    }
    for (auto& [slot, spec] : *tunnels) {
        spec.type = link.type;
        spec.outer_client = {link.remote, 0};
        spec.outer_server = link.local;
    }
    const auto slots = *tunnels;
    auto& device = devices_[link.remote] = {link.index,          link.name, link.type,
                                            std::move(*tunnels), mtu,       clock_.now()};
    for (const auto& [slot, spec] : slots) adopt_tunnel(device, link.remote, slot);
    const auto at = devices_.find(link.remote);
    if (at != devices_.end() && at->second.tunnels.empty()) devices_.erase(at);
    return devices_.contains(link.remote);
}

void KernelEndpoint::adopt_tunnel(Device& device, const IpAddress& far_end, Slot slot) {
    const auto spec = device.tunnels.at(slot);
    Tunnel tunnel{far_end, slot, true, {}, {}};
    auto fits = spec.expires_at > clock_.wall() ? check_tunnel(spec)
                                                : fail(ErrorCode::timed_out, "the lease is over");
    // It also tells which of two is the newer: a daemon may have died in the middle of a move.
    if (fits) fits = check_add(spec);
    for (const auto& route : routes_of(spec, device)) {
        if (fits) fits = host_.netlink.replace_route(route);
    }
    if (!fits) {
        log_info("KERNEL_TUNNEL_NOT_ADOPTED", "inner={} generation={} why={}",
                 to_string(spec.inner), spec.generation, log::quoted(to_string(fits.error())));
        close_tunnel(device, slot);
        device.tunnels.erase(slot);
        static_cast<void>(host_.links.set_alias(device.index, write_alias(device.tunnels)));
        return;
    }
    const auto older = tunnels_.find(spec.inner);
    if (older != tunnels_.end()) leave(older->second);
    tunnels_.insert_or_assign(spec.inner, tunnel);
}

Result<std::vector<std::string>> KernelEndpoint::take_down() {
    housekeeper_.reset();
    const std::lock_guard lock(mutex_);
    const auto links = host_.links.list();
    if (!links) return tl::unexpected(links.error());
    std::vector<std::string> removed;
    Result<void> first_failure;
    const auto note = [&](const Result<void>& done) {
        if (!done && first_failure) first_failure = done;
    };
    for (const auto& link : *links) {
        const bool is_own =
            std::any_of(carried_.begin(), carried_.end(),
                        [&](const Carried& carried) { return carried.device == link.name; });
        if ((is_own && link.alias.starts_with(own_mark)) ||
            (is_tunnel_device(link.name) && is_ours(link))) {
            note(host_.links.remove(link.index));
            removed.push_back("device " + link.name);
        }
    }
    // Without a device of ours the routes are another plane's.
    if (removed.empty()) return removed;
    for (const auto& carried : carried_) {
        for (const auto& pool : carried.pools) {
            note(host_.netlink.remove_route(blackhole_of(pool)));
        }
    }
    tunnels_.clear();
    devices_.clear();
    if (!first_failure) return tl::unexpected(first_failure.error());
    return removed;
}

}  // namespace dstm::dataplane
