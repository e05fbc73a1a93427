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
      routes_(netlink_),
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
    // Not again at a renewal or a move, which waits for the disk otherwise.
    if (recorded_ != changes) {
        if (const auto recorded = state_.record(changes); !recorded) return recorded;
        recorded_ = changes;
    }
    inner_ = spec.inner;
    if (!plane_) {
        auto plane = make_plane_();
        if (!plane) {
            inside_.reset();
            forget();
            return tl::unexpected(plane.error());
        }
        plane_ = std::move(*plane);
    }
    return plane_->add(spec);
}

void TunnelHost::forget() {
    state_.forget();
    recorded_.reset();
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
    std::vector<dataplane::Route> routes;
    for (const auto& destination : config_.routes) {
        routes.push_back(route_of(destination, *device));
    }
    if (auto set = routes_.set(routes); !set) return set;
    inside_failed_ = false;
    if (inside_) apply_inside();
    return {};
}

// This host's own way works without its inside, which may appear later.
void TunnelHost::apply_inside() {
    const auto applied = inside_network_.apply(*inside_, config_.device);
    const bool has_failed_before = std::exchange(inside_failed_, !applied);
    if (applied || has_failed_before) return;
    log_warning("CLIENT_PREFIX_FAILED", "{}: {}", inside_->prefix.to_string(),
                to_string(applied.error()));
}

bool TunnelHost::restore() {
    if (routes_.is_empty()) return false;
    const bool has_address_again = restore_address();
    const bool has_routes_again = routes_.restore();
    const bool lacks_inside = inside_ && inside_network_.is_lacking(*inside_);
    if (lacks_inside) apply_inside();
    return has_address_again || has_routes_again || (lacks_inside && !inside_failed_);
}

// The kernel lets no route have a source that the host does not have.
bool TunnelHost::restore_address() {
    const auto holder = netlink_.interface_of_address(inner_);
    if (holder || holder.error().code != ErrorCode::not_found) return false;
    const auto device = netlink_.interface_index(config_.device);
    const std::uint8_t length = std::holds_alternative<Ipv4Address>(inner_) ? 32 : 128;
    return device && netlink_.add_address(*device, inner_, length);
}

Result<void> TunnelHost::clear_routes() { return routes_.clear(); }

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
    forget();
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
