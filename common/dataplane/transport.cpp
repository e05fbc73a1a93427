// The MSS option and the checksums.
#include "common/dataplane/transport.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace dstm::dataplane {
namespace {

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

// RFC 9293 s3.1, RFC 8200 s8.1: the sum, not complemented.
std::uint16_t pseudo_header_sum(const InnerHeader& header, std::size_t segment_size) {
    std::array<std::uint8_t, 40> bytes{};
    const MutableBytes pseudo(bytes);
    // The order and the width of the fields do not matter to a sum of words.
    if (header.version == Version::ipv4) {
        store_ipv4(pseudo, 0, std::get<Ipv4Address>(header.source));
        store_ipv4(pseudo, 16, std::get<Ipv4Address>(header.destination));
    } else {
        store_ipv6(pseudo, 0, std::get<Ipv6Address>(header.source));
        store_ipv6(pseudo, 16, std::get<Ipv6Address>(header.destination));
    }
    store32(pseudo, 32, static_cast<std::uint32_t>(segment_size));
    store8(pseudo, 39, header.protocol);
    return static_cast<std::uint16_t>(~internet_checksum(pseudo));
}

}  // namespace

std::size_t checksum_offset(const InnerHeader& header) {
    return header.protocol == protocol_tcp ? 16 : 6;
}

void clamp_mss(MutableBytes packet, const InnerHeader& header, std::uint16_t mss_max) {
    if (header.protocol != protocol_tcp || !header.is_first_fragment) return;
    const auto segment = packet.subspan(header.transport_offset);
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

bool awaits_checksum(ConstBytes packet, const InnerHeader& header) {
    if (header.is_fragment) return false;  // of a fragment there is no sum
    if (header.protocol != protocol_tcp && header.protocol != protocol_udp) return false;
    const bool is_tcp = header.protocol == protocol_tcp;
    const auto size = header.total_length - std::min(header.transport_offset, header.total_length);
    if (size < (is_tcp ? tcp_header_size_min : udp_header_size)) return false;
    return load16(packet, header.transport_offset + checksum_offset(header)) ==
           pseudo_header_sum(header, size);
}

void complete_checksum(MutableBytes packet) {
    const auto header = read_inner_packet(packet, version_of(packet));
    if (!header || !awaits_checksum(packet, *header)) return;
    write_checksum(packet.first(header->total_length), *header);
}

void write_checksum(MutableBytes packet, const InnerHeader& header) {
    const auto segment = packet.subspan(header.transport_offset);
    const auto field = checksum_offset(header);
    // Where the sum of the pseudo-header stands, it is covered with the rest.
    store16(segment, field, pseudo_header_sum(header, segment.size()));
    const auto checksum = internet_checksum(segment);
    const bool is_udp = header.protocol == protocol_udp;
    store16(segment, field, checksum == 0 && is_udp ? 0xffff : checksum);
}

}  // namespace dstm::dataplane
