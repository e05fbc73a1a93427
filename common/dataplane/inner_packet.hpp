// An IP packet inside a tunnel: read once, bounds-checked, and its ECN field. RFC 791 s3.1, RFC
// 8200 s3 and s4, RFC 6040.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <tl/expected.hpp>

#include "common/base/bytes.hpp"
#include "common/dataplane/drop.hpp"

namespace dstm::dataplane {

inline constexpr std::size_t ipv4_header_size_min = 20;
inline constexpr std::size_t ipv6_header_size = 40;
inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_tcp = 6;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t protocol_icmpv6 = 58;
inline constexpr std::uint8_t protocol_none = 59;  // RFC 8200 s4.7

enum class Version : std::uint8_t { ipv4 = 4, ipv6 = 6 };

struct InnerHeader {
    Version version = Version::ipv4;
    std::size_t transport_offset = 0;  // behind the options or extension headers
    std::size_t total_length = 0;      // as the header says
    std::uint8_t traffic_class = 0;
    std::uint8_t protocol = 0;      // transport; protocol_none where it cannot be found
    bool dont_fragment = false;     // IPv6: always
    bool is_fragment = false;       // the transport's data is not all here
    bool is_first_fragment = true;  // or not a fragment: the transport header is here
    IpAddress source;
    IpAddress destination;
};

// The address of one host, to or from which a tunnel carries.
[[nodiscard]] bool is_host(const IpAddress& address);

// What the first nibble says, if it is 6; IPv4 otherwise, and reading finds out.
[[nodiscard]] Version version_of(ConstBytes bytes);

// The header of a packet of which at least the header is there, as in the quote of an ICMP error.
[[nodiscard]] tl::expected<InnerHeader, Drop> read_inner_header(ConstBytes bytes, Version version);

// As above, and the packet is whole; bytes behind its end are allowed, they are to be cut off.
[[nodiscard]] tl::expected<InnerHeader, Drop> read_inner_packet(ConstBytes bytes, Version version);

// IPv6 that belongs to one link and must not cross a tunnel between two: router solicitations, and
// addresses of link-local or smaller scope (RFC 4291 s2.5.6, s2.7).
[[nodiscard]] std::optional<Drop> check_scope(ConstBytes packet, const InnerHeader& header);

// RFC 6040 s4.2: the ECN field of the packet that leaves the tunnel; none when it is dropped.
[[nodiscard]] std::optional<std::uint8_t> ecn_leaving_tunnel(std::uint8_t inner,
                                                             std::uint8_t outer);

// Sets the ECN field and adapts the header checksum, if there is one.
void set_ecn(MutableBytes packet, Version version, std::uint8_t ecn);

}  // namespace dstm::dataplane
