// Packets made by a test itself, for the campus of tun_campus.hpp and tun_ipv6_campus.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/dataplane/outer_socket.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {

// An ICMP echo request, whole.
inline std::vector<std::uint8_t> echo_request(const std::string& source,
                                              const std::string& destination, std::size_t size) {
    std::vector<std::uint8_t> packet(size);
    const MutableBytes bytes(packet);
    store8(bytes, 0, 0x45);
    store16(bytes, 2, static_cast<std::uint16_t>(size));
    store8(bytes, 8, 64);
    store8(bytes, 9, 1);
    store_ipv4(bytes, 12, v4(source));
    store_ipv4(bytes, 16, v4(destination));
    store16(bytes, 10, internet_checksum(bytes.first(20)));
    store8(bytes, 20, 8);
    store16(bytes, 22, internet_checksum(bytes.subspan(20)));
    return packet;
}

// An ICMPv6 echo request, whole and right.
inline std::vector<std::uint8_t> echo_request_ipv6(const std::string& source,
                                                   const std::string& destination) {
    constexpr std::uint8_t protocol = 58;
    std::vector<std::uint8_t> packet(48);
    store8(packet, 0, 0x60);
    store16(packet, 4, 8);
    store8(packet, 6, protocol);
    store8(packet, 7, 64);
    store_ipv6(packet, 8, v6(source));
    store_ipv6(packet, 24, v6(destination));
    store8(packet, 40, 128);
    std::vector<std::uint8_t> covered(packet.begin() + 8, packet.end());  // RFC 8200 s8.1
    covered.insert(covered.end(), {0, 0, 0, 8, 0, 0, 0, protocol});
    store16(packet, 42, internet_checksum(covered));
    return packet;
}

// An ICMPv6 message without content. Its checksum is looked at by nobody whom it shall reach.
inline std::vector<std::uint8_t> icmpv6(const std::string& source, const std::string& destination,
                                        std::uint8_t type) {
    std::vector<std::uint8_t> packet(48);
    const MutableBytes bytes(packet);
    store8(bytes, 0, 0x60);
    store16(bytes, 4, 8);
    store8(bytes, 6, 58);
    store8(bytes, 7, 64);
    store_ipv6(bytes, 8, v6(source));
    store_ipv6(bytes, 24, v6(destination));
    store8(bytes, 40, type);
    return packet;
}

// Of RFC 8200 s4.2; 4 is an encapsulation limit (RFC 2473 s4.1.1), 1 and 0 are padding.
using DestinationOptions = std::array<std::uint8_t, 6>;

// A client made by hand: what it sends is what the test says. Its outer address says whether it is
// of v4v6 or has IPv6 inside, a port that this goes in UDP.
class HandMadeClient {
public:
    HandMadeClient(const Namespace& host, const std::string& outer, std::uint16_t port = 0)
        : type_(type_of(outer, port)), socket_(host.in([&] {
              return OuterSocket::open(type_, {parse_ip_address(outer).value(), port});
          })) {}
    void send(const std::vector<std::uint8_t>& inner, std::uint8_t traffic_class = 0) {
        DropTable drops;
        const OutgoingPacket packet{endpoint(), traffic_class, inner};
        socket_.value().send({&packet, 1}, drops);
    }
    // One packet; an empty one when none comes.
    [[nodiscard]] IncomingPacket receive() {
        std::vector<IncomingPacket> packets;
        wait_until([&] {
            socket_.value().receive(buffer_, packets);
            return !packets.empty();
        });
        return packets.empty() ? IncomingPacket() : packets[0];
    }
    // From now on, by v4v6.
    void prefix(const DestinationOptions& options) {
        std::array<std::uint8_t, 8> header{0, 0};  // next header, length (RFC 8200 s4.6)
        std::copy(options.begin(), options.end(), header.begin() + 2);
        ASSERT_EQ(::setsockopt(socket_.value().descriptor(), IPPROTO_IPV6, IPV6_DSTOPTS,
                               header.data(), header.size()),
                  0);
    }

private:
    static TunnelType type_of(const std::string& outer, std::uint16_t port) {
        if (outer.find(':') != std::string::npos) return TunnelType::v4v6;
        return port == 0 ? TunnelType::v6v4 : TunnelType::v6udpv4;
    }
    [[nodiscard]] IpEndpoint endpoint() const {
        if (type_ == TunnelType::v4v6) return {v6("2001:db8:2::1"), 0};
        constexpr std::uint16_t udp_port = 3653;
        return {v4("198.51.100.1"), type_ == TunnelType::v6udpv4 ? udp_port : std::uint16_t{0}};
    }

    TunnelType type_;
    Result<OuterSocket> socket_;
    BatchBuffer buffer_;
};

}  // namespace dstm::dataplane::testing
