// The model, written for reading: every packet is taken apart and built anew.
#include "common/tunnel/reference_model.hpp"

#include <algorithm>

#include "common/base/bytes.hpp"

namespace dstm::model {
namespace {

// An IP packet taken apart (RFC 791 s3.1, RFC 8200 s3).
struct Ip {
    unsigned version = 0;
    unsigned total_length = 0;
    unsigned dscp = 0;
    unsigned ecn = 0;
    bool dont_fragment = false;
    unsigned fragment_offset = 0;
    unsigned protocol = 0;      // of the transport; 59, "nothing follows", where it is out of reach
    std::size_t transport = 0;  // where it begins
    IpAddress source;
    IpAddress destination;
    Packet bytes;  // what is there of it, cut at total_length
};

// What came from outside, or is to go there.
struct Outer {
    TunnelType type = TunnelType::v4v6;
    IpEndpoint source;
    IpEndpoint destination;
    unsigned ecn = 0;
    Packet payload;
};

Verdict drop(const std::string& counter) { return {{}, counter, {}}; }

Packet part_of(const Packet& bytes, std::size_t from, std::size_t to) {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(from),
            bytes.begin() + static_cast<std::ptrdiff_t>(to)};
}

Packet joined(Packet head, const Packet& tail) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
}

unsigned version_inside(TunnelType type) { return type == TunnelType::v4v6 ? 4 : 6; }

unsigned overhead(TunnelType type) {
    switch (type) {
        case TunnelType::v4v6: return 40;
        case TunnelType::v6v4: return 20;
        case TunnelType::v6udpv4: return 20 + 8;
    }
    return 0;
}

bool is_host(const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) return v4->is_usable_unicast();
    return std::get<Ipv6Address>(address).is_usable_unicast();
}

// Each sets `out`, or returns the counter that says what is wrong.
std::string take_apart_ipv4(const Packet& bytes, Ip& out) {
    if (bytes.size() < 20) return "inner_truncated";
    out.transport = (bytes[0] & 0x0fu) * 4;
    if (out.transport < 20) return "inner_bad_header_length";
    if (out.transport > bytes.size()) return "inner_truncated";
    out.dscp = bytes[1] / 4u;
    out.ecn = bytes[1] % 4u;
    out.total_length = bytes[2] * 256u + bytes[3];
    if (out.total_length < out.transport) return "inner_bad_total_length";
    out.dont_fragment = (bytes[6] & 0x40) != 0;
    out.fragment_offset = (bytes[6] & 0x1fu) * 256u + bytes[7];
    out.protocol = bytes[9];
    out.source = load_ipv4(bytes, 12);
    out.destination = load_ipv4(bytes, 16);
    return "";
}

std::string take_apart_ipv6(const Packet& bytes, Ip& out) {
    if (bytes.size() < 40) return "inner_truncated";
    const unsigned traffic_class = bytes[0] % 16u * 16u + bytes[1] / 16u;
    out.dscp = traffic_class / 4;
    out.ecn = traffic_class % 4;
    out.total_length = 40 + bytes[4] * 256u + bytes[5];
    out.dont_fragment = true;
    out.source = load_ipv6(bytes, 8);
    out.destination = load_ipv6(bytes, 24);
    return "";
}

// RFC 8200 s4: hop-by-hop, routing and destination options tell their length; a fragment header
// has eight bytes, and behind one that is not the first there is no transport header.
void find_ipv6_transport(Ip& ip) {
    ip.protocol = 59;
    unsigned next = ip.bytes[6];
    std::size_t at = 40;
    for (int headers = 0; headers < 8; ++headers) {
        const bool has_length = next == 0 || next == 43 || next == 60;
        if (!has_length && next != 44) {
            ip.protocol = next;
            ip.transport = at;
            return;
        }
        if (at + 8 > ip.bytes.size()) return;
        if (next == 44) ip.fragment_offset = (ip.bytes[at + 2] * 256u + ip.bytes[at + 3]) / 8;
        const std::size_t length = has_length ? ip.bytes[at + 1] * 8u + 8 : 8;
        next = ip.bytes[at];
        at += length;
        if (at > ip.bytes.size()) return;
        if (ip.fragment_offset != 0) {
            ip.protocol = next;
            ip.transport = at;
            return;
        }
    }
}

