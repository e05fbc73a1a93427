// The tun plane's tunnels, and what it knows of the path to each.
#include "common/dataplane/tunnel_table.hpp"

#include <string>
#include <utility>

#include "common/base/assert.hpp"

namespace dstm::dataplane {
namespace {

tl::unexpected<Error> fail_newer(const Tunnel& standing) {
    return fail(ErrorCode::conflict, "tunnel " + standing.inner.to_string() + " has generation " +
                                         std::to_string(standing.spec.generation));
}

}  // namespace

Result<void> TunnelTable::check_put(const TunnelSpec& spec) const {
    const auto* standing = find(std::get<Ipv4Address>(spec.inner));
    if (standing != nullptr && standing->spec.generation > spec.generation) {
        return fail_newer(*standing);
    }
    if (standing == nullptr && tunnels_.size() >= tunnels_max_) {
        return fail(ErrorCode::exhausted,
                    "the table is full with " + std::to_string(tunnels_max_) + " tunnels");
    }
    return {};
}

void TunnelTable::put(const TunnelSpec& spec, const Ipv6Address& far_end, const PathMtu& path_mtu,
                      Instant now) {
    const auto inner = std::get<Ipv4Address>(spec.inner);
    auto* standing = find(inner);
    auto* const entered = hold(far_end, path_mtu, now);
    if (standing == nullptr) {
        tunnels_.emplace(inner, Tunnel{spec, {}, inner, entered});
        return;
    }
    auto* const left = std::exchange(standing->far_end, entered);
    standing->spec = spec;
    release(left);
}

Result<void> TunnelTable::remove(Ipv4Address inner, Generation up_to) {
    const auto found = tunnels_.find(inner);
    if (found == tunnels_.end()) {
        return fail(ErrorCode::not_found, "no tunnel for " + inner.to_string());
    }
    if (found->second.spec.generation > up_to) return fail_newer(found->second);
    release(found->second.far_end);
    tunnels_.erase(found);
    return {};
}

Tunnel* TunnelTable::find(Ipv4Address inner) {
    const auto found = tunnels_.find(inner);
    return found == tunnels_.end() ? nullptr : &found->second;
}

const Tunnel* TunnelTable::find(Ipv4Address inner) const {
    const auto found = tunnels_.find(inner);
    return found == tunnels_.end() ? nullptr : &found->second;
}

FarEnd* TunnelTable::find_far_end(const Ipv6Address& address) {
    const auto found = far_ends_.find(address);
    return found == far_ends_.end() ? nullptr : &found->second;
}

Tunnel* TunnelTable::any() { return tunnels_.empty() ? nullptr : &tunnels_.begin()->second; }

std::vector<InstalledTunnel> TunnelTable::list() const {
    std::vector<InstalledTunnel> out;
    out.reserve(tunnels_.size());
    for (const auto& [inner, tunnel] : tunnels_) out.push_back({tunnel.spec, tunnel.counters});
    return out;
}

FarEnd* TunnelTable::hold(const Ipv6Address& address, const PathMtu& path_mtu, Instant now) {
    auto& far_end = far_ends_.try_emplace(address, FarEnd{address, path_mtu, now, 0}).first->second;
    ++far_end.tunnels;
    return &far_end;
}

void TunnelTable::release(FarEnd* far_end) {
    DSTM_ASSERT(far_end->tunnels > 0);
    if (--far_end->tunnels == 0) far_ends_.erase(Ipv6Address(far_end->address));
}

}  // namespace dstm::dataplane
