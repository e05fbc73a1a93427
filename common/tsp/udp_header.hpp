// The eight bytes in front of TSP data in a datagram (RFC 5572 s4.4.1.2, Figure 6). They make UDP
// reliable: the client numbers its packets, the broker's reply carries number and time unchanged.
// Duplicate detection and cached replies belong to the session around a ServerSession, not here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dstm::tsp {

inline constexpr std::size_t udp_header_size = 8;
inline constexpr std::uint32_t udp_sequence_max = 0x0fffffff;  // 28 bits

struct UdpHeader {
    std::uint32_t sequence = 0;   // 0..udp_sequence_max
    std::uint32_t timestamp = 0;  // the client's own unit and epoch

    bool operator==(const UdpHeader&) const = default;
};

struct UdpPacket {
    UdpHeader header;
    std::string_view data;  // empty: a header-only acknowledgement

    bool operator==(const UdpPacket&) const = default;
};

// First nibble 0xF: signalling. On a v6udpv4 port the other thing that comes is IPv6, nibble 6.
[[nodiscard]] bool is_udp_signalling(std::string_view datagram);
// nullopt: shorter than the header, or not signalling. `data` points into the datagram.
[[nodiscard]] std::optional<UdpPacket> decode_udp_packet(std::string_view datagram);
[[nodiscard]] std::string encode_udp_packet(const UdpPacket& packet);
// RFC 5572 s4.4.1.2: +1 for each new packet; 28 bits, so it wraps to 0.
[[nodiscard]] std::uint32_t next_udp_sequence(std::uint32_t sequence);

}  // namespace dstm::tsp
