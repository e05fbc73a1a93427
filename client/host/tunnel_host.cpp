// Record first, then change; undo in the reverse order.
#include "client/host/tunnel_host.hpp"

#include <limits>
#include <utility>

#include "client/host/tun_device.hpp"
#include "common/dataplane/kernel_plane.hpp"
#include "common/dataplane/path_mtu.hpp"
#include "common/log/log.hpp"

namespace dstm::client {

namespace {

void log_if_failed(const Result<void>& undone) {
    if (!undone) log_warning("CLIENT_CLEANUP_FAILED", "{}", to_string(undone.error()));
}

}  // namespace

TunnelHost::TunnelHost(TunnelHostConfig config, StateDirectory& state, dataplane::Netlink netlink,
                       MakePlane make_plane)
    : config_(std::move(config)),
      state_(state),
      netlink_(std::move(netlink)),
      make_plane_(std::move(make_plane)),
      inside_network_(netlink_, config_.inside) {}

TunnelHost::~TunnelHost() {
    if (!plane_) return;
    // Only reached when the engine had no chance to stop in order.
    (void)clear_routes();
    leave_inside();
    plane_.reset();
    state_.forget();
}

void TunnelHost::recover() {
    const auto left = state_.recorded();
    if (!left) return;
    log_info("CLIENT_RECOVERING", "device={} address={}", log::quoted(left->device),
             to_string(left->inner));
    if (left->inside) log_if_failed(inside_network_.undo(*left->inside));
    if (const auto index = netlink_.interface_index(left->device)) {
        for (const auto& destination : left->routes) {
            auto route = route_of(destination, *index);
            route.metric = left->route_metric;
            route.source = left->inner;
            log_if_failed(netlink_.remove_route(route));
        }
        const bool was_kernels = dataplane::remove_kernel_client(left->device).value_or(false);
        const auto removed = was_kernels ? Result<void>{} : remove_tun_device(left->device);
        if (!removed) {
            log_if_failed(removed);
            return;
        }
    }
    state_.forget();
}

Result<void> TunnelHost::install(const TunnelSpec& spec) {
    if (inside_ && spec.inner_prefix != inside_->prefix) leave_inside();
    // What is planned while it is in force would say that the host had always been so.
    if (!inside_) inside_ = inside_network_.plan(spec.inner_prefix, config_.device);
    const HostChanges changes{config_.device, spec.inner, config_.routes, config_.route_metric,
                              inside_};
    if (const auto recorded = state_.record(changes); !recorded) return recorded;
    inner_ = spec.inner;
    if (!plane_) {
        auto plane = make_plane_();
        if (!plane) {
            inside_.reset();
            state_.forget();
            return tl::unexpected(plane.error());
        }
        plane_ = std::move(*plane);
    }
    return plane_->add(spec);
}

dataplane::Route TunnelHost::route_of(const dataplane::IpPrefix& destination, int device) const {
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
        if (auto set = set_route(destination, *device); !set) return set;
    }
    if (!inside_) return {};
    // This host's own way works without its inside, which may appear later; a renewal tries again.
    if (const auto applied = inside_network_.apply(*inside_, config_.device); !applied) {
        log_warning("CLIENT_PREFIX_FAILED", "{}: {}", inside_->prefix.to_string(),
                    to_string(applied.error()));
    }
    return {};
}

Result<void> TunnelHost::set_route(const dataplane::IpPrefix& destination, int device) {
    const auto added = netlink_.add_route(route_of(destination, device));
    if (added) {
        routes_set_.push_back(destination);
        return {};
    }
    if (added.error().code != ErrorCode::conflict) return added;
    // Somebody else's route of the same rank: the tunnel steps aside.
    log_warning("CLIENT_ROUTE_SKIPPED", "{}: {}", to_string(destination), added.error().context);
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

void TunnelHost::leave_inside() {
    if (!inside_) return;
    log_if_failed(inside_network_.undo(*inside_));
    inside_.reset();
}

Result<void> TunnelHost::remove(const IpAddress& inner) {
    if (!plane_) return {};
    leave_inside();
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

std::optional<std::uint32_t> TunnelHost::mtu() {
    const auto mtu = netlink_.interface_index(config_.device).and_then([this](int index) {
        return netlink_.interface_mtu(index);
    });
    return mtu ? std::optional(*mtu) : std::nullopt;
}

Result<void> TunnelHost::use_smallest_mtu() {
    if (!plane_) return {};
    const auto tunnels = plane_->list();
    if (tunnels.empty()) return {};
    return plane_->lower_path_mtu(dataplane::path_mtu_floor(tunnels.front().spec.type));
}

}  // namespace dstm::client
