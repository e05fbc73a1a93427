// The reference model against packets written by hand, byte by byte: it is what everything else
// is measured with.
#include "common/tunnel/reference_model.hpp"

#include <gtest/gtest.h>

#include "tests/support/packets.hpp"

namespace dstm::model {
namespace {

using packets::v4;
using packets::v6;

const WallTime now = from_unix(1'800'000'000);

// 192.0.2.7 to 203.0.113.80, UDP 1024 to 53, one byte of data.
const Packet inner{0x45, 0x02, 0x00, 0x1d, 0x00, 0x01, 0x00, 0x00, 0x40, 0x11,
                   0x7c, 0x75, 0xc0, 0x00, 0x02, 0x07, 0xcb, 0x00, 0x71, 0x50,
                   0x04, 0x00, 0x00, 0x35, 0x00, 0x09, 0x00, 0x00, 0x21};

Packet joined(Packet head, const Packet& tail) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
}

// 2001:db8:1::5 to 2001:db8:2::1.
Packet ipv6_header(std::uint8_t traffic_class, std::uint8_t length, std::uint8_t next) {
    return {static_cast<std::uint8_t>(0x60 + traffic_class / 16),
            static_cast<std::uint8_t>(traffic_class * 16),
            0,
            0,
            0,
            length,
            next,
            64,
            0x20,
            0x01,
            0x0d,
            0xb8,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            5,
            0x20,
            0x01,
            0x0d,
            0xb8,
            0,
            2,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            1};
}

World make_world(World::Role role) {
    TunnelSpec spec;
    spec.inner = v4("192.0.2.7");
    spec.outer_client = {v6("2001:db8:1::5"), 0};
    spec.outer_server = v6("2001:db8:2::1");
    spec.expires_at = now + std::chrono::hours(1);
    World world;
    world.role = role;
    world.inner = v4("192.0.2.1");
    world.tunnels = {spec};
    return world;
}

TEST(ReferenceModel, ChecksumOfTheVectorIsRight) {
    EXPECT_EQ(internet_checksum(ConstBytes(inner).first(20)), 0);
}

TEST(ReferenceModel, ClientEncapsulatesByteForByte) {
    const auto verdict = encapsulate(make_world(World::Role::client), inner, now);
    EXPECT_EQ(verdict.counter, "");
    EXPECT_EQ(verdict.packet, joined(ipv6_header(0x02, 29, 4), inner));
}

TEST(ReferenceModel, EndpointDecapsulatesByteForByte) {
    const auto world = make_world(World::Role::endpoint);
    EXPECT_EQ(decapsulate(world, joined(ipv6_header(0x02, 29, 4), inner), now).packet, inner);
    auto congested = inner;
    congested[1] = 0x03;
    congested[11] = 0x74;  // one more in the first word, one less here
    EXPECT_EQ(decapsulate(world, joined(ipv6_header(0x03, 29, 4), inner), now).packet, congested);
}

TEST(ReferenceModel, EncapsulationLimitBeforeTheInnerPacketIsAccepted) {
    const Packet options{4, 0, 4, 1, 4, 1, 1, 0};  // RFC 2473 s4.1.1, with PadN
    const auto outer = joined(joined(ipv6_header(0x02, 37, 60), options), inner);
    EXPECT_EQ(decapsulate(make_world(World::Role::endpoint), outer, now).packet, inner);
}

TEST(ReferenceModel, WhatIsNotATunnelPacketIsSaidSo) {
    const auto world = make_world(World::Role::endpoint);
    const auto fragment = joined(joined(ipv6_header(0, 37, 44), {4, 0, 0, 1, 0, 0, 0, 1}), inner);
    auto other_version = joined(ipv6_header(0, 29, 4), inner);
    other_version[0] = 0x45;
    const Packet endless = joined(ipv6_header(0, 8, 60), {60, 9, 0, 0, 0, 0, 0, 0});
    for (const auto& packet : {fragment, other_version, endless,
                               joined(ipv6_header(0, 29, 17), inner), ipv6_header(0, 29, 4)}) {
        EXPECT_EQ(decapsulate(world, packet, now).counter, "not_a_tunnel_packet");
    }
}

TEST(ReferenceModel, PacketCutAtAnyByteIsDropped) {
    const auto world = make_world(World::Role::endpoint);
    const auto whole = joined(ipv6_header(0x02, 29, 4), inner);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const Packet cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        const auto verdict = decapsulate(world, cut, now);
        EXPECT_EQ(verdict.counter, "not_a_tunnel_packet") << size;
        EXPECT_TRUE(verdict.packet.empty());
    }
}

TEST(ReferenceModel, IcmpErrorCutAtAnyByteHasAnAnswerOnlyWithAnInnerHeader) {
    auto world = make_world(World::Role::client);
    const auto message = joined({1, 0, 0, 0, 0, 0, 0, 0}, joined(ipv6_header(0x02, 29, 4), inner));
    for (std::size_t size = 0; size < message.size(); ++size) {
        const Packet cut(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
        const auto verdict = relay(world, cut, now);
        EXPECT_EQ(verdict.answer.empty(), size < 8 + 40 + 20) << size;
        EXPECT_EQ(verdict.counter, size < 8 + 40 + 20 ? "icmp_ignored" : "") << size;
    }
}

}  // namespace
}  // namespace dstm::model
