// Encoding of the UDP header: network byte order, a marker nibble, no padding (RFC 5572 s4.4.1.2).
#include "common/tsp/udp_header.hpp"

#include "common/base/assert.hpp"

namespace dstm::tsp {
namespace {

constexpr std::uint32_t marker = 0xf0000000;

std::uint32_t read_u32(std::string_view bytes) {
    std::uint32_t value = 0;
    for (const char byte : bytes.substr(0, 4)) {
        value = value << 8 | static_cast<unsigned char>(byte);
    }
    return value;
}

void append_u32(std::string& out, std::uint32_t value) {
    for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(value >> shift & 0xff);
}

}  // namespace

bool is_udp_signalling(std::string_view datagram) {
    return !datagram.empty() && static_cast<unsigned char>(datagram[0]) >> 4 == 0xf;
}

std::optional<UdpPacket> decode_udp_packet(std::string_view datagram) {
    if (datagram.size() < udp_header_size || !is_udp_signalling(datagram)) return std::nullopt;
    return UdpPacket{{read_u32(datagram) & udp_sequence_max, read_u32(datagram.substr(4))},
                     datagram.substr(udp_header_size)};
}

std::string encode_udp_packet(const UdpPacket& packet) {
    DSTM_ASSERT(packet.header.sequence <= udp_sequence_max);
    std::string out;
    out.reserve(udp_header_size + packet.data.size());
    append_u32(out, marker | packet.header.sequence);
    append_u32(out, packet.header.timestamp);
    out += packet.data;
    return out;
}

std::uint32_t next_udp_sequence(std::uint32_t sequence) {
    return (sequence + 1) & udp_sequence_max;
}

}  // namespace dstm::tsp
