// ICMP and ICMPv6 errors to the inner source.
#include "common/dataplane/icmp_error.hpp"

#include <algorithm>

namespace dstm::dataplane {
namespace {

constexpr std::uint8_t precedence_internetwork_control = 0xc0;  // RFC 1812 s4.3.2.5
constexpr std::uint8_t time_to_live = 64;
constexpr std::size_t icmp_header_size = 8;
constexpr std::size_t icmp_error_size_max = 576;     // RFC 1812 s4.3.2.3
constexpr std::size_t icmpv6_error_size_max = 1280;  // RFC 4443 s2.4 (c)

struct Kind {
    std::uint8_t type;
    std::uint8_t code;
};

// RFC 1122 s3.2.2: unreachable, source quench, redirect, time exceeded, parameter problem.
bool is_icmp_error(std::uint8_t type) {
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

// RFC 4443 s2.4 (e.1), (e.2)
bool is_icmpv6_error(std::uint8_t type) { return type < 128 || type == 137; }

// Room for an IP header and the message behind it, filled but for the checksum.
std::vector<std::uint8_t> make_message(std::size_t ip_header_size, std::size_t size_max, Kind kind,
                                       ConstBytes quoted) {
    const auto quote_size = std::min(quoted.size(), size_max - ip_header_size - icmp_header_size);
    std::vector<std::uint8_t> out(ip_header_size + icmp_header_size + quote_size);
    const auto message = MutableBytes(out).subspan(ip_header_size);
    store8(message, 0, kind.type);
    store8(message, 1, kind.code);
    std::copy_n(quoted.begin(), quote_size,
                message.begin() + static_cast<std::ptrdiff_t>(icmp_header_size));
    return out;
}

std::vector<std::uint8_t> make_icmpv4(IcmpKind kind, std::uint16_t mtu, Ipv4Address source,
                                      Ipv4Address destination, ConstBytes quoted) {
    const bool too_big = kind == IcmpKind::too_big;
    auto out = make_message(ipv4_header_size_min, icmp_error_size_max,
                            too_big ? Kind{3, 4} : Kind{3, 1}, quoted);
    const MutableBytes packet(out);
    store8(packet, 0, 0x45);
    store8(packet, 1, precedence_internetwork_control);
    store16(packet, 2, static_cast<std::uint16_t>(out.size()));
    store8(packet, 8, time_to_live);
    store8(packet, 9, protocol_icmp);
    store_ipv4(packet, 12, source);
    store_ipv4(packet, 16, destination);
    store16(packet, 10, internet_checksum(packet.first(ipv4_header_size_min)));
    const auto message = packet.subspan(ipv4_header_size_min);
    if (too_big) store16(message, 6, mtu);
    store16(message, 2, internet_checksum(message));
    return out;
}

std::vector<std::uint8_t> make_icmpv6(IcmpKind kind, std::uint16_t mtu, const Ipv6Address& source,
                                      const Ipv6Address& destination, ConstBytes quoted) {
    const bool too_big = kind == IcmpKind::too_big;
    auto out = make_message(ipv6_header_size, icmpv6_error_size_max,
                            too_big ? Kind{2, 0} : Kind{1, 3}, quoted);
    const MutableBytes packet(out);
    const auto message = packet.subspan(ipv6_header_size);
    if (too_big) store32(message, 4, mtu);
    store_ipv6(packet, 8, source);
    store_ipv6(packet, 24, destination);
    // RFC 4443 s2.3: with a pseudo-header, which the fields that are still empty make room for.
    store16(packet, 4, static_cast<std::uint16_t>(message.size()));
    store8(packet, 7, protocol_icmpv6);
    store16(message, 2, internet_checksum(packet));
    store8(packet, 0, 0x60);
    store8(packet, 6, protocol_icmpv6);
    store8(packet, 7, time_to_live);
    return out;
}

}  // namespace

bool may_be_answered(ConstBytes packet, const InnerHeader& header) {
    if (!is_host(header.source)) return false;
    const bool is_ipv4 = header.version == Version::ipv4;
    if (is_ipv4 && !header.is_first_fragment) return false;
    // What cannot be looked at might be an error.
    if (!is_ipv4 && header.protocol == protocol_none) return false;
    if (header.protocol != (is_ipv4 ? protocol_icmp : protocol_icmpv6)) return true;
    if (!header.is_first_fragment || packet.size() <= header.transport_offset) return false;
    const auto type = load8(packet, header.transport_offset);
    return is_ipv4 ? !is_icmp_error(type) : !is_icmpv6_error(type);
}

std::optional<TooBig> read_too_big(ConstBytes packet, const InnerHeader& header) {
    const bool is_ipv4 = header.version == Version::ipv4;
    if (header.protocol != (is_ipv4 ? protocol_icmp : protocol_icmpv6) || header.is_fragment ||
        header.total_length < header.transport_offset + icmp_header_size) {
        return std::nullopt;
    }
    const auto message = packet.first(header.total_length).subspan(header.transport_offset);
    const Kind kind{load8(message, 0), load8(message, 1)};
    if (kind.type != (is_ipv4 ? 3 : 2) || kind.code != (is_ipv4 ? 4 : 0)) return std::nullopt;
    const auto mtu = is_ipv4 ? std::uint32_t{load16(message, 6)} : load32(message, 4);
    return TooBig{mtu, message.subspan(icmp_header_size)};
}

std::vector<std::uint8_t> make_icmp_error(IcmpKind kind, std::uint16_t mtu, const IpAddress& source,
                                          ConstBytes quoted, const InnerHeader& header) {
    const auto whole = quoted.first(std::min(quoted.size(), header.total_length));
    if (header.version == Version::ipv4) {
        return make_icmpv4(kind, mtu, std::get<Ipv4Address>(source),
                           std::get<Ipv4Address>(header.source), whole);
    }
    return make_icmpv6(kind, mtu, std::get<Ipv6Address>(source),
                       std::get<Ipv6Address>(header.source), whole);
}

}  // namespace dstm::dataplane
