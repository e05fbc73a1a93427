#include "bpf/packets.hpp"

#include <cstddef>

#include "common/base/assert.hpp"
#include "common/base/bytes.hpp"

namespace dstm::test {
namespace {

constexpr std::size_t frame_header_size = 14;

void append(Packet& out, const Packet& more) { out.insert(out.end(), more.begin(), more.end()); }

// The segment behind its pseudo-header, RFC 9293 s3.1.
Packet with_pseudo_header(const Packet& ip) {
    const std::size_t header_size = std::size_t{4} * (ip[0] & 0x0f);
    Packet out(ip.begin() + 12, ip.begin() + 20);
    const auto size = static_cast<std::uint16_t>(ip.size() - header_size);
    append(out, {0, 6, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
    out.insert(out.end(), ip.begin() + static_cast<std::ptrdiff_t>(header_size), ip.end());
    return out;
}

}  // namespace

Ipv4Address v4(std::string_view text) {
    const auto address = Ipv4Address::parse(text);
    DSTM_ASSERT(address.has_value());
    return *address;
}

Ipv6Address v6(std::string_view text) {
    const auto address = Ipv6Address::parse(text);
    DSTM_ASSERT(address.has_value());
    return *address;
}

Packet make(const Inner& inner) {
    const auto header_size = 20 + inner.options.size();
    Packet out(20);
    out[0] = static_cast<std::uint8_t>(0x40 + header_size / 4);
    out[1] = inner.tos;
    store16(out, 2, static_cast<std::uint16_t>(header_size + inner.payload.size()));
    store16(out, 4, 0xbeef);
    store16(out, 6, inner.fragment);
    out[8] = inner.ttl;
    out[9] = inner.protocol;
    store_ipv4(out, 12, inner.source);
    store_ipv4(out, 16, inner.destination);
    append(out, inner.options);
    store16(out, 10, internet_checksum(out));
    append(out, inner.payload);
    return out;
}

Packet make(const Outer& outer, const Packet& inner) {
    Packet out(40);
    out[0] = static_cast<std::uint8_t>(0x60 | outer.traffic_class >> 4);
    out[1] = static_cast<std::uint8_t>(outer.traffic_class << 4);
    store16(out, 4, static_cast<std::uint16_t>(outer.extension.size() + inner.size()));
    out[6] = outer.next_header;
    out[7] = outer.hop_limit;
    store_ipv6(out, 8, outer.source);
    store_ipv6(out, 24, outer.destination);
    append(out, outer.extension);
    append(out, inner);
    return out;
}

Packet tcp(const Inner& addresses, std::uint8_t flags, const Packet& options) {
    DSTM_ASSERT(options.size() % 4 == 0);
    Inner inner = addresses;
    inner.protocol = 6;
    inner.payload = Packet(20);
    store16(inner.payload, 0, 40000);
    store16(inner.payload, 2, 80);
    inner.payload[12] = static_cast<std::uint8_t>((20 + options.size()) / 4 << 4);
    inner.payload[13] = flags;
    append(inner.payload, options);
    auto out = make(inner);
    const auto checksum = internet_checksum(with_pseudo_header(out));
    store16(out, 20 + inner.options.size() + 16, checksum);
    return out;
}

Packet mss_option(std::uint16_t mss) {
    return {2, 4, static_cast<std::uint8_t>(mss >> 8), static_cast<std::uint8_t>(mss)};
}

bool tcp_checksum_is_right(const Packet& ip) {
    return internet_checksum(with_pseudo_header(ip)) == 0;
}

Packet frame(std::uint16_t ethertype, const Packet& packet) {
    Packet out(frame_header_size);
    out[5] = 1;
    out[11] = 2;
    store16(out, 12, ethertype);
    append(out, packet);
    return out;
}

Packet unframed(const Packet& frame) {
    DSTM_ASSERT(frame.size() >= frame_header_size);
    return Packet(frame.begin() + frame_header_size, frame.end());
}

}  // namespace dstm::test
