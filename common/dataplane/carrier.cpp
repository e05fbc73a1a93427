// What the tun plane does to a packet, in both directions; no I/O.
#include "common/dataplane/carrier.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "common/dataplane/transport.hpp"

namespace dstm::dataplane {
namespace {

// How long the host's own word on the MTU of a route is believed.
constexpr Duration link_mtu_lifetime = std::chrono::seconds(10);
constexpr std::uint32_t tcp_header_size = 20;
constexpr std::uint8_t icmp_redirect = 5;
constexpr std::uint16_t tsp_port = 3653;  // RFC 5572 s4.4.1.2

Version version_inside(TunnelType type) {
    return type == TunnelType::v4v6 ? Version::ipv4 : Version::ipv6;
}

template <class Family>
bool are(const IpAddress& one, const IpAddress& other) {
    return std::holds_alternative<Family>(one) && std::holds_alternative<Family>(other);
}

// That the families and ports are those of the type, and the addresses can be those of hosts.
Result<void> check_addresses(const TunnelSpec& spec) {
    const auto& client = spec.outer_client.address;
    const bool is_ipv4_inside = std::holds_alternative<Ipv4Address>(spec.inner);
    const bool families_fit = spec.type == TunnelType::v4v6
                                  ? is_ipv4_inside && are<Ipv6Address>(client, spec.outer_server)
                                  : !is_ipv4_inside && are<Ipv4Address>(client, spec.outer_server);
    if (!families_fit || (is_ipv4_inside && spec.inner_prefix)) {
        return fail(ErrorCode::invalid,
                    std::string(to_string(spec.type)) + " has other families of addresses");
    }
    if ((spec.outer_client.port != 0) != (spec.type == TunnelType::v6udpv4)) {
        return fail(ErrorCode::invalid, "a client has a port when it sends in UDP, and only then");
    }
    if (!is_host(spec.inner)) {
        return fail(ErrorCode::invalid, to_string(spec.inner) + " is no host's address");
    }
    if (!is_host(client) || !is_host(spec.outer_server) || client == spec.outer_server) {
        return fail(ErrorCode::invalid, "no tunnel can go from " + to_string(client) + " to " +
                                            to_string(spec.outer_server));
    }
    return {};
}

bool is_redirect(ConstBytes packet, const InnerHeader& header) {
    return header.protocol == protocol_icmp && header.is_first_fragment &&
           header.total_length > header.transport_offset &&
           load8(packet, header.transport_offset) == icmp_redirect;
}

template <class Prefixes, class Address>
bool any_contains(const Prefixes& pools, const Address& address) {
    return std::any_of(pools.begin(), pools.end(),
                       [&](const auto& pool) { return pool.contains(address); });
}

void count_up(TunnelCounters& counters, const WireSize& size, WallTime now) {
    counters.packets_up += size.packets;
    counters.bytes_up += size.bytes;
    counters.last_seen_up = now;
}

void count_down(TunnelCounters& counters, std::size_t size, WallTime now) {
    ++counters.packets_down;
    counters.bytes_down += size;
    counters.last_seen_down = now;
}

}  // namespace

Carrier::Carrier(const TunPlaneConfig& config, LinkMtu link_mtu)
    : config_(config),
      link_mtu_(std::move(link_mtu)),
      tunnels_(is_client() ? 1 : config.tunnels_max) {}

bool Carrier::carries(TunnelType type) const {
    switch (type) {
        case TunnelType::v4v6: return true;
        case TunnelType::v6v4: return is_client() || config_.outer_ipv4;
        case TunnelType::v6udpv4:
            return is_client() ? config_.udp_socket != nullptr : config_.udp_port != 0;
    }
    return false;
}

Result<void> Carrier::check_add(const TunnelSpec& spec) const {
    if (!carries(spec.type)) {
        return fail(ErrorCode::refused, std::string(to_string(spec.type)) + " is not carried here");
    }
    if (auto checked = check_addresses(spec); !checked) return checked;
    if (!is_client()) {
        if (auto checked = check_at_endpoint(spec); !checked) return checked;
    }
    return tunnels_.check_put(spec);
}

Result<void> Carrier::check_at_endpoint(const TunnelSpec& spec) const {
    const auto own = spec.type == TunnelType::v4v6 ? IpAddress(config_.outer)
                                                   : IpAddress(config_.outer_ipv4.value());
    if (spec.outer_server != own) {
        return fail(ErrorCode::invalid, to_string(spec.outer_server) + " is not this endpoint, " +
                                            to_string(own) + " is");
    }
    if (is_own(spec.inner) || !is_in_pools(spec.inner)) {
        return fail(ErrorCode::invalid, to_string(spec.inner) + " is in none of the pools");
    }
    if (const auto& prefix = spec.inner_prefix) {
        const bool is_taken = config_.inner_ipv6 && prefix->contains(*config_.inner_ipv6);
        const auto holds = [&](const Ipv6Prefix& pool) {
            return pool.length <= prefix->length && pool.contains(prefix->address);
        };
        const auto& pools = config_.pools_ipv6;
        const bool allowed =
            config_.outside_pools || std::any_of(pools.begin(), pools.end(), holds);
        if (is_taken || !allowed) {
            return fail(ErrorCode::invalid, prefix->to_string() + " is in none of the pools");
        }
    }
    return {};
}

Result<void> Carrier::add(const TunnelSpec& spec) {
    if (auto checked = check_add(spec); !checked) return checked;
    const auto peer = peer_of(spec);
    const auto* before = tunnels_.find(spec.inner);
    const bool moved = before != nullptr && before->spec.outer_client != spec.outer_client;
    // The kernel is asked when the first packet goes there: it takes longer than all the rest, and
    // a whole table may come at once.
    const PathMtu unasked(0, path_mtu_floor(spec.type));
    tunnels_.put(spec, peer, unasked);
    if (!is_client() || !moved) return {};
    // It may have the same far end, and another path to it.
    auto& far_end = *tunnels_.find_far_end(peer);
    far_end.path_mtu = unasked;
    far_end.link_checked_at.reset();
    return {};
}

Result<void> Carrier::remove(const IpAddress& inner, Generation up_to) {
    return tunnels_.remove(inner, up_to);
}

UpVerdict Carrier::up(const Peer& from, std::uint8_t traffic_class, MutableBytes payload, Now now,
                      SegmentSize segment_size) {
    const auto header = read_inner_packet(payload, version_inside(from.type));
    const auto size = header ? wire_size(payload, *header, segment_size) : WireSize{};
    const auto dropped = [&](Drop drop) {
        drops_.count(drop, size.packets);
        return UpVerdict{drop, 0};
    };
    if (!header) return dropped(header.error());
    if (const auto drop = check_scope(payload, *header)) return dropped(*drop);
    const auto checked =
        is_client() ? check_up_at_client(*header, from) : check_up_at_endpoint(*header, from);
    if (!checked) return dropped(checked.error());
    auto& tunnel = **checked;
    if (now.wall >= tunnel.spec.expires_at) return dropped(Drop::expired);
    if (!is_host(header->destination)) return dropped(Drop::bad_destination);
    const auto ecn = ecn_leaving_tunnel(header->traffic_class, traffic_class);
    if (!ecn) return dropped(Drop::ecn_congested);

    const auto packet = payload.first(header->total_length);
    set_ecn(packet, header->version, *ecn);
    clamp(packet, *header, path_mtu(*tunnel.far_end, now.instant) - overhead_of(from.type));
    count_up(tunnel.counters, size, now.wall);
    UpVerdict verdict{std::nullopt, packet.size()};
    if (!is_client() && is_own(header->destination)) {
        hear_of_path(packet, *header, tunnel, now.instant, verdict);
    }
    return verdict;
}

// A client whose probes found that large packets get lost says so with an ordinary ICMP error about
// one of the endpoint's own, inside the tunnel, where nobody filters it. It can only be about the
// path to that client, and the kernel, to which it is addressed, hears of it as well.
void Carrier::hear_of_path(ConstBytes packet, const InnerHeader& header, Tunnel& tunnel,
                           Instant now, UpVerdict& verdict) {
    const auto too_big = read_too_big(packet, header);
    if (!too_big) return;
    const auto quoted = read_inner_header(too_big->quoted, header.version);
    if (!quoted || !is_own(quoted->source) || tunnels_.holder_of(quoted->destination) != &tunnel) {
        return;
    }
    auto& far_end = *tunnel.far_end;
    const auto mtu = too_big->mtu + overhead_of(far_end.peer.type);
    verdict.path_mtu_changed = lower_path(far_end, mtu, now);
    verdict.path_mtu = far_end.path_mtu.value(now);
}

DownVerdict Carrier::down(MutableBytes bytes, Now now) {
    const auto dropped = [this](Drop drop) {
        drops_.count(drop);
        DownVerdict verdict;
        verdict.drop = drop;
        return verdict;
    };
    const auto header = read_inner_packet(bytes, version_of(bytes));
    if (!header) return dropped(header.error());
    const auto packet = bytes.first(header->total_length);
    if (const auto drop = check_scope(packet, *header)) return dropped(*drop);
    const auto checked =
        is_client() ? check_down_at_client(*header) : check_down_at_endpoint(packet, *header);
    if (!checked) return dropped(checked.error());
    auto& tunnel = **checked;
    if (now.wall >= tunnel.spec.expires_at) return dropped(Drop::expired);

    const auto& peer = tunnel.far_end->peer;
    const auto inner_mtu = path_mtu(*tunnel.far_end, now.instant) - overhead_of(peer.type);
    // RFC 2473 s7.2: without DF the outer packet is fragmented, by the kernel as it is sent.
    if (packet.size() > inner_mtu && header->dont_fragment) {
        auto verdict = dropped(Drop::too_big);
        verdict.answer = answer(IcmpKind::too_big, inner_mtu, packet, *header, tunnel);
        return verdict;
    }
    clamp(packet, *header, inner_mtu);
    count_down(tunnel.counters, packet.size(), now.wall);
    // RFC 2983 s3, RFC 6040 s4.1: the outer DSCP and ECN are copies of the inner ones.
    // What a probe has found the kernel does not know.
    const auto fragment_to = packet.size() > inner_mtu ? inner_mtu + overhead_of(peer.type) : 0;
    return DownVerdict{std::nullopt, packet.size(), peer, header->traffic_class, fragment_to, {}};
}

RelayVerdict Carrier::relay(const PathError& error, Now now) {
    const auto ignored = [this] {
        drops_.count(Drop::icmp_ignored);
        return RelayVerdict{Drop::icmp_ignored, false, 0, {}};
    };
    if (error.kind == PathError::Kind::other) return ignored();
    // The quote must be of a packet that went into one of our tunnels: who cannot see our packets
    // cannot forge it.
    const auto header = read_inner_header(error.quoted, version_inside(error.peer.type));
    if (!header) return relay_without_quote(error, now);
    const auto* tunnel = tunnels_.holder_of(is_client() ? header->source : header->destination);
    if (tunnel == nullptr || tunnel->far_end->peer != error.peer) return ignored();
    if (now.wall >= tunnel->spec.expires_at) return ignored();

    RelayVerdict verdict;
    if (error.kind == PathError::Kind::unreachable) {
        verdict.answer = answer(IcmpKind::host_unreachable, 0, error.quoted, *header, *tunnel);
        return verdict;
    }
    auto& path = *tunnel->far_end;
    verdict.path_mtu_changed = lower_path(path, error.mtu, now.instant);
    verdict.path_mtu = path.path_mtu.value(now.instant);
    const auto inner_mtu = verdict.path_mtu - overhead_of(error.peer.type);
    // RFC 2473 s7.2, s8.3, RFC 4213 s3.2.2: what may be fragmented outside will be from now on.
    if (header->dont_fragment && header->total_length > inner_mtu) {
        verdict.answer = answer(IcmpKind::too_big, inner_mtu, error.quoted, *header, *tunnel);
    }
    return verdict;
}

// Routers of IPv4 need not quote more than 8 bytes (RFC 792): too little for an answer, but the
// path is known all the same (RFC 4213 s3.4).
RelayVerdict Carrier::relay_without_quote(const PathError& error, Now now) {
    auto* far_end = tunnels_.find_far_end(error.peer);
    const bool may_be_short = error.peer.type != TunnelType::v4v6 && error.quoted.size() >= 8 &&
                              error.quoted.size() < ipv6_header_size;
    if (error.kind != PathError::Kind::too_big || !may_be_short || far_end == nullptr) {
        drops_.count(Drop::icmp_ignored);
        return RelayVerdict{Drop::icmp_ignored, false, 0, {}};
    }
    RelayVerdict verdict;
    verdict.path_mtu_changed = lower_path(*far_end, error.mtu, now.instant);
    verdict.path_mtu = far_end->path_mtu.value(now.instant);
    return verdict;
}

std::optional<ClientPath> Carrier::client_path(Now now) {
    auto* tunnel = tunnels_.any();
    if (tunnel == nullptr) return std::nullopt;
    const auto mtu = path_mtu(*tunnel->far_end, now.instant);
    const auto type = tunnel->spec.type;
    return ClientPath{mtu, mtu - overhead_of(type), path_mtu_floor(type) - overhead_of(type)};
}

void Carrier::lower_client_path(std::uint32_t outer_mtu, Now now) {
    auto* tunnel = tunnels_.any();
    if (tunnel != nullptr) (void)lower_path(*tunnel->far_end, outer_mtu, now.instant);
}

bool Carrier::is_in_pools(const IpAddress& inner) const {
    if (config_.outside_pools) return true;
    if (const auto* v4 = std::get_if<Ipv4Address>(&inner)) return any_contains(config_.pools, *v4);
    return any_contains(config_.pools_ipv6, std::get<Ipv6Address>(inner));
}

bool Carrier::is_own(const IpAddress& inner) const {
    if (const auto* v4 = std::get_if<Ipv4Address>(&inner)) return config_.inner == *v4;
    return config_.inner_ipv6 == std::get<Ipv6Address>(inner);
}

Peer Carrier::peer_of(const TunnelSpec& spec) const {
    if (!is_client()) return {spec.type, spec.outer_client};
    const auto port = config_.udp_port != 0 ? config_.udp_port : tsp_port;
    return {spec.type,
            {spec.outer_server, spec.type == TunnelType::v6udpv4 ? port : std::uint16_t{0}}};
}

Carrier::Checked Carrier::check_up_at_endpoint(const InnerHeader& header, const Peer& from) {
    if (!is_host(header.source) || is_own(header.source)) {
        return tl::unexpected(Drop::bad_source);
    }
    auto* tunnel = tunnels_.holder_of(header.source);
    if (tunnel != nullptr && tunnel->far_end->peer == from) return tunnel;
    const bool is_known = tunnels_.find_far_end(from) != nullptr;
    if (tunnel == nullptr) {
        return tl::unexpected(is_known ? Drop::unknown_inner : Drop::unknown_outer);
    }
    return tl::unexpected(is_known ? Drop::spoofed_inner : Drop::spoofed_outer);
}

Carrier::Checked Carrier::check_up_at_client(const InnerHeader& header, const Peer& from) {
    if (tunnels_.find_far_end(from) == nullptr) return tl::unexpected(Drop::unknown_outer);
    if (!is_host(header.source) || tunnels_.holder_of(header.source) != nullptr) {
        return tl::unexpected(Drop::bad_source);
    }
    auto* tunnel = tunnels_.holder_of(header.destination);
    if (tunnel == nullptr) return tl::unexpected(Drop::bad_destination);
    return tunnel;
}

Carrier::Checked Carrier::check_down_at_endpoint(ConstBytes packet, const InnerHeader& header) {
    auto* tunnel = tunnels_.holder_of(header.destination);
    if (tunnel == nullptr) return tl::unexpected(Drop::no_tunnel);
    // A packet that came from a client passed the source check, so its source tells it.
    if (!config_.hairpin && tunnels_.holder_of(header.source) != nullptr) {
        return tl::unexpected(Drop::hairpin_off);
    }
    // The kernel sees a hairpin as a detour and would tell the client a shorter way; there is none.
    // Of IPv6 it cannot: the device has no link-local address to say so from.
    if (header.version == Version::ipv4 && is_own(header.source) && is_redirect(packet, header)) {
        return tl::unexpected(Drop::redirect);
    }
    return tunnel;
}

Carrier::Checked Carrier::check_down_at_client(const InnerHeader& header) {
    if (tunnels_.size() == 0) return tl::unexpected(Drop::no_tunnel);
    auto* tunnel = tunnels_.holder_of(header.source);
    if (tunnel == nullptr) return tl::unexpected(Drop::bad_source);
    if (!is_host(header.destination)) return tl::unexpected(Drop::bad_destination);
    return tunnel;
}

std::uint32_t Carrier::path_mtu(FarEnd& far_end, Instant now) {
    const auto& asked_at = far_end.link_checked_at;
    if (!asked_at || now - *asked_at >= link_mtu_lifetime) {
        far_end.path_mtu.set_link(link_mtu_(far_end.peer));
        far_end.link_checked_at = now;
    }
    return far_end.path_mtu.value(now);
}

bool Carrier::lower_path(FarEnd& far_end, std::uint32_t mtu, Instant now) {
    // An IPv4 path may be too narrow for IPv6's minimum, and some routers do not say how narrow.
    const bool is_ipv4 = far_end.peer.type != TunnelType::v4v6;
    const auto lowest = is_ipv4 ? path_mtu_floor(far_end.peer.type) : 0;
    static_cast<void>(path_mtu(far_end, now));
    return far_end.path_mtu.lower(std::max(mtu, lowest), now);
}

void Carrier::clamp(MutableBytes packet, const InnerHeader& header, std::uint32_t inner_mtu) const {
    if (!config_.mss_clamp) return;
    const auto ip_header_size =
        header.version == Version::ipv4 ? ipv4_header_size_min : ipv6_header_size;
    const auto mss = inner_mtu - static_cast<std::uint32_t>(ip_header_size) - tcp_header_size;
    clamp_mss(packet, header, static_cast<std::uint16_t>(std::min(mss, std::uint32_t{0xffff})));
}

std::vector<std::uint8_t> Carrier::answer(IcmpKind kind, std::uint32_t inner_mtu, ConstBytes packet,
                                          const InnerHeader& header, const Tunnel& tunnel) const {
    std::optional<IpAddress> source;
    if (is_client())
        source = tunnel.spec.inner;
    else if (header.version == Version::ipv6)
        source = config_.inner_ipv6;
    else
        source = config_.inner;
    if (!source || !may_be_answered(packet, header)) return {};
    const auto mtu = std::min(inner_mtu, std::uint32_t{0xffff});
    return make_icmp_error(kind, static_cast<std::uint16_t>(mtu), *source, packet, header);
}

}  // namespace dstm::dataplane
