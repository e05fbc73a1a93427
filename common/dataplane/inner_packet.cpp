// Checks of an inner IPv4 packet, ECN and the MSS option.
#include "common/dataplane/inner_packet.hpp"

#include <array>
#include <utility>

namespace dstm::dataplane {
namespace {

constexpr std::uint8_t ecn_mask = 0x03;
constexpr std::uint8_t ecn_not_ect = 0x00;
constexpr std::uint8_t ecn_ect_1 = 0x01;
constexpr std::uint8_t ecn_ect_0 = 0x02;
constexpr std::uint8_t ecn_ce = 0x03;

constexpr std::size_t tcp_header_size_min = 20;
constexpr std::uint8_t tcp_flag_syn = 0x02;
constexpr std::uint8_t tcp_option_end = 0;
constexpr std::uint8_t tcp_option_no_operation = 1;
constexpr std::uint8_t tcp_option_mss = 2;
constexpr std::size_t tcp_option_mss_size = 4;

std::uint16_t swapped(std::uint16_t word) {
    return static_cast<std::uint16_t>(word << 8 | word >> 8);
}

// Where in the segment the value of the MSS option stands.
std::optional<std::size_t> find_mss(ConstBytes segment) {
    if (segment.size() < tcp_header_size_min) return std::nullopt;
    if ((load8(segment, 13) & tcp_flag_syn) == 0) return std::nullopt;
    const std::size_t header_size = std::size_t{4} * (load8(segment, 12) >> 4);
    if (header_size < tcp_header_size_min || header_size > segment.size()) return std::nullopt;
    std::size_t offset = tcp_header_size_min;
    while (offset < header_size) {
        const auto kind = load8(segment, offset);
        if (kind == tcp_option_end) return std::nullopt;
        if (kind == tcp_option_no_operation) {
            ++offset;
            continue;
        }
        if (offset + 1 >= header_size) return std::nullopt;
        const std::size_t size = load8(segment, offset + 1);
        if (size < 2 || offset + size > header_size) return std::nullopt;
        if (kind == tcp_option_mss && size == tcp_option_mss_size) return offset + 2;
        offset += size;
    }
    return std::nullopt;
}

}  // namespace

tl::expected<InnerHeader, Drop> read_inner_header(ConstBytes bytes) {
    if (bytes.empty()) return tl::unexpected(Drop::inner_truncated);
    const auto first = load8(bytes, 0);
    if (first >> 4 != 4) return tl::unexpected(Drop::inner_bad_version);
    if (bytes.size() < ipv4_header_size_min) return tl::unexpected(Drop::inner_truncated);
    InnerHeader header;
    header.header_size = std::size_t{4} * (first & 0x0f);
    if (header.header_size < ipv4_header_size_min) {
        return tl::unexpected(Drop::inner_bad_header_length);
    }
    if (header.header_size > bytes.size()) return tl::unexpected(Drop::inner_truncated);
    header.traffic_class = load8(bytes, 1);
    header.total_length = load16(bytes, 2);
    if (header.total_length < header.header_size) {
        return tl::unexpected(Drop::inner_bad_total_length);
    }
    const auto fragment = load16(bytes, 6);
    header.dont_fragment = (fragment & 0x4000) != 0;
    header.is_first_fragment = (fragment & 0x1fff) == 0;
    header.protocol = load8(bytes, 9);
    header.source = load_ipv4(bytes, 12);
    header.destination = load_ipv4(bytes, 16);
    return header;
}

tl::expected<InnerHeader, Drop> read_inner_packet(ConstBytes bytes) {
    auto header = read_inner_header(bytes);
    if (header && header->total_length > bytes.size()) {
        return tl::unexpected(Drop::inner_truncated);
    }
    return header;
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

void set_ecn(MutableBytes packet, std::uint8_t ecn) {
    const auto before = load16(packet, 0);
    const auto after = static_cast<std::uint16_t>((before & ~ecn_mask) | ecn);
    if (before == after) return;
    store16(packet, 0, after);
    store16(packet, 10, updated_checksum(load16(packet, 10), before, after));
}

void clamp_mss(MutableBytes packet, const InnerHeader& header, std::uint16_t mss_max) {
    if (header.protocol != protocol_tcp || !header.is_first_fragment) return;
    const auto segment = packet.subspan(header.header_size);
    const auto offset = find_mss(segment);
    if (!offset) return;
    const auto before = load16(segment, *offset);
    if (before <= mss_max) return;
    store16(segment, *offset, mss_max);
    // At an odd offset the two bytes stand in two words of the sum, each in the other's place.
    const bool odd = *offset % 2 != 0;
    const auto old_word = odd ? swapped(before) : before;
    const auto new_word = odd ? swapped(mss_max) : mss_max;
    store16(segment, 16, updated_checksum(load16(segment, 16), old_word, new_word));
}

void complete_checksum(MutableBytes bytes) {
    constexpr std::uint8_t protocol_udp = 17;
    const auto header = read_inner_packet(bytes);
    if (!header || (load16(bytes, 6) & 0x3fff) != 0) return;  // of a fragment there is no sum
    if (header->protocol != protocol_tcp && header->protocol != protocol_udp) return;
    const bool is_tcp = header->protocol == protocol_tcp;
    const std::size_t field = is_tcp ? 16 : 6;
    const auto segment =
        bytes.subspan(header->header_size, header->total_length - header->header_size);
    if (segment.size() < (is_tcp ? tcp_header_size_min : 8)) return;

    std::array<std::uint8_t, 12> pseudo_header{};  // RFC 9293 s3.1, RFC 768
    const MutableBytes pseudo(pseudo_header);
    store_ipv4(pseudo, 0, header->source);
    store_ipv4(pseudo, 4, header->destination);
    store8(pseudo, 9, header->protocol);
    store16(pseudo, 10, static_cast<std::uint16_t>(segment.size()));
    const auto sum = static_cast<std::uint16_t>(~internet_checksum(pseudo));
    if (load16(segment, field) != sum) return;
    // The field holds the first part of the sum already.
    const auto checksum = internet_checksum(segment);
    store16(segment, field, checksum == 0 && !is_tcp ? 0xffff : checksum);
}

}  // namespace dstm::dataplane
