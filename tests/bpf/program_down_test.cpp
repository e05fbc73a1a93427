// From the host into the tunnel, packet by packet: RFC 2473 s3.1, s5.1, s7, RFC 6040 s4.1.
#include <linux/pkt_cls.h>

#include "bpf/test_run.hpp"
#include "common/base/bytes.hpp"

namespace dstm::test {
namespace {

Inner to_client() { return {v4("203.0.113.80"), v4("192.0.2.7")}; }
Outer to_it() { return {v6(Endpoint::outer), v6("2001:db8:1::7")}; }

Packet sized(std::uint16_t total, std::uint16_t fragment) {
    auto inner = to_client();
    inner.fragment = fragment;
    inner.payload = Packet(total - 20U);
    return make(inner);
}

class ProgramDown : public ProgramTest {
protected:
    void expect_dropped(const Packet& packet, const char* counter) {
        SCOPED_TRACE(counter);
        SetUp();
        EXPECT_EQ(endpoint->down(packet).verdict, TC_ACT_SHOT);
        EXPECT_EQ(endpoint->drops(), (Counters{{counter, 1}}));
    }
};

TEST_F(ProgramDown, PacketIsWrappedAndSentToTheNextHop) {
    const auto outcome = endpoint->down(make(to_client()));
    EXPECT_EQ(outcome.verdict, TC_ACT_REDIRECT);
    EXPECT_EQ(outcome.packet, make(to_it(), make(to_client())));
    const Packet link(outcome.frame.begin(), outcome.frame.begin() + 14);
    EXPECT_EQ(link, (Packet{2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 8, 0x86, 0xdd}));
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 1U);
    EXPECT_EQ(endpoint->entry("192.0.2.7").bytes_down, 32U);
    EXPECT_EQ(endpoint->drops(), Counters{});
}

TEST_F(ProgramDown, TrafficClassIsTheInnerOne) {
    for (unsigned tos = 0; tos < 256; ++tos) {
        auto inner = to_client();
        inner.tos = static_cast<std::uint8_t>(tos);
        auto outer = to_it();
        outer.traffic_class = inner.tos;
        EXPECT_EQ(endpoint->down(make(inner)).packet, make(outer, make(inner))) << tos;
    }
}

TEST_F(ProgramDown, DropTable) {
    const auto whole = make(to_client());
    const auto poke = [&](std::size_t at, std::uint8_t value) {
        auto packet = whole;
        packet.at(at) = value;
        return packet;
    };
    expect_dropped(make({v4("203.0.113.80"), v4("192.0.2.77")}), "no_tunnel");
    expect_dropped(make({v4("203.0.113.80"), v4("198.51.100.9")}), "no_tunnel");
    expect_dropped(make({v4("203.0.113.80"), v4("192.0.2.9")}), "expired");
    expect_dropped(poke(0, 0x65), "inner_bad_version");
    expect_dropped(poke(0, 0x44), "inner_bad_header_length");
    expect_dropped(poke(0, 0x4f), "inner_truncated");
    expect_dropped(poke(3, 19), "inner_bad_total_length");
    expect_dropped(poke(3, 33), "inner_truncated");
    Inner redirect{v4("192.0.2.1"), v4("192.0.2.7")};
    redirect.protocol = 1;
    redirect.payload = {5, 1, 0, 0, 0, 0, 0, 0};
    expect_dropped(make(redirect), "redirect");
}

TEST_F(ProgramDown, OptionsAndFragmentsAreCarriedAsTheyAre) {
    auto options = to_client();
    options.options = {7, 4, 4, 0};
    auto fragment = to_client();
    fragment.fragment = 0x2001;
    for (const auto& inner : {options, fragment}) {
        EXPECT_EQ(endpoint->down(make(inner)).packet, make(to_it(), make(inner)));
    }
}

// The daemon answers "fragmentation needed" or has the outer packet fragmented.
TEST_F(ProgramDown, WhatDoesNotFitIsLeftToTheDaemon) {
    constexpr std::uint16_t dont_fragment = 0x4000;
    for (const std::uint16_t fragment : {std::uint16_t{0}, dont_fragment}) {
        EXPECT_EQ(endpoint->down(sized(1460, fragment)).verdict, TC_ACT_REDIRECT);
        const auto too_long = sized(1461, fragment);
        const auto outcome = endpoint->down(too_long);
        EXPECT_EQ(outcome.verdict, TC_ACT_OK);
        EXPECT_EQ(outcome.packet, too_long);
    }
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 2U);
    EXPECT_EQ(endpoint->drops(), Counters{});
}

