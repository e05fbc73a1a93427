// The reference model with IPv6 inside, against packets written by hand, byte by byte.
#include <gtest/gtest.h>

#include "common/tunnel/reference_model.hpp"
#include "tests/support/packets.hpp"

namespace dstm::model {
namespace {

using packets::v4;
using packets::v6;

const WallTime now = from_unix(1'800'000'000);

// 2001:db8:100::7 to 2001:db8:3::80, UDP 1024 to 53, traffic class 0xb9, one byte of data.
const Packet inner{0x6b, 0x90, 0x00, 0x00, 0x00, 0x09, 0x11, 0x40, 0x20, 0x01, 0x0d, 0xb8, 0x01,
                   0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x20, 0x01,
                   0x0d, 0xb8, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                   0x80, 0x04, 0x00, 0x00, 0x35, 0x00, 0x09, 0x00, 0x00, 0x21};

// 192.0.2.99 to 198.51.100.1.
const Packet header_41{0x45, 0xb9, 0x00, 0x45, 0x00, 0x00, 0x00, 0x00, 0x40, 0x29,
                       0x8d, 0x3f, 0xc0, 0x00, 0x02, 0x63, 0xc6, 0x33, 0x64, 0x01};
// The same with UDP, 40000 to 3653. Its checksum is not looked at: the kernel does that.
const Packet header_udp{0x45, 0xb9, 0x00, 0x4d, 0x00, 0x00, 0x00, 0x00, 0x40, 0x11,
                        0x8d, 0x4f, 0xc0, 0x00, 0x02, 0x63, 0xc6, 0x33, 0x64, 0x01,
                        0x9c, 0x40, 0x0e, 0x45, 0x00, 0x39, 0x00, 0x00};

Packet joined(Packet head, const Packet& tail) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
}

World make_world(World::Role role, std::uint16_t port) {
    TunnelSpec spec;
    spec.type = port == 0 ? TunnelType::v6v4 : TunnelType::v6udpv4;
    spec.inner = v6("2001:db8:100::7");
    spec.outer_client = {v4("192.0.2.99"), port};
    spec.outer_server = v4("198.51.100.1");
    spec.expires_at = now + std::chrono::hours(1);
    World world;
    world.role = role;
    world.inner_ipv6 = v6("2001:db8:100::1");
    world.tunnels = {spec};
    return world;
}

TEST(ReferenceModelIpv6, ClientEncapsulatesByteForByte) {
    const auto plain = encapsulate(make_world(World::Role::client, 0), inner, now);
    EXPECT_EQ(plain.packet, joined(header_41, inner));
    EXPECT_EQ(internet_checksum(ConstBytes(plain.packet).first(20)), 0);
    auto in_udp = encapsulate(make_world(World::Role::client, 40000), inner, now).packet;
    ASSERT_EQ(in_udp.size(), header_udp.size() + inner.size());
    // RFC 768: addresses, protocol and length, then the datagram with its checksum.
    const Packet pseudo{0xc0, 0x00, 0x02, 0x63, 0xc6, 0x33, 0x64, 0x01, 0, 17, 0, 0x39};
    EXPECT_EQ(internet_checksum(joined(pseudo, Packet(in_udp.begin() + 20, in_udp.end()))), 0);
    store16(in_udp, 26, 0);
    EXPECT_EQ(in_udp, joined(header_udp, inner));
}

TEST(ReferenceModelIpv6, EndpointDecapsulatesByteForByte) {
    const auto in_ipv4 = joined(header_41, inner);
    const auto in_udp = joined(header_udp, inner);
    const auto world = make_world(World::Role::endpoint, 0);
    const auto udp_world = make_world(World::Role::endpoint, 40000);
    EXPECT_EQ(decapsulate(world, in_ipv4, now).packet, inner);
    EXPECT_EQ(decapsulate(udp_world, in_udp, now).packet, inner);
    EXPECT_EQ(decapsulate(world, in_udp, now).counter, "spoofed_outer");
    EXPECT_EQ(decapsulate(udp_world, in_ipv4, now).counter, "spoofed_outer");
    auto congested = in_ipv4;
    congested[1] = 0xbb;
    auto marked = inner;
    marked[1] = 0xb0;
    EXPECT_EQ(decapsulate(world, congested, now).packet, marked);
}

TEST(ReferenceModelIpv6, PacketCutAtAnyByteIsDropped) {
    for (const std::uint16_t port : {std::uint16_t{0}, std::uint16_t{40000}}) {
        const auto world = make_world(World::Role::endpoint, port);
        const auto whole = joined(port == 0 ? header_41 : header_udp, inner);
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const Packet cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            EXPECT_EQ(decapsulate(world, cut, now).counter, "not_a_tunnel_packet") << size;
        }
    }
}

TEST(ReferenceModelIpv6, IcmpErrorCutAtAnyByteHasAnAnswerOnlyWithAnInnerHeader) {
    auto world = make_world(World::Role::client, 0);
    const auto message = joined({3, 1, 0, 0, 0, 0, 0, 0}, joined(header_41, inner));
    for (std::size_t size = 0; size < message.size(); ++size) {
        const Packet cut(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
        const auto verdict = relay(world, cut, now);
        EXPECT_EQ(verdict.answer.empty(), size < 8 + 20 + 40) << size;
        EXPECT_EQ(verdict.counter, size < 8 + 20 + 40 ? "icmp_ignored" : "") << size;
    }
}

}  // namespace
}  // namespace dstm::model
