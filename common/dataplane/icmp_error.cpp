// ICMP errors to the inner source (RFC 792, RFC 1191, RFC 2473 s8).
#include "common/dataplane/icmp_error.hpp"

#include <algorithm>

namespace dstm::dataplane {
namespace {

constexpr std::uint8_t icmp_unreachable = 3;
constexpr std::uint8_t code_host_unreachable = 1;
constexpr std::uint8_t code_fragmentation_needed = 4;
constexpr std::uint8_t precedence_internetwork_control = 0xc0;  // RFC 1812 s4.3.2.5
constexpr std::uint8_t time_to_live = 64;
constexpr std::size_t icmp_header_size = 8;

// RFC 1122 s3.2.2: unreachable, source quench, redirect, time exceeded, parameter problem.
bool is_icmp_error(std::uint8_t type) {
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

}  // namespace

bool may_be_answered(ConstBytes packet, const InnerHeader& header) {
    if (!header.is_first_fragment || !header.source.is_usable_unicast()) return false;
    if (header.protocol != protocol_icmp) return true;
    // Without its type it might be an error.
    return packet.size() > header.header_size && !is_icmp_error(load8(packet, header.header_size));
}

std::vector<std::uint8_t> make_icmp_error(IcmpKind kind, std::uint16_t next_hop_mtu,
                                          Ipv4Address source, ConstBytes quoted,
                                          const InnerHeader& header) {
    constexpr auto headers_size = ipv4_header_size_min + icmp_header_size;
    const auto quote_size =
        std::min({quoted.size(), header.total_length, icmp_error_size_max - headers_size});
    std::vector<std::uint8_t> out(headers_size + quote_size);
    const MutableBytes packet(out);
    store8(packet, 0, 0x45);
    store8(packet, 1, precedence_internetwork_control);
    store16(packet, 2, static_cast<std::uint16_t>(out.size()));
    store8(packet, 8, time_to_live);
    store8(packet, 9, protocol_icmp);
    store_ipv4(packet, 12, source);
    store_ipv4(packet, 16, header.source);
    store16(packet, 10, internet_checksum(packet.first(ipv4_header_size_min)));

    const auto message = packet.subspan(ipv4_header_size_min);
    const bool too_big = kind == IcmpKind::fragmentation_needed;
    store8(message, 0, icmp_unreachable);
    store8(message, 1, too_big ? code_fragmentation_needed : code_host_unreachable);
    if (too_big) store16(message, 6, next_hop_mtu);
    std::copy_n(quoted.begin(), quote_size,
                message.begin() + static_cast<std::ptrdiff_t>(icmp_header_size));
    store16(message, 2, internet_checksum(message));
    return out;
}

}  // namespace dstm::dataplane