TEST_F(ProgramDown, PathMtuOfTheTunnelCountsBeforeThatOfTheLink) {
    endpoint->table().set_way(v4("192.0.2.7"), {0, 1280});
    EXPECT_EQ(endpoint->down(sized(1240, 0)).verdict, TC_ACT_REDIRECT);
    EXPECT_EQ(endpoint->down(sized(1241, 0)).verdict, TC_ACT_OK);
    const auto syn = tcp(to_client(), 0x12, mss_option(1460));
    EXPECT_EQ(endpoint->down(syn).packet, make(to_it(), tcp(to_client(), 0x12, mss_option(1200))));
}

TEST_F(ProgramDown, MssTable) {
    struct Row {
        const char* description;
        std::uint8_t flags;
        Packet options;
        Packet expected;
    };
    const std::vector<Row> rows{
        {"larger", 0x02, mss_option(1460), mss_option(1420)},
        {"equal", 0x02, mss_option(1420), mss_option(1420)},
        {"smaller", 0x02, mss_option(536), mss_option(536)},
        {"in an answer", 0x12, mss_option(1460), mss_option(1420)},
        {"not a SYN", 0x10, mss_option(1460), mss_option(1460)},
        {"behind others", 0x02, {4, 2, 1, 1, 2, 4, 0x05, 0xb4}, {4, 2, 1, 1, 2, 4, 0x05, 0x8c}},
        {"at an odd place", 0x02, {1, 2, 4, 0x05, 0xb4, 1, 1, 0}, {1, 2, 4, 0x05, 0x8c, 1, 1, 0}},
        {"behind the end", 0x02, {0, 0, 0, 0, 2, 4, 0x05, 0xb4}, {0, 0, 0, 0, 2, 4, 0x05, 0xb4}},
        {"an option of length 0",
         0x02,
         {3, 0, 2, 4, 0x05, 0xb4, 0, 0},
         {3, 0, 2, 4, 0x05, 0xb4, 0, 0}},
        {"an option beyond the header", 0x02, {1, 1, 2, 9}, {1, 1, 2, 9}},
        {"none", 0x02, {}, {}},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.description);
        const auto outcome = endpoint->down(tcp(to_client(), row.flags, row.options));
        EXPECT_EQ(outcome.packet, make(to_it(), tcp(to_client(), row.flags, row.expected)));
    }
}

TEST_F(ProgramDown, TunnelWithoutAWayIsLeftToTheDaemon) {
    endpoint->table().set_way(v4("192.0.2.7"), {1, 0});  // a next hop that is not known
    EXPECT_EQ(endpoint->down(make(to_client())).verdict, TC_ACT_OK);
}

TEST_F(ProgramDown, TunnelOutsideThePoolsIsCarried) {
    endpoint->install("198.51.100.9", "2001:db8:1::99");
    const Inner inner{v4("203.0.113.80"), v4("198.51.100.9")};
    EXPECT_EQ(endpoint->down(make(inner)).packet,
              make(Outer{v6(Endpoint::outer), v6("2001:db8:1::99")}, make(inner)));
    EXPECT_EQ(endpoint->entry("198.51.100.9").packets_down, 1U);
    ASSERT_TRUE(endpoint->table().remove(v4("198.51.100.9"), 1));
    EXPECT_EQ(endpoint->down(make(inner)).verdict, TC_ACT_SHOT);
}

TEST_F(ProgramDown, EachPoolHasItsArray) {
    auto settings = Endpoint::default_settings();
    settings.pools.push_back(*Ipv4Prefix::parse("10.0.0.0/20"));
    settings.pools.push_back(*Ipv4Prefix::parse("172.16.5.0/30"));
    auto opened = Endpoint::open(settings);
    ASSERT_TRUE(opened) << to_string(opened.error());
    auto& other = **opened;
    for (const auto* inner : {"192.0.2.255", "10.0.15.255", "172.16.5.3"}) {
        other.install(inner, "2001:db8:1::42");
        EXPECT_EQ(other.down(make({v4("203.0.113.80"), v4(inner)})).verdict, TC_ACT_REDIRECT);
        EXPECT_EQ(other.entry(inner).packets_down, 1U);
    }
    EXPECT_EQ(other.down(make({v4("203.0.113.80"), v4("10.0.16.0")})).verdict, TC_ACT_SHOT);
}

}  // namespace
}  // namespace dstm::test