std::string take_apart(const Packet& bytes, unsigned version, Ip& out) {
    if (bytes.empty()) return "inner_truncated";
    if (bytes[0] / 16u != version) return "inner_bad_version";
    out.version = version;
    const auto wrong = version == 4 ? take_apart_ipv4(bytes, out) : take_apart_ipv6(bytes, out);
    if (!wrong.empty()) return wrong;
    out.bytes = bytes;
    if (out.bytes.size() > out.total_length) out.bytes.resize(out.total_length);
    if (version == 6) find_ipv6_transport(out);
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

std::uint16_t checksum_of(const Packet& bytes) {
    return static_cast<std::uint16_t>(0xffff - sum_of(bytes, 0, bytes.size()));
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

Packet with_ecn(const Ip& ip, unsigned ecn) {
    Packet out = ip.bytes;
    if (ip.version == 6) {
        out[1] = static_cast<std::uint8_t>((out[1] & 0xcf) | ecn << 4);
        return out;
    }
    out[1] = static_cast<std::uint8_t>((out[1] & 0xfc) | ecn);
    if (out != ip.bytes) carry_checksum_over(ip.bytes, out, 10, 0, ip.transport);
    return out;
}

// Where the MSS value stands in the packet, 0 when there is none (RFC 9293 s3.1, s3.2).
std::size_t mss_position(const Ip& ip) {
    const auto tcp = ip.transport;
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

Packet with_clamped_mss(const World& world, const Ip& ip, std::uint32_t inner_mtu) {
    const auto at = mss_position(ip);
    const auto most = std::min(inner_mtu - (ip.version == 4 ? 20 : 40) - 20, 65535u);
    if (!world.mss_clamp || at == 0 || load16(ip.bytes, at) <= most) return ip.bytes;
    Packet out = ip.bytes;
    store16(out, at, static_cast<std::uint16_t>(most));
    carry_checksum_over(ip.bytes, out, ip.transport + 16, ip.transport, out.size());
    return out;
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

Packet ipv4_header(unsigned traffic_class, unsigned protocol, Ipv4Address source,
                   Ipv4Address destination, std::size_t payload) {
    Packet out(20);
    out[0] = 0x45;
    out[1] = static_cast<std::uint8_t>(traffic_class);
    store16(out, 2, static_cast<std::uint16_t>(20 + payload));
    out[8] = 64;
    out[9] = static_cast<std::uint8_t>(protocol);
    store_ipv4(out, 12, source);
    store_ipv4(out, 16, destination);
    store16(out, 10, checksum_of(out));
    return out;
}

Packet ipv6_header(unsigned traffic_class, unsigned protocol, const Ipv6Address& source,
                   const Ipv6Address& destination, std::size_t payload) {
    Packet out(40);
    out[0] = static_cast<std::uint8_t>(0x60 + traffic_class / 16);
    out[1] = static_cast<std::uint8_t>(traffic_class % 16 * 16);
    store16(out, 4, static_cast<std::uint16_t>(payload));
    out[6] = static_cast<std::uint8_t>(protocol);
    out[7] = 64;
    store_ipv6(out, 8, source);
    store_ipv6(out, 24, destination);
    return out;
}

// Destination unreachable (RFC 792) with the next-hop MTU of RFC 1191, or 0.
Packet icmpv4_error(const Ip& about, Ipv4Address source, unsigned mtu) {
    Packet icmp(8);
    icmp[0] = 3;
    icmp[1] = mtu != 0 ? 4 : 1;
    store16(icmp, 6, static_cast<std::uint16_t>(mtu));
    icmp = joined(icmp, part_of(about.bytes, 0, std::min<std::size_t>(about.bytes.size(), 548)));
    store16(icmp, 2, checksum_of(icmp));
    const auto to = std::get<Ipv4Address>(about.source);
    return joined(ipv4_header(0xc0, 1, source, to, icmp.size()), icmp);
}

// Packet too big (RFC 4443 s3.2), or with 0 destination unreachable, address (s3.1).
Packet icmpv6_error(const Ip& about, const Ipv6Address& source, unsigned mtu) {
    Packet icmp(8);
    icmp[0] = mtu != 0 ? 2 : 1;
    icmp[1] = mtu != 0 ? 0 : 3;
    store32(icmp, 4, mtu);
    icmp = joined(icmp, part_of(about.bytes, 0, std::min<std::size_t>(about.bytes.size(), 1232)));
    const auto to = std::get<Ipv6Address>(about.source);
    Packet covered(40);  // RFC 8200 s8.1
    store_ipv6(covered, 0, source);
    store_ipv6(covered, 16, to);
    store32(covered, 32, static_cast<std::uint32_t>(icmp.size()));
    covered[39] = 58;
    store16(icmp, 2, checksum_of(joined(covered, icmp)));
    return joined(ipv6_header(0, 58, source, to, icmp.size()), icmp);
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

// IPv6 whose headers end with protocol 4; destination options may stand before it, such as the
// encapsulation limit (RFC 2473 s4.1.1).
std::optional<Outer> open_ipv6(const Packet& packet) {
    if (packet.size() < 40) return std::nullopt;
    const std::size_t end = 40u + packet[4] * 256u + packet[5];
    if (end > packet.size()) return std::nullopt;
    unsigned next = packet[6];
    std::size_t at = 40;
    while (next == 60) {
        if (at + 8 > end) return std::nullopt;
        next = packet[at];
        at += packet[at + 1] * 8u + 8;
    }
    if (next != 4 || at > end) return std::nullopt;
    return Outer{TunnelType::v4v6,
                 {load_ipv6(packet, 8), 0},
                 {load_ipv6(packet, 24), 0},
                 packet[1] / 16u % 4u,
                 part_of(packet, at, end)};
}

// IPv4 with protocol 41, or UDP.
std::optional<Outer> open_ipv4(const Packet& packet) {
    Ip ip;
    if (!take_apart(packet, 4, ip).empty() || packet.size() < ip.total_length) return std::nullopt;
    Outer out{TunnelType::v6v4, {ip.source, 0}, {ip.destination, 0}, ip.ecn, {}};
    if (ip.protocol == 41) {
        out.payload = part_of(ip.bytes, ip.transport, ip.total_length);
        return out;
    }
    if (ip.protocol != 17 || ip.total_length < ip.transport + 8) return std::nullopt;
    out.type = TunnelType::v6udpv4;
    out.source.port = load16(ip.bytes, ip.transport);
    out.destination.port = load16(ip.bytes, ip.transport + 2);
    out.payload = part_of(ip.bytes, ip.transport + 8, ip.total_length);
    return out;
}

std::optional<Outer> open(const Packet& packet) {
    if (packet.empty()) return std::nullopt;
    if (packet[0] / 16 == 6) return open_ipv6(packet);
    return open_ipv4(packet);
}

// A UDP header with its checksum (RFC 768).
Packet in_udp(const IpEndpoint& source, const IpEndpoint& destination, const Packet& payload) {
    Packet header(8);
    store16(header, 0, source.port);
    store16(header, 2, destination.port);
    store16(header, 4, static_cast<std::uint16_t>(8 + payload.size()));
    Packet covered(12);
    store_ipv4(covered, 0, std::get<Ipv4Address>(source.address));
    store_ipv4(covered, 4, std::get<Ipv4Address>(destination.address));
    covered[9] = 17;
    store16(covered, 10, load16(header, 4));
    const auto sum = checksum_of(joined(joined(covered, header), payload));
    store16(header, 6, sum == 0 ? 0xffff : sum);
    return joined(header, payload);
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

// The quoted packet as far as it goes; its lengths speak of the whole one.
std::optional<Outer> open_quote(const Packet& quoted) {
    if (quoted.size() >= 40 && quoted[0] / 16 == 6 && quoted[6] == 4) {
        return Outer{TunnelType::v4v6,
                     {load_ipv6(quoted, 8), 0},
                     {load_ipv6(quoted, 24), 0},
                     0,
                     part_of(quoted, 40, quoted.size())};
    }
    Ip ip;
    if (!take_apart(quoted, 4, ip).empty()) return std::nullopt;
    Outer out{TunnelType::v6v4, {ip.source, 0}, {ip.destination, 0}, 0, {}};
    auto at = ip.transport;
    if (ip.protocol == 17 && ip.bytes.size() >= at + 8) {
        out.type = TunnelType::v6udpv4;
        out.source.port = load16(ip.bytes, at);
        out.destination.port = load16(ip.bytes, at + 2);
        at += 8;
    } else if (ip.protocol != 41) {
        return std::nullopt;
    }
    out.payload = part_of(ip.bytes, at, ip.bytes.size());
    return out;
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
