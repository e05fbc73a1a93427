// Packets for tests, field by field, with right lengths and checksums unless the test says so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/bytes.hpp"

namespace dstm::packets {

using Packet = std::vector<std::uint8_t>;

inline Ipv4Address v4(const std::string& text) { return Ipv4Address::parse(text).value(); }
inline Ipv6Address v6(const std::string& text) { return Ipv6Address::parse(text).value(); }

struct Ipv4Fields {
    Ipv4Address source;
    Ipv4Address destination;
    std::uint8_t traffic_class = 0;
    bool dont_fragment = false;
    bool more_fragments = false;
    std::uint16_t fragment_offset = 0;  // in units of 8
    std::uint8_t protocol = 17;
    Packet options;  // a multiple of 4
    Packet payload = Packet(8, 0xab);
};

inline void fix_header_checksum(Packet& packet) {
    const std::size_t header_size = std::size_t{4} * (packet.at(0) & 0x0f);
    store16(packet, 10, 0);
    store16(packet, 10, internet_checksum(ConstBytes(packet).first(header_size)));
}

inline Packet make_ipv4(const Ipv4Fields& fields) {
    Packet out(20);
    out.insert(out.end(), fields.options.begin(), fields.options.end());
    store8(out, 0, static_cast<std::uint8_t>(0x40 + out.size() / 4));
    out.insert(out.end(), fields.payload.begin(), fields.payload.end());
    store8(out, 1, fields.traffic_class);
    store16(out, 2, static_cast<std::uint16_t>(out.size()));
    store16(out, 4, 0x1234);
    store16(
        out, 6,
        static_cast<std::uint16_t>((fields.dont_fragment ? 0x4000 : 0) +
                                   (fields.more_fragments ? 0x2000 : 0) + fields.fragment_offset));
    store8(out, 8, 64);
    store8(out, 9, fields.protocol);
    store_ipv4(out, 12, fields.source);
    store_ipv4(out, 16, fields.destination);
    fix_header_checksum(out);
    return out;
}

inline Packet make_ipv6(const Ipv6Address& source, const Ipv6Address& destination,
                        std::uint8_t traffic_class, std::uint8_t next_header,
                        const Packet& payload) {
    Packet out(40);
    store16(out, 0, static_cast<std::uint16_t>(0x6000 + traffic_class * 16));
    store16(out, 4, static_cast<std::uint16_t>(payload.size()));
    store8(out, 6, next_header);
    store8(out, 7, 64);
    store_ipv6(out, 8, source);
    store_ipv6(out, 24, destination);
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
}

// An outer IPv4 header as a tunnel writes it: no options, no identification, no DF.
inline Packet make_outer_ipv4(Ipv4Address source, Ipv4Address destination,
                              std::uint8_t traffic_class, std::uint8_t protocol,
                              const Packet& payload) {
    Ipv4Fields fields;
    fields.source = source;
    fields.destination = destination;
    fields.traffic_class = traffic_class;
    fields.protocol = protocol;
    fields.payload = payload;
    auto out = make_ipv4(fields);
    store16(out, 4, 0);
    fix_header_checksum(out);
    return out;
}

// UDP in IPv4, both checksums right.
inline Packet make_outer_udp(const IpEndpoint& source, const IpEndpoint& destination,
                             std::uint8_t traffic_class, const Packet& payload) {
    Packet udp(8);
    store16(udp, 0, source.port);
    store16(udp, 2, destination.port);
    store16(udp, 4, static_cast<std::uint16_t>(8 + payload.size()));
    udp.insert(udp.end(), payload.begin(), payload.end());
    const auto from = std::get<Ipv4Address>(source.address);
    const auto to = std::get<Ipv4Address>(destination.address);
    Packet covered(12);
    store_ipv4(covered, 0, from);
    store_ipv4(covered, 4, to);
    store16(covered, 8, 17);
    store16(covered, 10, load16(udp, 4));
    covered.insert(covered.end(), udp.begin(), udp.end());
    const auto sum = internet_checksum(covered);
    store16(udp, 6, sum == 0 ? 0xffff : sum);
    return make_outer_ipv4(from, to, traffic_class, 17, udp);
}

struct Ipv6Fields {
    Ipv6Address source;
    Ipv6Address destination;
    std::uint8_t traffic_class = 0;
    std::uint8_t next_header = 17;
    Packet payload = Packet(8, 0xab);  // extension headers too
};

inline Packet make_ipv6(const Ipv6Fields& fields) {
    return make_ipv6(fields.source, fields.destination, fields.traffic_class, fields.next_header,
                     fields.payload);
}

// The sum that a receiver of TCP, UDP or ICMPv6 over IPv6 makes; 0 when the checksum is right.
inline std::uint16_t ipv6_checksum_error(const Packet& ipv6, std::uint8_t protocol,
                                         std::size_t at = 40) {
    Packet covered(ipv6.begin() + 8, ipv6.begin() + 40);
    covered.resize(40);
    store32(covered, 32, static_cast<std::uint32_t>(ipv6.size() - at));
    store32(covered, 36, protocol);
    covered.insert(covered.end(), ipv6.begin() + static_cast<std::ptrdiff_t>(at), ipv6.end());
    return internet_checksum(covered);
}

// A SYN over IPv6, behind extension headers if `payload` holds some, checksum right.
inline Packet make_syn(Ipv6Fields fields, const Packet& options, std::uint8_t flags = 0x02) {
    const auto at = 40 + fields.payload.size();
    Packet tcp(20);
    store16(tcp, 0, 40000);
    store16(tcp, 2, 80);
    store8(tcp, 12, static_cast<std::uint8_t>((20 + options.size()) / 4 * 16));
    store8(tcp, 13, flags);
    tcp.insert(tcp.end(), options.begin(), options.end());
    if (fields.payload.empty()) fields.next_header = 6;
    fields.payload.insert(fields.payload.end(), tcp.begin(), tcp.end());
    auto out = make_ipv6(fields);
    store16(out, at + 16, ipv6_checksum_error(out, 6, at));
    return out;
}

// The sum that a receiver of TCP over IPv4 makes; 0 when the checksum is right.
inline std::uint16_t tcp_checksum_error(const Packet& ipv4) {
    const std::size_t header_size = std::size_t{4} * (ipv4.at(0) & 0x0f);
    Packet covered(12);
    store_ipv4(covered, 0, load_ipv4(ipv4, 12));
    store_ipv4(covered, 4, load_ipv4(ipv4, 16));
    store16(covered, 8, 6);
    store16(covered, 10, static_cast<std::uint16_t>(ipv4.size() - header_size));
    covered.insert(covered.end(), ipv4.begin() + static_cast<std::ptrdiff_t>(header_size),
                   ipv4.end());
    return internet_checksum(covered);
}

// A SYN with the given options (a multiple of 4), checksum right.
inline Packet make_syn(Ipv4Fields fields, const Packet& options, std::uint8_t flags = 0x02) {
    fields.protocol = 6;
    fields.payload.assign(20, 0);
    store16(fields.payload, 0, 40000);
    store16(fields.payload, 2, 80);
    store8(fields.payload, 12, static_cast<std::uint8_t>((20 + options.size()) / 4 * 16));
    store8(fields.payload, 13, flags);
    fields.payload.insert(fields.payload.end(), options.begin(), options.end());
    auto out = make_ipv4(fields);
    store16(out, 20 + fields.options.size() + 16, tcp_checksum_error(out));
    return out;
}

}  // namespace dstm::packets
