// What the tun plane does to a packet, in both directions; no I/O.
#include "common/dataplane/carrier.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace dstm::dataplane {
namespace {

// How long the host's own word on the MTU of a route is believed.
constexpr Duration link_mtu_lifetime = std::chrono::seconds(10);
// Between the MTU of the outer path and the MSS: outer header, inner IPv4 and TCP header.
constexpr std::uint32_t mss_overhead = outer_header_size + 20 + 20;

constexpr std::uint8_t icmp_redirect = 5;
// RFC 4443 s3
constexpr std::uint8_t icmpv6_unreachable = 1;
constexpr std::uint8_t icmpv6_packet_too_big = 2;
constexpr std::uint8_t icmpv6_time_exceeded = 3;
constexpr std::uint8_t icmpv6_parameter_problem = 4;
constexpr std::uint8_t code_hop_limit_exceeded = 0;

std::uint16_t mss_for(std::uint32_t path_mtu) {
    return static_cast<std::uint16_t>(std::min(path_mtu - mss_overhead, std::uint32_t{0xffff}));
}

// RFC 2473 s8.1: errors that say that the far end was not reached.
bool says_unreachable(const PathError& error) {
    switch (error.type) {
        case icmpv6_unreachable: return true;
        // The other code speaks of reassembly, at the far end, which thus was reached.
        case icmpv6_time_exceeded: return error.code == code_hop_limit_exceeded;
        case icmpv6_parameter_problem: return true;
        default: return false;
    }
}

bool is_redirect(ConstBytes packet, const InnerHeader& header) {
    return header.protocol == protocol_icmp && header.is_first_fragment &&
           header.total_length > header.header_size &&
           load8(packet, header.header_size) == icmp_redirect;
}

void count_up(TunnelCounters& counters, std::size_t size, WallTime now) {
    ++counters.packets_up;
    counters.bytes_up += size;
    counters.last_seen_up = now;
}

void count_down(TunnelCounters& counters, std::size_t size) {
    ++counters.packets_down;
    counters.bytes_down += size;
}

}  // namespace

Carrier::Carrier(const TunPlaneConfig& config, LinkMtu link_mtu)
    : config_(config),
      link_mtu_(std::move(link_mtu)),
      tunnels_(is_client() ? 1 : config.tunnels_max) {}

Result<void> Carrier::check_add(const TunnelSpec& spec) const {
    // Another encapsulation stands beside this one with its own socket, table and rules.
    if (spec.type != TunnelType::v4v6) {
        return fail(ErrorCode::refused,
                    "the tun data plane does not carry " + std::string(to_string(spec.type)));
    }
    if (auto checked = check_addresses(spec); !checked) return checked;
    return tunnels_.check_put(spec);
}

Result<void> Carrier::check_addresses(const TunnelSpec& spec) const {
    const auto* inner = std::get_if<Ipv4Address>(&spec.inner);
    const auto* outer_client = std::get_if<Ipv6Address>(&spec.outer_client.address);
    const auto* outer_server = std::get_if<Ipv6Address>(&spec.outer_server);
    if (inner == nullptr || outer_client == nullptr || outer_server == nullptr) {
        return fail(ErrorCode::invalid, "v4v6 has an IPv4 address inside and IPv6 outside");
    }
    if (!inner->is_usable_unicast()) {
        return fail(ErrorCode::invalid, inner->to_string() + " is no host's address");
    }
    if (!outer_client->is_usable_unicast() || !outer_server->is_usable_unicast() ||
        *outer_client == *outer_server) {
        return fail(ErrorCode::invalid, "no tunnel can go from " + outer_client->to_string() +
                                            " to " + outer_server->to_string());
    }
    if (is_client()) return {};
    if (*outer_server != config_.outer) {
        return fail(ErrorCode::invalid, outer_server->to_string() + " is not this endpoint, " +
                                            config_.outer.to_string() + " is");
    }
    const auto holds = [&](const Ipv4Prefix& pool) { return pool.contains(*inner); };
    const bool allowed = config_.outside_pools ||
                         std::any_of(config_.pools.begin(), config_.pools.end(), holds);
    if (*inner == config_.inner || !allowed) {
        return fail(ErrorCode::invalid, inner->to_string() + " is in none of the pools");
    }
    return {};
}

