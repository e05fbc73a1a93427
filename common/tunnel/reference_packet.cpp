// Every packet is taken apart field by field and built anew.
#include "common/tunnel/reference_packet.hpp"

#include <algorithm>

#include "common/base/bytes.hpp"

namespace dstm::model {
namespace {

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

}  // namespace

Packet part_of(const Packet& bytes, std::size_t from, std::size_t to) {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(from),
            bytes.begin() + static_cast<std::ptrdiff_t>(to)};
}

Packet joined(Packet head, const Packet& tail) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
}

bool is_host(const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) return v4->is_usable_unicast();
    const auto& v6 = std::get<Ipv6Address>(address);
    const bool is_ipv4_compatible = std::all_of(v6.bytes().begin(), v6.bytes().begin() + 12,
                                                [](std::uint8_t byte) { return byte == 0; });
    return v6.is_usable_unicast() && !is_ipv4_compatible;
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

Packet with_mss_at_most(const Ip& ip, unsigned most) {
    const auto at = mss_position(ip);
    if (at == 0 || load16(ip.bytes, at) <= most) return ip.bytes;
    Packet out = ip.bytes;
    store16(out, at, static_cast<std::uint16_t>(most));
    carry_checksum_over(ip.bytes, out, ip.transport + 16, ip.transport, out.size());
    return out;
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

namespace {

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

}  // namespace

std::optional<Outer> open(const Packet& packet) {
    if (packet.empty()) return std::nullopt;
    if (packet[0] / 16 == 6) return open_ipv6(packet);
    return open_ipv4(packet);
}

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

}  // namespace dstm::model
