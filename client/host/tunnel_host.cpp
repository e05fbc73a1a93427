// Record first, then change; undo in the reverse order.
#include "client/host/tunnel_host.hpp"

#include <limits>
#include <utility>

#include "client/host/tun_device.hpp"
#include "common/log/log.hpp"

namespace dstm::client {

TunnelHost::TunnelHost(TunnelHostConfig config, StateDirectory& state, dataplane::Netlink netlink,
                       MakePlane make_plane)
    : config_(std::move(config)),
      state_(state),
      netlink_(std::move(netlink)),
      make_plane_(std::move(make_plane)) {}

TunnelHost::~TunnelHost() {
    if (!plane_) return;
    // Only reached when the engine had no chance to stop in order.
    (void)clear_routes();
    plane_.reset();
    state_.forget();
}

void TunnelHost::recover() {
    const auto left = state_.recorded();
    if (!left) return;
    log_info("CLIENT_RECOVERING", "device={} address={}", log::quoted(left->device),
             left->inner.to_string());
    if (const auto index = netlink_.interface_index(left->device)) {
        for (const auto& destination : left->routes) {
            auto route = route_of(destination, *index);
            route.metric = left->route_metric;
            route.source = left->inner;
            if (const auto removed = netlink_.remove_route(route); !removed) {
                log_warning("CLIENT_CLEANUP_FAILED", "{}", to_string(removed.error()));
            }
        }
        if (const auto removed = remove_tun_device(left->device); !removed) {
            log_warning("CLIENT_CLEANUP_FAILED", "{}", to_string(removed.error()));
            return;
        }
    }
    state_.forget();
}

Result<void> TunnelHost::install(const TunnelSpec& spec) {
    const auto* inner = std::get_if<Ipv4Address>(&spec.inner);
    if (inner == nullptr) return fail(ErrorCode::invalid, "v4v6 tunnels have an IPv4 inside");
    const HostChanges changes{config_.device, *inner, config_.routes, config_.route_metric};
    if (const auto recorded = state_.record(changes); !recorded) return recorded;
    inner_ = *inner;
    if (!plane_) {
        auto plane = make_plane_();
        if (!plane) {
            state_.forget();
            return tl::unexpected(plane.error());
        }
        plane_ = std::move(*plane);
    }
    return plane_->add(spec);
}

dataplane::Route TunnelHost::route_of(const Ipv4Prefix& destination, int device) const {
    dataplane::Route route;
    route.destination = destination;
    route.interface_index = device;
    route.source = inner_;
    route.metric = config_.route_metric;
    return route;
}

Result<void> TunnelHost::set_routes() {
    const auto device = netlink_.interface_index(config_.device);
    if (!device) return tl::unexpected(device.error());
    routes_set_.clear();
    for (const auto& destination : config_.routes) {
        const auto added = netlink_.add_route(route_of(destination, *device));
        if (added) {
            routes_set_.push_back(destination);
        } else if (added.error().code == ErrorCode::conflict) {
            // Somebody else's route of the same rank: the tunnel steps aside.
            log_warning("CLIENT_ROUTE_SKIPPED", "{}: {}", destination.to_string(),
                        added.error().context);
        } else {
            return added;
        }
    }
    return {};
}

Result<void> TunnelHost::clear_routes() {
    const auto routes = std::exchange(routes_set_, {});
    const auto device = netlink_.interface_index(config_.device);
    if (!device) return {};  // the routes went with it
    Result<void> first_failure;
    for (const auto& destination : routes) {
        const auto removed = netlink_.remove_route(route_of(destination, *device));
        if (!removed && first_failure) first_failure = removed;
    }
    return first_failure;
}

Result<void> TunnelHost::remove(const IpAddress& inner) {
    if (!plane_) return {};
    const auto removed = plane_->remove(inner, std::numeric_limits<Generation>::max());
    plane_.reset();
    state_.forget();
    const bool is_gone = removed || removed.error().code == ErrorCode::not_found;
    return is_gone ? Result<void>{} : removed;
}

std::optional<dataplane::TunnelCounters> TunnelHost::counters() const {
    if (!plane_) return std::nullopt;
    const auto tunnels = plane_->list();
    if (tunnels.empty()) return std::nullopt;
    return tunnels.front().counters;
}

}  // namespace dstm::client
