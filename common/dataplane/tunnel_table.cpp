// The tun plane's tunnels, and what it knows of the path to each.
#include "common/dataplane/tunnel_table.hpp"

#include <string>
#include <utility>

#include "common/base/assert.hpp"
#include "common/dataplane/generation.hpp"

namespace dstm::dataplane {
namespace {

std::size_t joined(std::size_t one, std::size_t other) {
    return one ^ (other + 0x9e3779b97f4a7c15u + (one << 6) + (one >> 2));
}

Ipv6Prefix prefix_of(const Ipv6Address& address, std::uint8_t length) {
    auto bytes = address.bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const int bits = length - static_cast<int>(8 * i);
        if (bits >= 8) continue;
        bytes[i] = bits <= 0 ? 0 : static_cast<std::uint8_t>(bytes[i] & (0xff << (8 - bits)));
    }
    return {Ipv6Address(bytes), length};
}

}  // namespace

std::size_t PeerHash::operator()(const Peer& peer) const noexcept {
    const auto where = std::hash<IpAddress>{}(peer.endpoint.address);
    return joined(where, static_cast<std::size_t>(peer.type) << 16 | peer.endpoint.port);
}

std::size_t PrefixHash::operator()(const Ipv6Prefix& prefix) const noexcept {
    return joined(std::hash<Ipv6Address>{}(prefix.address), prefix.length);
}

Result<void> TunnelTable::check_put(const TunnelSpec& spec) const {
    const auto* standing = find(spec.inner);
    if (standing != nullptr && standing->spec.generation > spec.generation) {
        return fail_newer(standing->spec.inner, standing->spec.generation);
    }
    if (standing == nullptr && tunnels_.size() >= tunnels_max_) {
        return fail(ErrorCode::exhausted,
                    "the table is full with " + std::to_string(tunnels_max_) + " tunnels");
    }
    return {};
}

void TunnelTable::put(const TunnelSpec& spec, const Peer& peer, const PathMtu& path_mtu) {
    const auto [at, is_new] = tunnels_.try_emplace(spec.inner);
    auto& tunnel = at->second;
    give_up_prefix(tunnel);
    tunnel.spec = spec;
    claim_prefix(tunnel);
    if (!is_new && tunnel.far_end->peer == peer) return;
    auto* const left = std::exchange(tunnel.far_end, hold(peer, path_mtu));
    if (left != nullptr) release(left);
}

Result<void> TunnelTable::remove(const IpAddress& inner, Generation up_to) {
    const auto found = tunnels_.find(inner);
    if (found == tunnels_.end()) {
        return fail(ErrorCode::not_found, "no tunnel for " + to_string(inner));
    }
    if (const auto standing = found->second.spec.generation; standing > up_to) {
        return fail_newer(inner, standing);
    }
    give_up_prefix(found->second);
    release(found->second.far_end);
    tunnels_.erase(found);
    return {};
}

Tunnel* TunnelTable::find(const IpAddress& inner) {
    const auto found = tunnels_.find(inner);
    return found == tunnels_.end() ? nullptr : &found->second;
}

const Tunnel* TunnelTable::find(const IpAddress& inner) const {
    const auto found = tunnels_.find(inner);
    return found == tunnels_.end() ? nullptr : &found->second;
}

Tunnel* TunnelTable::holder_of(const IpAddress& address) {
    if (auto* const tunnel = find(address)) return tunnel;
    const auto* v6 = std::get_if<Ipv6Address>(&address);
    if (v6 == nullptr) return nullptr;
    for (const auto& [length, count] : prefix_lengths_) {
        const auto found = prefixes_.find(prefix_of(*v6, length));
        if (found != prefixes_.end()) return found->second;
    }
    return nullptr;
}

FarEnd* TunnelTable::find_far_end(const Peer& peer) {
    const auto found = far_ends_.find(peer);
    return found == far_ends_.end() ? nullptr : &found->second;
}

Tunnel* TunnelTable::any() { return tunnels_.empty() ? nullptr : &tunnels_.begin()->second; }

std::vector<InstalledTunnel> TunnelTable::list() const {
    std::vector<InstalledTunnel> out;
    out.reserve(tunnels_.size());
    for (const auto& [inner, tunnel] : tunnels_) out.push_back({tunnel.spec, tunnel.counters});
    return out;
}

FarEnd* TunnelTable::hold(const Peer& peer, const PathMtu& path_mtu) {
    auto& far_end = far_ends_.try_emplace(peer, FarEnd{peer, path_mtu, {}, 0}).first->second;
    ++far_end.tunnels;
    return &far_end;
}

void TunnelTable::release(FarEnd* far_end) {
    DSTM_ASSERT(far_end->tunnels > 0);
    if (--far_end->tunnels == 0) far_ends_.erase(Peer(far_end->peer));
}

void TunnelTable::claim_prefix(Tunnel& tunnel) {
    if (!tunnel.spec.inner_prefix) return;
    const auto [at, is_new] = prefixes_.insert_or_assign(*tunnel.spec.inner_prefix, &tunnel);
    if (is_new) ++prefix_lengths_[at->first.length];
}

void TunnelTable::give_up_prefix(const Tunnel& tunnel) {
    if (!tunnel.spec.inner_prefix) return;
    const auto found = prefixes_.find(*tunnel.spec.inner_prefix);
    if (found == prefixes_.end() || found->second != &tunnel) return;  // another's by now
    const auto length = prefix_lengths_.find(found->first.length);
    if (--length->second == 0) prefix_lengths_.erase(length);
    prefixes_.erase(found);
}

}  // namespace dstm::dataplane
