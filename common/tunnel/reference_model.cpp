// The rules, written for reading.
#include "common/tunnel/reference_model.hpp"

#include <algorithm>

#include "common/base/bytes.hpp"
#include "common/tunnel/reference_packet.hpp"

namespace dstm::model {
namespace {

Verdict drop(const std::string& counter) { return {{}, counter, {}}; }

unsigned version_inside(TunnelType type) { return type == TunnelType::v4v6 ? 4 : 6; }

unsigned overhead(TunnelType type) {
    switch (type) {
        case TunnelType::v4v6: return 40;
        case TunnelType::v6v4: return 20;
        case TunnelType::v6udpv4: return 20 + 8;
    }
    return 0;
}

Packet with_clamped_mss(const World& world, const Ip& ip, std::uint32_t inner_mtu) {
    if (!world.mss_clamp) return ip.bytes;
    return with_mss_at_most(ip, std::min(inner_mtu - (ip.version == 4 ? 20 : 40) - 20, 65535u));
}

bool from_client(const World& world) { return world.role == World::Role::client; }

IpEndpoint server_of(const World& world, const TunnelSpec& spec) {
    const bool udp = spec.type == TunnelType::v6udpv4;
    return {spec.outer_server, udp ? world.udp_port : std::uint16_t{0}};
}

IpEndpoint far_end_of(const World& world, const TunnelSpec& spec) {
    return from_client(world) ? server_of(world, spec) : spec.outer_client;
}

// Whose inner address it is; else behind whom it is, by the longest prefix.
const TunnelSpec* tunnel_of(const World& world, const IpAddress& inner) {
    const TunnelSpec* best = nullptr;
    const auto* v6 = std::get_if<Ipv6Address>(&inner);
    for (const auto& spec : world.tunnels) {
        if (spec.inner == inner) return &spec;
        if (v6 == nullptr || !spec.inner_prefix || !spec.inner_prefix->contains(*v6)) continue;
        if (best == nullptr || best->inner_prefix->length < spec.inner_prefix->length) {
            best = &spec;
        }
    }
    return best;
}

bool leads_to(const World& world, const TunnelSpec& spec, TunnelType type,
              const IpEndpoint& far_end) {
    return spec.type == type && far_end_of(world, spec) == far_end;
}

bool is_far_end(const World& world, TunnelType type, const IpEndpoint& far_end) {
    for (const auto& spec : world.tunnels) {
        if (leads_to(world, spec, type, far_end)) return true;
    }
    return false;
}

// Without the outer headers. What is inside is IPv6: at least what every link of IPv6 carries, if
// need be in outer fragments (RFC 4213 s3.2.2). IPv6 outside: at least that outside.
std::uint32_t inner_mtu_to(const World& world, TunnelType type, const IpEndpoint& far_end) {
    const auto known = world.path_mtu.find(far_end);
    const auto mtu =
        known == world.path_mtu.end() ? world.link_mtu : std::min(world.link_mtu, known->second);
    const auto least = type == TunnelType::v4v6 ? 1280 - 40 : 1280u;
    return std::max(mtu, least + overhead(type)) - overhead(type);
}

bool has_link_scope(const IpAddress& address) {
    const auto bytes = std::get<Ipv6Address>(address).bytes();
    const bool link_local = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
    return link_local || (bytes[0] == 0xff && (bytes[1] & 0x0f) <= 2);
}

// What concerns one link of IPv6 does not go through a tunnel.
std::string check_scope(const Ip& ip) {
    if (ip.version != 6) return "";
    const bool is_solicitation = ip.protocol == 58 && ip.fragment_offset == 0 &&
                                 ip.bytes.size() > ip.transport && ip.bytes[ip.transport] == 133;
    if (is_solicitation) return "router_solicitation";
    return has_link_scope(ip.source) || has_link_scope(ip.destination) ? "link_local" : "";
}

std::optional<IpAddress> own_inner(const World& world, unsigned version) {
    if (version == 4 && world.inner) return *world.inner;
    if (version == 6 && world.inner_ipv6) return *world.inner_ipv6;
    return std::nullopt;
}

// The source check, and that the packet is for a host. Empty: `tunnel` may carry it.
std::string check_up(const World& world, const Outer& outer, const Ip& ip,
                     const TunnelSpec*& tunnel) {
    const bool outer_known = is_far_end(world, outer.type, outer.source);
    if (from_client(world)) {
        tunnel = tunnel_of(world, ip.destination);
        if (!outer_known) return "unknown_outer";
        if (!is_host(ip.source)) return "bad_source";
        if (tunnel_of(world, ip.source) != nullptr) return "bad_source";
        return tunnel == nullptr ? "bad_destination" : "";
    }
    if (!is_host(ip.source) || ip.source == own_inner(world, ip.version)) return "bad_source";
    tunnel = tunnel_of(world, ip.source);
    if (tunnel == nullptr && !outer_known) return "unknown_outer";
    if (tunnel == nullptr && outer_known) return "unknown_inner";
    if (leads_to(world, *tunnel, outer.type, outer.source)) return "";
    return outer_known ? "spoofed_inner" : "spoofed_outer";
}

std::string check_down(const World& world, const Ip& ip, const TunnelSpec*& tunnel) {
    if (from_client(world)) {
        if (world.tunnels.empty()) return "no_tunnel";
        tunnel = tunnel_of(world, ip.source);
        if (tunnel == nullptr) return "bad_source";
        return is_host(ip.destination) ? "" : "bad_destination";
    }
    tunnel = tunnel_of(world, ip.destination);
    if (tunnel == nullptr) return "no_tunnel";
    if (!world.hairpin && tunnel_of(world, ip.source) != nullptr) return "hairpin_off";
    const bool is_redirect = ip.version == 4 && ip.protocol == 1 && ip.fragment_offset == 0 &&
                             ip.bytes.size() > ip.transport && ip.bytes[ip.transport] == 5;
    return is_redirect && ip.source == own_inner(world, 4) ? "redirect" : "";
}

// RFC 1122 s3.2.2, RFC 4443 s2.4
bool may_answer(const Ip& ip) {
    if (!is_host(ip.source)) return false;
    if (ip.version == 4 && ip.fragment_offset != 0) return false;
    if (ip.version == 6 && ip.protocol == 59) return false;
    if (ip.protocol != (ip.version == 4 ? 1u : 58u)) return true;
    if (ip.fragment_offset != 0 || ip.bytes.size() <= ip.transport) return false;
    const unsigned type = ip.bytes[ip.transport];
    if (ip.version == 6) return type >= 128 && type != 137;
    return type != 3 && type != 4 && type != 5 && type != 11 && type != 12;
}

// With the MTU that is left inside, or 0: unreachable.
Packet icmp_error(const World& world, const TunnelSpec& tunnel, const Ip& about, unsigned mtu) {
    const auto source =
        from_client(world) ? std::optional(tunnel.inner) : own_inner(world, about.version);
    if (!source || !may_answer(about)) return {};
    mtu = std::min(mtu, 65535u);
    if (about.version == 4) return icmpv4_error(about, std::get<Ipv4Address>(*source), mtu);
    return icmpv6_error(about, std::get<Ipv6Address>(*source), mtu);
}

// RFC 6040 s4.2, figure 4. 4 means: drop.
unsigned ecn_out(unsigned inner, unsigned outer) {
    constexpr unsigned dropped = 4;
    //                                 outer Not-ECT  ECT(1)  ECT(0)  CE
    constexpr unsigned figure[4][4] = {{0, 0, 0, dropped},  // inner Not-ECT
                                       {1, 1, 1, 3},        // inner ECT(1)
                                       {2, 1, 2, 3},        // inner ECT(0)
                                       {3, 3, 3, 3}};       // inner CE
    return figure[inner][outer];
}

Packet wrap(const World& world, const TunnelSpec& tunnel, unsigned traffic_class,
            const Packet& inner) {
    auto from = server_of(world, tunnel);
    auto to = tunnel.outer_client;
    if (from_client(world)) std::swap(from, to);
    if (tunnel.type == TunnelType::v4v6) {
        return joined(ipv6_header(traffic_class, 4, std::get<Ipv6Address>(from.address),
                                  std::get<Ipv6Address>(to.address), inner.size()),
                      inner);
    }
    const bool udp = tunnel.type == TunnelType::v6udpv4;
    const auto payload = udp ? in_udp(from, to, inner) : inner;
    return joined(ipv4_header(traffic_class, udp ? 17 : 41, std::get<Ipv4Address>(from.address),
                              std::get<Ipv4Address>(to.address), payload.size()),
                  payload);
}

// What an ICMP error says of the packet that it quotes.
enum class Saying { too_big, unreachable, nothing };

Saying saying_of_icmpv6(unsigned type, unsigned code) {
    if (type == 2) return Saying::too_big;
    return type == 1 || (type == 3 && code == 0) || type == 4 ? Saying::unreachable
                                                              : Saying::nothing;
}

Saying saying_of_icmpv4(unsigned type, unsigned code, TunnelType about) {
    if (type == 3 && code == 4) return Saying::too_big;
    // A kernel says "port" of protocol 41 when the tunnel is none of its own.
    if (type == 3 && code == 3 && about == TunnelType::v6v4) return Saying::nothing;
    return type == 3 || (type == 11 && code == 0) || type == 12 ? Saying::unreachable
                                                                : Saying::nothing;
}

void lower_path(World& world, const Outer& about, std::uint32_t mtu) {
    const auto now = inner_mtu_to(world, about.type, about.destination) + overhead(about.type);
    // IPv6 outside has a minimum; who says less is not believed (RFC 8201 s4).
    if (about.type == TunnelType::v4v6 && mtu < 1280) return;
    if (mtu < now) world.path_mtu[about.destination] = mtu;
}

}  // namespace

Verdict decapsulate(const World& world, const Packet& packet, WallTime now) {
    const auto outer = open(packet);
    if (!outer) return drop("not_a_tunnel_packet");
    Ip ip;
    if (const auto wrong = take_apart(outer->payload, version_inside(outer->type), ip);
        !wrong.empty()) {
        return drop(wrong);
    }
    if (outer->payload.size() < ip.total_length) return drop("inner_truncated");
    if (const auto wrong = check_scope(ip); !wrong.empty()) return drop(wrong);
    const TunnelSpec* tunnel = nullptr;
    const auto wrong = check_up(world, *outer, ip, tunnel);
    if (!wrong.empty()) return drop(wrong);
    if (now >= tunnel->expires_at) return drop("expired");
    if (!is_host(ip.destination)) return drop("bad_destination");
    const auto ecn = ecn_out(ip.ecn, outer->ecn);
    if (ecn > 3) return drop("ecn_congested");
    ip.bytes = with_ecn(ip, ecn);
    const auto mtu = inner_mtu_to(world, tunnel->type, far_end_of(world, *tunnel));
    return {with_clamped_mss(world, ip, mtu), "", {}};
}

Verdict encapsulate(const World& world, const Packet& inner, WallTime now) {
    Ip ip;
    const unsigned version = !inner.empty() && inner[0] / 16 == 6 ? 6 : 4;
    if (const auto wrong = take_apart(inner, version, ip); !wrong.empty()) return drop(wrong);
    if (inner.size() < ip.total_length) return drop("inner_truncated");
    if (const auto wrong = check_scope(ip); !wrong.empty()) return drop(wrong);
    const TunnelSpec* tunnel = nullptr;
    if (const auto wrong = check_down(world, ip, tunnel); !wrong.empty()) return drop(wrong);
    if (now >= tunnel->expires_at) return drop("expired");
    const auto mtu = inner_mtu_to(world, tunnel->type, far_end_of(world, *tunnel));
    if (ip.dont_fragment && ip.total_length > mtu) {
        auto verdict = drop("too_big");
        verdict.answer = icmp_error(world, *tunnel, ip, mtu);
        return verdict;
    }
    const unsigned traffic_class = ip.dscp * 4 + ip.ecn;
    return {wrap(world, *tunnel, traffic_class, with_clamped_mss(world, ip, mtu)), "", {}};
}

Verdict relay(World& world, const Packet& icmp, WallTime now) {
    // RFC 792, RFC 4443 s3: 8 bytes, then as much of our packet as fitted.
    if (icmp.size() < 8) return drop("icmp_ignored");
    const auto about = open_quote(part_of(icmp, 8, icmp.size()));
    if (!about) return drop("icmp_ignored");
    const bool is_ipv6 = about->type == TunnelType::v4v6;
    const auto saying = is_ipv6 ? saying_of_icmpv6(icmp[0], icmp[1])
                                : saying_of_icmpv4(icmp[0], icmp[1], about->type);
    if (saying == Saying::nothing) return drop("icmp_ignored");
    const auto mtu = is_ipv6 ? load32(icmp, 4) : load16(icmp, 6);
    Ip ip;
    if (!take_apart(about->payload, version_inside(about->type), ip).empty()) {
        // RFC 792 asks for no more than 8 bytes of what follows the IPv4 header.
        const bool is_short = !is_ipv6 && about->payload.size() >= 8 && about->payload.size() < 40;
        if (!is_short || saying != Saying::too_big ||
            !is_far_end(world, about->type, about->destination)) {
            return drop("icmp_ignored");
        }
        lower_path(world, *about, mtu);
        return {};
    }
    const auto* tunnel = tunnel_of(world, from_client(world) ? ip.source : ip.destination);
    if (tunnel == nullptr || !leads_to(world, *tunnel, about->type, about->destination) ||
        now >= tunnel->expires_at) {
        return drop("icmp_ignored");
    }
    if (saying == Saying::unreachable) return {{}, "", icmp_error(world, *tunnel, ip, 0)};
    lower_path(world, *about, mtu);
    const auto left = inner_mtu_to(world, tunnel->type, about->destination);
    if (!ip.dont_fragment || ip.total_length <= left) return {};
    return {{}, "", icmp_error(world, *tunnel, ip, left)};
}

}  // namespace dstm::model