Result<void> Carrier::add(const TunnelSpec& spec, Now now) {
    if (auto checked = check_add(spec); !checked) return checked;
    const auto far_end = far_end_of(spec);
    const PathMtu fresh(link_mtu_(far_end));
    const auto* before = tunnels_.find(std::get<Ipv4Address>(spec.inner));
    const bool moved = before != nullptr && before->spec.outer_client != spec.outer_client;
    tunnels_.put(spec, far_end, fresh, now.instant);
    // A client that moved has the same far end and another path to it.
    if (is_client() && moved) tunnels_.find_far_end(far_end)->path_mtu = fresh;
    return {};
}

Result<void> Carrier::remove(const IpAddress& inner, Generation up_to) {
    const auto* v4 = std::get_if<Ipv4Address>(&inner);
    if (v4 == nullptr) return fail(ErrorCode::not_found, "no tunnel for " + to_string(inner));
    return tunnels_.remove(*v4, up_to);
}

UpVerdict Carrier::up(const Ipv6Address& outer_source, std::uint8_t traffic_class,
                      MutableBytes payload, Now now) {
    const auto dropped = [this](Drop drop) {
        drops_.count(drop);
        return UpVerdict{drop, 0};
    };
    const auto header = read_inner_packet(payload);
    if (!header) return dropped(header.error());
    const auto checked = is_client() ? check_up_at_client(*header, outer_source)
                                     : check_up_at_endpoint(*header, outer_source);
    if (!checked) return dropped(checked.error());
    auto& tunnel = **checked;
    if (now.wall >= tunnel.spec.expires_at) return dropped(Drop::expired);
    if (!header->destination.is_usable_unicast()) return dropped(Drop::bad_destination);
    const auto ecn = ecn_leaving_tunnel(header->traffic_class, traffic_class);
    if (!ecn) return dropped(Drop::ecn_congested);

    const auto packet = payload.first(header->total_length);
    set_ecn(packet, *ecn);
    if (config_.mss_clamp) {
        clamp_mss(packet, *header, mss_for(path_mtu(*tunnel.far_end, now.instant)));
    }
    count_up(tunnel.counters, packet.size(), now.wall);
    return UpVerdict{std::nullopt, packet.size()};
}

DownVerdict Carrier::down(MutableBytes bytes, Now now) {
    const auto dropped = [this](Drop drop) {
        drops_.count(drop);
        DownVerdict verdict;
        verdict.drop = drop;
        return verdict;
    };
    const auto header = read_inner_packet(bytes);
    if (!header) return dropped(header.error());
    const auto packet = bytes.first(header->total_length);
    const auto checked =
        is_client() ? check_down_at_client(*header) : check_down_at_endpoint(packet, *header);
    if (!checked) return dropped(checked.error());
    auto& tunnel = **checked;
    if (now.wall >= tunnel.spec.expires_at) return dropped(Drop::expired);

    const auto mtu = path_mtu(*tunnel.far_end, now.instant);
    // RFC 2473 s7.2: without DF the outer packet is fragmented, by the kernel as it is sent.
    if (packet.size() + outer_header_size > mtu && header->dont_fragment) {
        auto verdict = dropped(Drop::too_big);
        verdict.answer = answer(IcmpKind::fragmentation_needed, mtu, packet, *header, tunnel);
        return verdict;
    }
    if (config_.mss_clamp) clamp_mss(packet, *header, mss_for(mtu));
    count_down(tunnel.counters, packet.size());
    // RFC 2983 s3, RFC 6040 s4.1: the outer DSCP and ECN are copies of the inner ones.
    return DownVerdict{
        std::nullopt, packet.size(), tunnel.far_end->address, header->traffic_class, {}};
}

RelayVerdict Carrier::relay(const PathError& error, Now now) {
    const auto ignored = [this] {
        drops_.count(Drop::icmp_ignored);
        return RelayVerdict{Drop::icmp_ignored, false, 0, {}};
    };
    // The quote must be of a packet that went into one of our tunnels: who cannot see our packets
    // cannot forge it.
    const auto header = read_inner_header(error.quoted);
    if (!header) return ignored();
    const auto* tunnel = tunnels_.find(is_client() ? header->source : header->destination);
    if (tunnel == nullptr || tunnel->far_end->address != error.destination) return ignored();
    if (now.wall >= tunnel->spec.expires_at) return ignored();

    RelayVerdict verdict;
    if (error.type == icmpv6_packet_too_big) {
        verdict.path_mtu_changed = tunnel->far_end->path_mtu.lower(error.info, now.instant);
        const auto mtu = tunnel->far_end->path_mtu.value(now.instant);
        verdict.path_mtu = mtu;
        // RFC 2473 s7.2, s8.3: without DF the next packet will be fragmented outside.
        if (!header->dont_fragment || header->total_length + outer_header_size <= mtu) {
            return verdict;
        }
        verdict.answer =
            answer(IcmpKind::fragmentation_needed, mtu, error.quoted, *header, *tunnel);
        return verdict;
    }
    if (!says_unreachable(error)) return ignored();
    verdict.answer = answer(IcmpKind::host_unreachable, 0, error.quoted, *header, *tunnel);
    return verdict;
}

