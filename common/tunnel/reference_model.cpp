// The model, written for reading: every packet is taken apart and built anew.
#include "common/tunnel/reference_model.hpp"

#include <algorithm>

#include "common/base/bytes.hpp"

namespace dstm::model {
namespace {

// An IPv4 packet taken apart (RFC 791 s3.1).
struct Ipv4 {
    unsigned header_length = 0;  // bytes
    unsigned total_length = 0;
    unsigned dscp = 0;
    unsigned ecn = 0;
    bool dont_fragment = false;
    unsigned fragment_offset = 0;
    unsigned protocol = 0;
    Ipv4Address source;
    Ipv4Address destination;
    Packet bytes;  // what is there of it, cut at total_length
};

Verdict drop(const char* counter) { return {{}, counter, {}}; }

// Sets `out`, or returns the counter that says what is wrong.
std::string take_apart(const Packet& bytes, Ipv4& out) {
    if (bytes.empty()) return "inner_truncated";
    if ((bytes[0] & 0xf0) != 0x40) return "inner_bad_version";
    if (bytes.size() < 20) return "inner_truncated";
    out.header_length = (bytes[0] & 0x0fu) * 4;
    if (out.header_length < 20) return "inner_bad_header_length";
    if (out.header_length > bytes.size()) return "inner_truncated";
    out.dscp = bytes[1] / 4u;
    out.ecn = bytes[1] % 4u;
    out.total_length = bytes[2] * 256u + bytes[3];
    if (out.total_length < out.header_length) return "inner_bad_total_length";
    out.dont_fragment = (bytes[6] & 0x40) != 0;
    out.fragment_offset = (bytes[6] & 0x1fu) * 256u + bytes[7];
    out.protocol = bytes[9];
    out.source = load_ipv4(bytes, 12);
    out.destination = load_ipv4(bytes, 16);
    out.bytes = bytes;
    if (out.bytes.size() > out.total_length) out.bytes.resize(out.total_length);
    return "";
}

// The one's complement sum of a range, as RFC 1071 writes it.
std::uint32_t sum_of(const Packet& bytes, std::size_t from, std::size_t to) {
    std::uint32_t sum = 0;
    for (std::size_t i = from; i < to; ++i) {
        sum += (i - from) % 2 == 0 ? bytes[i] * 256u : bytes[i];
        if (sum > 0xffff) sum -= 0xffff;
    }
    return sum;
}

// A checksum at `field` that covers [from, to), after the range changed from `before` to `after`.
// Not computed anew: one that was wrong must stay wrong, so that the receiver sees it.
void carry_checksum_over(const Packet& before, Packet& after, std::size_t field, std::size_t from,
                         std::size_t to) {
    const std::uint32_t was = sum_of(before, from, to);
    const std::uint32_t is = sum_of(after, from, to);
    std::uint32_t sum = before[field] * 256u + before[field + 1];
    sum += was + (0xffff - is);  // the checksum falls as the sum of the data rises
    while (sum > 0xffff) sum -= 0xffff;
    // Of the two zeros of one's complement, an unchanged non-zero sum of data gives this one.
    if (sum == 0xffff) sum = 0;
    after[field] = static_cast<std::uint8_t>(sum / 256);
    after[field + 1] = static_cast<std::uint8_t>(sum % 256);
}

Packet with_ecn(const Packet& packet, unsigned header_length, unsigned ecn) {
    Packet out = packet;
    out[1] = static_cast<std::uint8_t>((packet[1] & 0xfc) | ecn);
    if (out != packet) carry_checksum_over(packet, out, 10, 0, header_length);
    return out;
}

// Where the MSS value stands in the packet, 0 when there is none (RFC 9293 s3.1, s3.2).
std::size_t mss_position(const Ipv4& ip) {
    const auto tcp = ip.header_length;
    if (ip.protocol != 6 || ip.fragment_offset != 0 || ip.bytes.size() < tcp + 20) return 0;
    const bool syn = (ip.bytes[tcp + 13] & 2) != 0;
    const std::size_t end = tcp + (ip.bytes[tcp + 12] / 16u) * 4u;
    if (!syn || end > ip.bytes.size()) return 0;
    std::size_t at = tcp + 20;
    while (at < end && ip.bytes[at] != 0) {
        if (ip.bytes[at] == 1) {
            at += 1;
            continue;
        }
        if (at + 2 > end) return 0;
        const std::size_t length = ip.bytes[at + 1];
        if (length < 2 || at + length > end) return 0;
        if (ip.bytes[at] == 2 && length == 4) return at + 2;
        at += length;
    }
    return 0;
}

Packet with_clamped_mss(const World& world, const Ipv4& ip, std::uint32_t path_mtu) {
    const auto at = mss_position(ip);
    const auto most = std::min(path_mtu - 40 - 20 - 20, 65535u);
    if (!world.mss_clamp || at == 0 || load16(ip.bytes, at) <= most) return ip.bytes;
    Packet out = ip.bytes;
    store16(out, at, static_cast<std::uint16_t>(most));
    carry_checksum_over(ip.bytes, out, ip.header_length + 16, ip.header_length, out.size());
    return out;
}

Ipv6Address far_end_of(const World& world, const TunnelSpec& spec) {
    const auto address = world.role == World::Role::client ? IpAddress(spec.outer_server)
                                                           : spec.outer_client.address;
    return std::get<Ipv6Address>(address);
}

const TunnelSpec* tunnel_of(const World& world, Ipv4Address inner) {
    for (const auto& spec : world.tunnels) {
        if (spec.inner == IpAddress(inner)) return &spec;
    }
    return nullptr;
}

bool is_far_end(const World& world, const Ipv6Address& address) {
    for (const auto& spec : world.tunnels) {
        if (far_end_of(world, spec) == address) return true;
    }
    return false;
}

std::uint32_t path_mtu_to(const World& world, const Ipv6Address& far_end) {
    const auto known = world.path_mtu.find(far_end);
    const auto mtu =
        known == world.path_mtu.end() ? world.link_mtu : std::min(world.link_mtu, known->second);
    return std::max(mtu, 1280u);
}

// The source check, and that the packet is for a host. Empty: `tunnel` may carry it.
std::string check_up(const World& world, const Ipv6Address& outer, const Ipv4& ip,
                     const TunnelSpec*& tunnel) {
    if (world.role == World::Role::client) {
        tunnel = tunnel_of(world, ip.destination);
        if (!is_far_end(world, outer)) return "unknown_outer";
        if (!ip.source.is_usable_unicast()) return "bad_source";
        if (tunnel_of(world, ip.source) != nullptr) return "bad_source";
        return tunnel == nullptr ? "bad_destination" : "";
    }
    if (!ip.source.is_usable_unicast() || ip.source == world.inner) return "bad_source";
    tunnel = tunnel_of(world, ip.source);
    const bool outer_known = is_far_end(world, outer);
    if (tunnel == nullptr && !outer_known) return "unknown_outer";
    if (tunnel == nullptr && outer_known) return "unknown_inner";
    if (far_end_of(world, *tunnel) == outer) return "";
    return outer_known ? "spoofed_inner" : "spoofed_outer";
}

std::string check_down(const World& world, const Ipv4& ip, const TunnelSpec*& tunnel) {
    if (world.role == World::Role::client) {
        if (world.tunnels.empty()) return "no_tunnel";
        tunnel = tunnel_of(world, ip.source);
        if (tunnel == nullptr) return "bad_source";
        return ip.destination.is_usable_unicast() ? "" : "bad_destination";
    }
    tunnel = tunnel_of(world, ip.destination);
    if (tunnel == nullptr) return "no_tunnel";
    if (!world.hairpin && tunnel_of(world, ip.source) != nullptr) return "hairpin_off";
    const bool is_redirect = ip.protocol == 1 && ip.fragment_offset == 0 &&
                             ip.bytes.size() > ip.header_length && ip.bytes[ip.header_length] == 5;
    return is_redirect && ip.source == world.inner ? "redirect" : "";
}

// RFC 1122 s3.2.2
bool may_answer(const Ipv4& ip) {
    if (ip.fragment_offset != 0 || !ip.source.is_usable_unicast()) return false;
    if (ip.protocol != 1) return true;
    if (ip.bytes.size() <= ip.header_length) return false;
    const unsigned type = ip.bytes[ip.header_length];
    return type != 3 && type != 4 && type != 5 && type != 11 && type != 12;
}

// Destination unreachable (RFC 792) with the next-hop MTU of RFC 1191, or 0.
Packet icmp_unreachable(const World& world, const TunnelSpec& tunnel, const Ipv4& about,
                        unsigned code, unsigned mtu) {
    const auto source = world.role == World::Role::client
                            ? std::optional(std::get<Ipv4Address>(tunnel.inner))
                            : world.inner;
    if (!source || !may_answer(about)) return {};
    Packet icmp{3,
                static_cast<std::uint8_t>(code),
                0,
                0,
                0,
                0,
                static_cast<std::uint8_t>(mtu / 256),
                static_cast<std::uint8_t>(mtu % 256)};
    for (const auto byte : about.bytes) {
        if (icmp.size() < 576 - 20) icmp.push_back(byte);
    }
    store16(icmp, 2, static_cast<std::uint16_t>(0xffff - sum_of(icmp, 0, icmp.size())));
    Packet out{0x45, 0xc0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    store16(out, 2, static_cast<std::uint16_t>(20 + icmp.size()));
    store_ipv4(out, 12, *source);
    store_ipv4(out, 16, about.source);
    store16(out, 10, static_cast<std::uint16_t>(0xffff - sum_of(out, 0, 20)));
    out.insert(out.end(), icmp.begin(), icmp.end());
    return out;
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

// The payload of an IPv6 packet whose headers end with protocol 4; destination options may stand
// before it, such as the encapsulation limit (RFC 2473 s4.1.1).
std::optional<Packet> tunnel_payload(const Packet& ipv6) {
    if (ipv6.size() < 40 || ipv6[0] / 16 != 6) return std::nullopt;
    const std::size_t end = 40u + ipv6[4] * 256u + ipv6[5];
    if (end > ipv6.size()) return std::nullopt;
    unsigned next = ipv6[6];
    std::size_t at = 40;
    while (next == 60) {
        if (at + 8 > end) return std::nullopt;
        next = ipv6[at];
        at += ipv6[at + 1] * 8u + 8;
    }
    if (next != 4 || at > end) return std::nullopt;
    return Packet(ipv6.begin() + static_cast<std::ptrdiff_t>(at),
                  ipv6.begin() + static_cast<std::ptrdiff_t>(end));
}

}  // namespace

Verdict decapsulate(const World& world, const Packet& outer, WallTime now) {
    const auto payload = tunnel_payload(outer);
    if (!payload) return drop("not_a_tunnel_packet");
    const unsigned outer_ecn = outer[1] / 16u % 4u;
    Ipv4 ip;
    if (const auto wrong = take_apart(*payload, ip); !wrong.empty()) return drop(wrong.c_str());
    if (payload->size() < ip.total_length) return drop("inner_truncated");
    const TunnelSpec* tunnel = nullptr;
    const auto wrong = check_up(world, load_ipv6(outer, 8), ip, tunnel);
    if (!wrong.empty()) return drop(wrong.c_str());
    if (now >= tunnel->expires_at) return drop("expired");
    if (!ip.destination.is_usable_unicast()) return drop("bad_destination");
    const auto ecn = ecn_out(ip.ecn, outer_ecn);
    if (ecn > 3) return drop("ecn_congested");
    ip.bytes = with_ecn(ip.bytes, ip.header_length, ecn);
    return {with_clamped_mss(world, ip, path_mtu_to(world, far_end_of(world, *tunnel))), "", {}};
}

Verdict encapsulate(const World& world, const Packet& inner, WallTime now) {
    Ipv4 ip;
    if (const auto wrong = take_apart(inner, ip); !wrong.empty()) return drop(wrong.c_str());
    if (inner.size() < ip.total_length) return drop("inner_truncated");
    const TunnelSpec* tunnel = nullptr;
    if (const auto wrong = check_down(world, ip, tunnel); !wrong.empty()) {
        return drop(wrong.c_str());
    }
    if (now >= tunnel->expires_at) return drop("expired");
    const auto mtu = path_mtu_to(world, far_end_of(world, *tunnel));
    if (ip.dont_fragment && ip.total_length + 40 > mtu) {
        auto verdict = drop("too_big");
        verdict.answer = icmp_unreachable(world, *tunnel, ip, 4, std::min(mtu - 40, 65535u));
        return verdict;
    }
    const auto carried = with_clamped_mss(world, ip, mtu);
    const unsigned traffic_class = ip.dscp * 4 + ip.ecn;
    Packet out(40);
    out[0] = static_cast<std::uint8_t>(0x60 + traffic_class / 16);
    out[1] = static_cast<std::uint8_t>(traffic_class % 16 * 16);
    store16(out, 4, static_cast<std::uint16_t>(carried.size()));
    out[6] = 4;
    out[7] = 64;
    const auto& client = std::get<Ipv6Address>(tunnel->outer_client.address);
    const auto& server = std::get<Ipv6Address>(tunnel->outer_server);
    const bool from_client = world.role == World::Role::client;
    store_ipv6(out, 8, from_client ? client : server);
    store_ipv6(out, 24, from_client ? server : client);
    out.insert(out.end(), carried.begin(), carried.end());
    return {out, "", {}};
}

Verdict relay(World& world, const Packet& icmpv6, WallTime now) {
    // RFC 4443 s3: 8 bytes, then as much of our packet as fitted.
    if (icmpv6.size() < 48) return drop("icmp_ignored");
    const Packet quoted(icmpv6.begin() + 8, icmpv6.end());
    if (quoted[0] / 16 != 6 || quoted[6] != 4) return drop("icmp_ignored");
    const auto destination = load_ipv6(quoted, 24);
    Ipv4 ip;
    if (!take_apart(Packet(quoted.begin() + 40, quoted.end()), ip).empty()) {
        return drop("icmp_ignored");
    }
    const bool from_client = world.role == World::Role::client;
    const auto* tunnel = tunnel_of(world, from_client ? ip.source : ip.destination);
    if (tunnel == nullptr || far_end_of(world, *tunnel) != destination) {
        return drop("icmp_ignored");
    }
    if (now >= tunnel->expires_at) return drop("icmp_ignored");
    switch (icmpv6[0]) {
        case 2: {
            const auto mtu = load32(icmpv6, 4);
            if (mtu >= 1280 && mtu < path_mtu_to(world, destination)) {
                world.path_mtu[destination] = mtu;
            }
            const auto path = path_mtu_to(world, destination);
            if (!ip.dont_fragment || ip.total_length + 40 <= path) return {};
            return {{}, "", icmp_unreachable(world, *tunnel, ip, 4, std::min(path - 40, 65535u))};
        }
        case 3:
            if (icmpv6[1] != 0) return drop("icmp_ignored");
            [[fallthrough]];
        case 1:
        case 4: return {{}, "", icmp_unreachable(world, *tunnel, ip, 1, 0)};
        default: return drop("icmp_ignored");
    }
}

}  // namespace dstm::model
