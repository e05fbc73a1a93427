// Cutting, and counting what would be cut.
#include "common/dataplane/segments.hpp"

#include <algorithm>

#include "common/dataplane/transport.hpp"

namespace dstm::dataplane {
namespace {

constexpr std::uint8_t tcp_flag_fin = 0x01;
constexpr std::uint8_t tcp_flag_psh = 0x08;
constexpr std::uint8_t tcp_flag_cwr = 0x80;

// The headers of one segment, which was cut at `at` of the payload.
void finish_segment(MutableBytes segment, const InnerHeader& whole, std::size_t number,
                    std::size_t at, bool is_last) {
    if (whole.version == Version::ipv4) {
        store16(segment, 2, static_cast<std::uint16_t>(segment.size()));
        store16(segment, 4, static_cast<std::uint16_t>(load16(segment, 4) + number));
        store16(segment, 10, 0);
        const auto ip_header = segment.first(whole.transport_offset);
        store16(segment, 10, internet_checksum(ip_header));
    } else {
        store16(segment, 4, static_cast<std::uint16_t>(segment.size() - ipv6_header_size));
    }
    const auto transport = segment.subspan(whole.transport_offset);
    if (whole.protocol == protocol_tcp) {
        store32(transport, 4, load32(transport, 4) + static_cast<std::uint32_t>(at));
        auto flags = load8(transport, 13);
        if (!is_last) flags &= static_cast<std::uint8_t>(~(tcp_flag_fin | tcp_flag_psh));
        if (number > 0) flags &= static_cast<std::uint8_t>(~tcp_flag_cwr);
        store8(transport, 13, flags);
    } else {
        store16(transport, 4, static_cast<std::uint16_t>(transport.size()));
    }
    write_checksum(segment, whole);
}

}  // namespace

std::size_t payload_offset(ConstBytes packet, const InnerHeader& header) {
    if (header.is_fragment || header.total_length > packet.size()) return 0;
    const auto transport = header.transport_offset;
    const auto there = header.total_length - std::min(transport, header.total_length);
    std::size_t size = 0;
    if (header.protocol == protocol_udp) size = udp_header_size;
    if (header.protocol == protocol_tcp && there >= tcp_header_size_min) {
        size = std::max(tcp_header_size_min, std::size_t{4} * (load8(packet, transport + 12) >> 4));
    }
    return size != 0 && size <= there ? transport + size : 0;
}

WireSize wire_size(ConstBytes packet, const InnerHeader& header, SegmentSize segment_size) {
    const auto offset = segment_size == 0 ? 0 : payload_offset(packet, header);
    if (offset == 0) return {1, header.total_length};
    const auto payload = header.total_length - offset;
    const auto count = std::max<std::size_t>(1, (payload + segment_size - 1) / segment_size);
    return {count, count * offset + payload};
}

void Segments::clear() {
    bytes_.clear();
    sizes_.clear();
}

void Segments::add_bytes(ConstBytes bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void Segments::add(ConstBytes packet, SegmentSize segment_size) {
    const auto header = read_inner_packet(packet, version_of(packet));
    const auto offset = header && segment_size != 0 ? payload_offset(packet, *header) : 0;
    if (offset == 0) {
        add_bytes(packet);
        sizes_.push_back(packet.size());
        return;
    }
    const auto headers = packet.first(offset);
    const auto payload = packet.subspan(offset, header->total_length - offset);
    std::size_t at = 0;
    for (std::size_t number = 0; number == 0 || at < payload.size(); ++number) {
        const auto part =
            payload.subspan(at, std::min<std::size_t>(segment_size, payload.size() - at));
        add_bytes(headers);
        add_bytes(part);
        const auto segment = MutableBytes(bytes_).last(offset + part.size());
        sizes_.push_back(segment.size());
        const bool is_last = at + part.size() == payload.size();
        finish_segment(segment, *header, number, at, is_last);
        at += part.size();
    }
}

std::vector<MutableBytes> Segments::packets() {
    std::vector<MutableBytes> out;
    out.reserve(sizes_.size());
    MutableBytes rest(bytes_);
    for (const auto size : sizes_) {
        out.push_back(rest.first(size));
        rest = rest.subspan(size);
    }
    return out;
}

}  // namespace dstm::dataplane
