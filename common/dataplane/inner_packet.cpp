// Reading of both versions, scope and ECN.
#include "common/dataplane/inner_packet.hpp"

#include <algorithm>

namespace dstm::dataplane {
namespace {

constexpr std::uint8_t ecn_mask = 0x03;
constexpr std::uint8_t ecn_not_ect = 0x00;
constexpr std::uint8_t ecn_ect_1 = 0x01;
constexpr std::uint8_t ecn_ect_0 = 0x02;
constexpr std::uint8_t ecn_ce = 0x03;

// RFC 8200 s4
constexpr std::uint8_t next_hop_by_hop = 0;
constexpr std::uint8_t next_routing = 43;
constexpr std::uint8_t next_fragment = 44;
constexpr std::uint8_t next_destination_options = 60;
// Nobody sends more; a packet full of them shall not cost more than another.
constexpr int extension_headers_max = 8;

constexpr std::uint8_t icmpv6_router_solicitation = 133;  // RFC 4861 s4.1
constexpr std::uint8_t scope_link_local = 2;              // RFC 4291 s2.7

tl::expected<InnerHeader, Drop> read_ipv4_header(ConstBytes bytes) {
    if (bytes.size() < ipv4_header_size_min) return tl::unexpected(Drop::inner_truncated);
    InnerHeader header;
    header.transport_offset = std::size_t{4} * (load8(bytes, 0) & 0x0f);
    if (header.transport_offset < ipv4_header_size_min) {
        return tl::unexpected(Drop::inner_bad_header_length);
    }
    if (header.transport_offset > bytes.size()) return tl::unexpected(Drop::inner_truncated);
    header.traffic_class = load8(bytes, 1);
    header.total_length = load16(bytes, 2);
    if (header.total_length < header.transport_offset) {
        return tl::unexpected(Drop::inner_bad_total_length);
    }
    const auto fragment = load16(bytes, 6);
    header.dont_fragment = (fragment & 0x4000) != 0;
    header.is_fragment = (fragment & 0x3fff) != 0;
    header.is_first_fragment = (fragment & 0x1fff) == 0;
    header.protocol = load8(bytes, 9);
    header.source = load_ipv4(bytes, 12);
    header.destination = load_ipv4(bytes, 16);
    return header;
}

// Goes over the extension headers that may stand before a transport header.
void find_transport(ConstBytes packet, InnerHeader& header) {
    auto next = load8(packet, 6);
    auto at = ipv6_header_size;
    header.protocol = protocol_none;
    for (int i = 0; i < extension_headers_max; ++i) {
        const bool is_fragment = next == next_fragment;
        if (next != next_hop_by_hop && next != next_routing && next != next_destination_options &&
            !is_fragment) {
            header.protocol = next;
            header.transport_offset = at;
            return;
        }
        if (at + 8 > packet.size()) return;
        next = load8(packet, at);
        if (is_fragment) {
            const auto offset_and_more = load16(packet, at + 2);
            header.is_fragment = true;
            header.is_first_fragment = offset_and_more >> 3 == 0;
            at += 8;
            if (header.is_first_fragment) continue;
            header.protocol = next;
            header.transport_offset = at;
            return;
        }
        at += std::size_t{8} * (load8(packet, at + 1) + 1);
        if (at > packet.size()) return;
    }
}

tl::expected<InnerHeader, Drop> read_ipv6_header(ConstBytes bytes) {
    if (bytes.size() < ipv6_header_size) return tl::unexpected(Drop::inner_truncated);
    InnerHeader header;
    header.version = Version::ipv6;
    header.transport_offset = ipv6_header_size;
    header.total_length = ipv6_header_size + load16(bytes, 4);
    header.traffic_class = static_cast<std::uint8_t>(load16(bytes, 0) >> 4);
    header.dont_fragment = true;  // RFC 8200 s5: no router fragments
    header.source = load_ipv6(bytes, 8);
    header.destination = load_ipv6(bytes, 24);
    find_transport(bytes.first(std::min(bytes.size(), header.total_length)), header);
    return header;
}

bool is_link_scoped(const IpAddress& address) {
    const auto& v6 = std::get<Ipv6Address>(address);
    const bool multicast = v6.bytes()[0] == 0xff;
    return v6.is_link_local() || (multicast && (v6.bytes()[1] & 0x0f) <= scope_link_local);
}

}  // namespace

bool is_host(const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) return v4->is_usable_unicast();
    const auto& v6 = std::get<Ipv6Address>(address);
    // RFC 4213 s3.6: an IPv4-compatible address is never a source.
    const bool is_ipv4_compatible = std::all_of(v6.bytes().begin(), v6.bytes().begin() + 12,
                                                [](std::uint8_t byte) { return byte == 0; });
    return v6.is_usable_unicast() && !is_ipv4_compatible;
}

Version version_of(ConstBytes bytes) {
    return !bytes.empty() && load8(bytes, 0) >> 4 == 6 ? Version::ipv6 : Version::ipv4;
}

tl::expected<InnerHeader, Drop> read_inner_header(ConstBytes bytes, Version version) {
    if (bytes.empty()) return tl::unexpected(Drop::inner_truncated);
    if (load8(bytes, 0) >> 4 != static_cast<std::uint8_t>(version)) {
        return tl::unexpected(Drop::inner_bad_version);
    }
    return version == Version::ipv4 ? read_ipv4_header(bytes) : read_ipv6_header(bytes);
}

tl::expected<InnerHeader, Drop> read_inner_packet(ConstBytes bytes, Version version) {
    auto header = read_inner_header(bytes, version);
    if (header && header->total_length > bytes.size()) {
        return tl::unexpected(Drop::inner_truncated);
    }
    return header;
}

std::optional<Drop> check_scope(ConstBytes packet, const InnerHeader& header) {
    if (header.version == Version::ipv4) return std::nullopt;
    if (header.protocol == protocol_icmpv6 && header.is_first_fragment &&
        header.total_length > header.transport_offset &&
        load8(packet, header.transport_offset) == icmpv6_router_solicitation) {
        return Drop::router_solicitation;
    }
    if (is_link_scoped(header.source) || is_link_scoped(header.destination)) {
        return Drop::link_local;
    }
    return std::nullopt;
}

std::optional<std::uint8_t> ecn_leaving_tunnel(std::uint8_t inner, std::uint8_t outer) {
    inner &= ecn_mask;
    outer &= ecn_mask;
    if (outer == ecn_ce) {
        if (inner == ecn_not_ect) return std::nullopt;
        return ecn_ce;
    }
    if (inner == ecn_ect_0 && outer == ecn_ect_1) return ecn_ect_1;
    return inner;
}

void set_ecn(MutableBytes packet, Version version, std::uint8_t ecn) {
    const int shift = version == Version::ipv6 ? 4 : 0;
    const auto before = load16(packet, 0);
    const auto after = static_cast<std::uint16_t>((before & ~(ecn_mask << shift)) | ecn << shift);
    if (before == after) return;
    store16(packet, 0, after);
    if (version == Version::ipv6) return;
    store16(packet, 10, updated_checksum(load16(packet, 10), before, after));
}

}  // namespace dstm::dataplane
