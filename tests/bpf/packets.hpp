// Packets for the tests of the BPF programs, written out field by field.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/base/ip_address.hpp"

namespace dstm::test {

using Packet = std::vector<std::uint8_t>;

[[nodiscard]] Ipv4Address v4(std::string_view text);
[[nodiscard]] Ipv6Address v6(std::string_view text);

struct Inner {
    Ipv4Address source;
    Ipv4Address destination;
    std::uint8_t tos = 0;
    std::uint8_t ttl = 64;
    std::uint8_t protocol = 17;
    std::uint16_t fragment = 0;  // flags and offset
    Packet options = {};         // of IP, a multiple of 4
    Packet payload = {0x12, 0x34, 0x56, 0x78, 0, 12, 0, 0, 'd', 's', 't', 'm'};
};

struct Outer {
    Ipv6Address source;
    Ipv6Address destination;
    std::uint8_t traffic_class = 0;
    std::uint8_t next_header = 4;
    std::uint8_t hop_limit = 64;
    Packet extension = {};  // between the header and the inner packet
};

// Checksums are right.
[[nodiscard]] Packet make(const Inner& inner);
[[nodiscard]] Packet make(const Outer& outer, const Packet& inner);
// A TCP segment with these flags and options, its checksum right for the addresses.
[[nodiscard]] Packet tcp(const Inner& addresses, std::uint8_t flags, const Packet& options);
[[nodiscard]] Packet mss_option(std::uint16_t mss);
[[nodiscard]] bool tcp_checksum_is_right(const Packet& ip);

// An Ethernet frame around an IPv4 or IPv6 packet.
[[nodiscard]] Packet frame(std::uint16_t ethertype, const Packet& packet);
// What is in a frame.
[[nodiscard]] Packet unframed(const Packet& frame);

}  // namespace dstm::test
