// Packets of the reference model taken apart and put together: bytes on one side, fields on the
// other. Knows no tunnels and decides nothing. RFC 791, RFC 8200, RFC 768, RFC 792, RFC 4443.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/tunnel/reference_model.hpp"

namespace dstm::model {

// An IP packet taken apart (RFC 791 s3.1, RFC 8200 s3).
struct Ip {
    unsigned version = 0;
    unsigned total_length = 0;
    unsigned dscp = 0;
    unsigned ecn = 0;
    bool dont_fragment = false;
    unsigned fragment_offset = 0;
    unsigned protocol = 0;      // of the transport; 59, "nothing follows", where it is out of reach
    std::size_t transport = 0;  // where it begins
    IpAddress source;
    IpAddress destination;
    Packet bytes;  // what is there of it, cut at total_length
};

// What came from outside, or is to go there.
struct Outer {
    TunnelType type = TunnelType::v4v6;
    IpEndpoint source;
    IpEndpoint destination;
    unsigned ecn = 0;
    Packet payload;
};

[[nodiscard]] Packet joined(Packet head, const Packet& tail);
[[nodiscard]] Packet part_of(const Packet& bytes, std::size_t from, std::size_t to);

// The address of one host. Of IPv6 not one that only names an IPv4 address either (RFC 4213 s3.6).
[[nodiscard]] bool is_host(const IpAddress& address);

// Sets `out`, or returns the counter that says what is wrong. Less than the whole may be there.
[[nodiscard]] std::string take_apart(const Packet& bytes, unsigned version, Ip& out);

// An outer packet; none when it is not for a tunnel. In a quote the packet may be cut short.
[[nodiscard]] std::optional<Outer> open(const Packet& packet);
[[nodiscard]] std::optional<Outer> open_quote(const Packet& quoted);

// The packet with another ECN field or a lower MSS, its checksums carried over.
[[nodiscard]] Packet with_ecn(const Ip& ip, unsigned ecn);
[[nodiscard]] Packet with_mss_at_most(const Ip& ip, unsigned most);

[[nodiscard]] Packet ipv4_header(unsigned traffic_class, unsigned protocol, Ipv4Address source,
                                 Ipv4Address destination, std::size_t payload);
[[nodiscard]] Packet ipv6_header(unsigned traffic_class, unsigned protocol,
                                 const Ipv6Address& source, const Ipv6Address& destination,
                                 std::size_t payload);
// With its checksum (RFC 768).
[[nodiscard]] Packet in_udp(const IpEndpoint& source, const IpEndpoint& destination,
                            const Packet& payload);

// To the source of `about`. With an MTU: it is too big (RFC 1191, RFC 4443 s3.2); with 0: its
// destination cannot be reached (RFC 792, RFC 4443 s3.1).
[[nodiscard]] Packet icmpv4_error(const Ip& about, Ipv4Address source, unsigned mtu);
[[nodiscard]] Packet icmpv6_error(const Ip& about, const Ipv6Address& source, unsigned mtu);

}  // namespace dstm::model
