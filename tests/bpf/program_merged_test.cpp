// Merged packets (GRO, TSO) by tc: they count as what the wire carries, and fit if each of their
// segments does. The kernel's bench makes them of no protocol, and of those adjust_room() takes
// none (as of SCTP's): between clients of v4v6 the program does without it, and what it refuses is
// left to the daemon. What is wrapped is seen in tun_types_netns_test.cpp. XDP sees none at all.
#include <linux/pkt_cls.h>

#include "bpf/ipv4_endpoint.hpp"
#include "bpf/ipv6_endpoint.hpp"

namespace dstm::test {
namespace {

constexpr std::size_t segment = 1000;
constexpr std::size_t payload = 2 * segment + 500;  // three

struct Transport {
    const char* name;
    std::uint8_t protocol;
    std::size_t header;
};

class ProgramMerged : public Ipv4Endpoint, public testing::WithParamInterface<Transport> {
protected:
    [[nodiscard]] static std::size_t headers() { return 20 + GetParam().header; }

    [[nodiscard]] static Packet merged(const char* source, const char* destination) {
        Inner inner{v4(source), v4(destination)};
        inner.protocol = GetParam().protocol;
        inner.payload.assign(GetParam().header + payload, 0);
        if (inner.protocol == 6) {
            inner.payload[12] = static_cast<std::uint8_t>(GetParam().header * 4);
        }
        return make(inner);
    }

    Outcome turned(const Packet& packet) {
        const Outer outer{v6("2001:db8:1::7"), v6(Endpoint::outer)};
        return host->in([&] { return endpoint->up(make(outer, packet)); });
    }

    void expect_counted(std::uint64_t packets, std::uint64_t bytes) {
        const auto sender = endpoint->entry("192.0.2.7");
        const auto receiver = endpoint->entry("192.0.2.8");
        EXPECT_EQ(sender.packets_up, packets);
        EXPECT_EQ(sender.bytes_up, bytes);
        EXPECT_EQ(receiver.packets_down, packets);
        EXPECT_EQ(receiver.bytes_down, bytes);
        EXPECT_EQ(endpoint->drops(), Counters{});
    }
};
INSTANTIATE_TEST_SUITE_P(Of, ProgramMerged,
                         testing::Values(Transport{"tcp", 6, 20},
                                         Transport{"tcp_with_options", 6, 32},
                                         Transport{"udp", 17, 8}),
                         [](const auto& of) { return std::string(of.param.name); });

TEST_P(ProgramMerged, IsTurnedRoundAsOneAndCountsAsItsSegments) {
    const auto between = merged("192.0.2.7", "192.0.2.8");
    const auto expected_packet = model::encapsulate(world, routed(between), now).packet;
    std::uint64_t times = 0;
    for (const std::uint32_t said : {3U, 0U}) {  // a virtual machine says 0
        SCOPED_TRACE(said);
        endpoint->merge(segment, said);
        const auto outcome = turned(between);
        EXPECT_EQ(outcome.verdict, TC_ACT_REDIRECT);
        EXPECT_EQ(outcome.packet, expected_packet);
        ++times;
        expect_counted(3 * times, (payload + 3 * headers()) * times);
    }
}

TEST_P(ProgramMerged, FitsIfEachSegmentDoes) {
    const auto between = merged("192.0.2.7", "192.0.2.8");
    endpoint->table().set_way(v4("192.0.2.8"), {0, 1280});
    const auto fits = static_cast<std::uint32_t>(1280 - 40 - headers());
    endpoint->merge(fits, 3);
    EXPECT_EQ(turned(between).verdict, TC_ACT_REDIRECT);
    expect_counted(3, payload + 3 * headers());
    endpoint->merge(fits + 1, 3);
    EXPECT_NE(turned(between).verdict, TC_ACT_REDIRECT) << "the device's hook judges";
    EXPECT_EQ(endpoint->entry("192.0.2.8").packets_down, 3u);
}

TEST_P(ProgramMerged, WhatTheKernelDoesNotWrapIsTheDaemons) {
    endpoint->merge(segment, 3);
    const auto packet = merged("203.0.113.80", "192.0.2.7");
    const auto outcome = endpoint->down(packet);
    EXPECT_EQ(outcome.verdict, TC_ACT_OK);
    EXPECT_EQ(outcome.packet, packet);
    EXPECT_EQ(endpoint->drops(), Counters{});
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 0u);
}

using ProgramMergedIpv6 = Ipv6Endpoint;

TEST_F(ProgramMergedIpv6, WhatTheKernelDoesNotWrapIsTheDaemons) {
    endpoint->merge(segment, 3);
    for (const auto* client : {in_ipv4, in_udp}) {
        const auto packet = make(
            Ipv6{.source = remote, .destination = client, .protocol = 17, .payload = Packet(2508)});
        const auto outcome = host->in([&] { return endpoint->down_ipv6(packet); });
        EXPECT_EQ(outcome.verdict, TC_ACT_OK);
        EXPECT_EQ(outcome.packet, packet);
        EXPECT_EQ(endpoint->entry_ipv6(client).packets_down, 0u);
    }
    EXPECT_EQ(endpoint->drops(), Counters{});
}

// They would be taken for more segments.
TEST_F(ProgramMergedIpv6, BytesBehindTheInnerPacketAreLeftToTheDaemon) {
    endpoint->merge(segment, 3);
    auto inside = make(Ipv6{.protocol = 17, .payload = Packet(2508)});
    inside.insert(inside.end(), {1, 2, 3});
    const auto packet = make(Ipv4{}, inside);
    const auto outcome = host->in([&] { return endpoint->up_ipv6(packet); });
    EXPECT_EQ(outcome.verdict, TC_ACT_UNSPEC);
    EXPECT_EQ(outcome.packet, packet);
    EXPECT_EQ(endpoint->drops(), Counters{});
}

}  // namespace
}  // namespace dstm::test