std::optional<std::uint32_t> Carrier::client_path_mtu(Now now) {
    auto* tunnel = tunnels_.any();
    if (tunnel == nullptr) return std::nullopt;
    return path_mtu(*tunnel->far_end, now.instant);
}

Ipv6Address Carrier::far_end_of(const TunnelSpec& spec) const {
    return std::get<Ipv6Address>(is_client() ? spec.outer_server : spec.outer_client.address);
}

Carrier::Checked Carrier::check_up_at_endpoint(const InnerHeader& header,
                                               const Ipv6Address& outer) {
    if (!header.source.is_usable_unicast() || header.source == config_.inner) {
        return tl::unexpected(Drop::bad_source);
    }
    auto* tunnel = tunnels_.find(header.source);
    if (tunnel != nullptr && tunnel->far_end->address == outer) return tunnel;
    const bool is_known = tunnels_.find_far_end(outer) != nullptr;
    if (tunnel == nullptr) {
        return tl::unexpected(is_known ? Drop::unknown_inner : Drop::unknown_outer);
    }
    return tl::unexpected(is_known ? Drop::spoofed_inner : Drop::spoofed_outer);
}

Carrier::Checked Carrier::check_up_at_client(const InnerHeader& header, const Ipv6Address& outer) {
    if (tunnels_.find_far_end(outer) == nullptr) return tl::unexpected(Drop::unknown_outer);
    if (!header.source.is_usable_unicast() || tunnels_.find(header.source) != nullptr) {
        return tl::unexpected(Drop::bad_source);
    }
    auto* tunnel = tunnels_.find(header.destination);
    if (tunnel == nullptr) return tl::unexpected(Drop::bad_destination);
    return tunnel;
}

Carrier::Checked Carrier::check_down_at_endpoint(ConstBytes packet, const InnerHeader& header) {
    auto* tunnel = tunnels_.find(header.destination);
    if (tunnel == nullptr) return tl::unexpected(Drop::no_tunnel);
    // A packet that came from a client passed the source check, so its source tells it.
    if (!config_.hairpin && tunnels_.find(header.source) != nullptr) {
        return tl::unexpected(Drop::hairpin_off);
    }
    // The kernel sees a hairpin as a detour and would tell the client a shorter way; there is none.
    if (header.source == config_.inner && is_redirect(packet, header)) {
        return tl::unexpected(Drop::redirect);
    }
    return tunnel;
}

Carrier::Checked Carrier::check_down_at_client(const InnerHeader& header) {
    if (tunnels_.size() == 0) return tl::unexpected(Drop::no_tunnel);
    auto* tunnel = tunnels_.find(header.source);
    if (tunnel == nullptr) return tl::unexpected(Drop::bad_source);
    if (!header.destination.is_usable_unicast()) return tl::unexpected(Drop::bad_destination);
    return tunnel;
}

std::uint32_t Carrier::path_mtu(FarEnd& far_end, Instant now) {
    if (now - far_end.link_checked_at >= link_mtu_lifetime) {
        far_end.path_mtu.set_link(link_mtu_(far_end.address));
        far_end.link_checked_at = now;
    }
    return far_end.path_mtu.value(now);
}

std::vector<std::uint8_t> Carrier::answer(IcmpKind kind, std::uint32_t path_mtu, ConstBytes packet,
                                          const InnerHeader& header, const Tunnel& tunnel) const {
    const auto source = is_client() ? std::optional(tunnel.inner) : config_.inner;
    if (!source || !may_be_answered(packet, header)) return {};
    const auto mtu = std::min(path_mtu - outer_header_size, std::uint32_t{0xffff});
    return make_icmp_error(kind, static_cast<std::uint16_t>(mtu), *source, packet, header);
}

}  // namespace dstm::dataplane
