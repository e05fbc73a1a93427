// From the tunnel into the host, packet by packet: RFC 2473 s5.3, RFC 6040 s4.2, and the source
// check.
#include <chrono>

#include <linux/pkt_cls.h>

#include "bpf/test_run.hpp"
#include "common/base/bytes.hpp"

namespace dstm::test {
namespace {

Inner from_client() { return {v4("192.0.2.7"), v4("203.0.113.80")}; }
Outer around_it() { return {v6("2001:db8:1::7"), v6(Endpoint::outer)}; }

struct Row {
    const char* description;
    Packet packet;
    int verdict;
    Packet expected;  // as it was, when empty
    Counters drops;
};

template <class Header, class Change>
Header with(Header header, Change change) {
    change(header);
    return header;
}

Packet cut(Packet packet, std::size_t size) {
    packet.resize(size);
    return packet;
}

// Changes one byte of a packet and leaves all checksums as they were.
Packet poke(Packet packet, std::size_t at, std::uint8_t value) {
    packet.at(at) = value;
    return packet;
}

Packet carried() { return make(from_client()); }
Packet wrapped() { return make(around_it(), carried()); }

std::vector<Row> source_check_rows() {
    const auto stranger = with(around_it(), [](Outer& o) { o.source = v6("2001:db8:66::1"); });
    const auto neighbour = with(around_it(), [](Outer& o) { o.source = v6("2001:db8:1::8"); });
    const auto nobody = make(with(from_client(), [](Inner& i) { i.source = v4("192.0.2.77"); }));
    const auto from = [](const char* source) {
        return make(around_it(), make({v4(source), v4("203.0.113.80")}));
    };
    const auto to = [](const char* destination) {
        return make(around_it(), make({v4("192.0.2.7"), v4(destination)}));
    };
    return {
        {"bound addresses", wrapped(), TC_ACT_OK, carried(), {}},
        {"inner of another client",
         make(neighbour, carried()),
         TC_ACT_SHOT,
         {},
         {{"spoofed_inner", 1}}},
        {"outer of nobody", make(stranger, carried()), TC_ACT_SHOT, {}, {{"spoofed_outer", 1}}},
        {"inner of nobody", make(around_it(), nobody), TC_ACT_SHOT, {}, {{"unknown_inner", 1}}},
        {"both of nobody", make(stranger, nobody), TC_ACT_SHOT, {}, {{"unknown_outer", 1}}},
        {"inner outside every pool", from("198.51.100.1"), TC_ACT_SHOT, {}, {{"unknown_inner", 1}}},
        {"inner of the endpoint", from("192.0.2.1"), TC_ACT_SHOT, {}, {{"bad_source", 1}}},
        {"inner loopback", from("127.0.0.1"), TC_ACT_SHOT, {}, {{"bad_source", 1}}},
        {"inner unspecified", from("0.0.0.0"), TC_ACT_SHOT, {}, {{"bad_source", 1}}},
        {"inner multicast", from("224.0.0.1"), TC_ACT_SHOT, {}, {{"bad_source", 1}}},
        {"expired",
         make(with(around_it(), [](Outer& o) { o.source = v6("2001:db8:1::9"); }),
              make({v4("192.0.2.9"), v4("203.0.113.80")})),
         TC_ACT_SHOT,
         {},
         {{"expired", 1}}},
        {"to multicast", to("239.1.1.1"), TC_ACT_SHOT, {}, {{"bad_destination", 1}}},
        {"to everybody", to("255.255.255.255"), TC_ACT_SHOT, {}, {{"bad_destination", 1}}},
        {"to loopback", to("127.0.0.1"), TC_ACT_SHOT, {}, {{"bad_destination", 1}}},
        {"to the endpoint",
         to("192.0.2.1"),
         TC_ACT_OK,
         make({v4("192.0.2.7"), v4("192.0.2.1")}),
         {}},
    };
}

std::vector<Row> form_rows() {
    const auto whole = carried();
    auto longer = whole;
    longer.insert(longer.end(), {0xaa, 0xbb});
    const auto options = with(from_client(), [](Inner& i) { i.options = {7, 4, 4, 0}; });
    const auto fragment = with(from_client(), [](Inner& i) { i.fragment = 0x2000; });
    const auto later = with(from_client(), [](Inner& i) { i.fragment = 0x00b9; });
    const auto limit = with(around_it(), [](Outer& o) {
        o.next_header = 60;
        o.extension = {4, 0, 4, 1, 4, 1, 1, 0};
    });
    const auto other_option = with(around_it(), [](Outer& o) {
        o.next_header = 60;
        o.extension = {4, 0, 1, 4, 0, 0, 0, 0};
    });
    const auto outer_fragment = with(around_it(), [](Outer& o) {
        o.next_header = 44;
        o.extension = {4, 0, 0, 1, 0, 0, 0, 7};
    });
    const auto elsewhere = with(around_it(), [](Outer& o) { o.destination = v6("2001:db8::9"); });
    const auto udp = with(around_it(), [](Outer& o) { o.next_header = 17; });
    return {
        {"IP options", make(around_it(), make(options)), TC_ACT_OK, make(options), {}},
        {"first fragment", make(around_it(), make(fragment)), TC_ACT_OK, make(fragment), {}},
        {"later fragment", make(around_it(), make(later)), TC_ACT_OK, make(later), {}},
        {"TTL 1 is for the kernel to count",
         make(around_it(), make(with(from_client(), [](Inner& i) { i.ttl = 1; }))),
         TC_ACT_OK,
         make(with(from_client(), [](Inner& i) { i.ttl = 1; })),
         {}},
        {"outer hop limit 1",
         make(with(around_it(), [](Outer& o) { o.hop_limit = 1; }), whole),
         TC_ACT_OK,
         whole,
         {}},
        {"encapsulation limit", make(limit, whole), TC_ACT_OK, whole, {}},
        {"another destination option", make(other_option, whole), TC_ACT_UNSPEC, {}, {}},
        {"outer fragment", make(outer_fragment, whole), TC_ACT_UNSPEC, {}, {}},
        {"not to the endpoint", make(elsewhere, whole), TC_ACT_UNSPEC, {}, {}},
        {"not a tunnel", make(udp, whole), TC_ACT_UNSPEC, {}, {}},
        {"bytes behind the inner packet", make(around_it(), longer), TC_ACT_OK, whole, {}},
        {"inner version 6",
         make(around_it(), poke(whole, 0, 0x65)),
         TC_ACT_SHOT,
         {},
         {{"inner_bad_version", 1}}},
        {"inner version 0",
         make(around_it(), poke(whole, 0, 0x05)),
         TC_ACT_SHOT,
         {},
         {{"inner_bad_version", 1}}},
        {"inner header length 16",
         make(around_it(), poke(whole, 0, 0x44)),
         TC_ACT_SHOT,
         {},
         {{"inner_bad_header_length", 1}}},
        {"inner header longer than the packet",
         make(around_it(), poke(whole, 0, 0x4f)),
         TC_ACT_SHOT,
         {},
         {{"inner_truncated", 1}}},
        {"inner total length 19",
         make(around_it(), poke(whole, 3, 19)),
         TC_ACT_SHOT,
         {},
         {{"inner_bad_total_length", 1}}},
        {"inner total length too long",
         make(around_it(), poke(whole, 3, 33)),
         TC_ACT_SHOT,
         {},
         {{"inner_truncated", 1}}},
        {"only a version",
         make(around_it(), Packet{0x45}),
         TC_ACT_SHOT,
         {},
         {{"inner_truncated", 1}}},
        {"only a wrong version",
         make(around_it(), Packet{0x60}),
         TC_ACT_SHOT,
         {},
         {{"inner_bad_version", 1}}},
        {"outer longer than the frame",
         cut(wrapped(), 71),
         TC_ACT_SHOT,
         {},
         {{"outer_truncated", 1}}},
    };
}

class ProgramUp : public ProgramTest {
protected:
    // Each row meets fresh counters.
    void check(const std::vector<Row>& rows) {
        for (const auto& row : rows) {
            SCOPED_TRACE(row.description);
            SetUp();
            const auto outcome = endpoint->up(row.packet);
            EXPECT_EQ(outcome.verdict, row.verdict);
            if (row.verdict == TC_ACT_OK) {
                EXPECT_EQ(outcome.packet, row.expected);
                EXPECT_EQ(load16(outcome.frame, 12), 0x0800);
            } else if (row.verdict == TC_ACT_UNSPEC) {
                EXPECT_EQ(outcome.packet, row.packet);
            }
            EXPECT_EQ(endpoint->drops(), row.drops);
            const auto entry = endpoint->entry("192.0.2.7");
            const bool counted = row.verdict == TC_ACT_OK;
            EXPECT_EQ(entry.packets_up, counted ? 1U : 0U);
            EXPECT_EQ(entry.bytes_up, counted ? row.expected.size() : 0U);
            EXPECT_EQ(entry.packets_down, 0U);
        }
    }
};

TEST_F(ProgramUp, SourceCheckTable) { check(source_check_rows()); }
TEST_F(ProgramUp, FormTable) { check(form_rows()); }

TEST_F(ProgramUp, CutAtEveryByteIsNeverCarried) {
    const auto whole = wrapped();
    for (std::size_t size = 40; size < whole.size(); ++size) {
        const auto outcome = endpoint->up(cut(whole, size));
        EXPECT_EQ(outcome.verdict, TC_ACT_SHOT) << size;
        // The same with an outer length that agrees.
        auto agreed = cut(whole, size);
        store16(agreed, 4, static_cast<std::uint16_t>(size - 40));
        const int expected = size == 40 ? TC_ACT_UNSPEC : TC_ACT_SHOT;
        EXPECT_EQ(endpoint->up(agreed).verdict, expected) << size;
    }
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_up, 0U);
    const auto cuts = whole.size() - 40;
    EXPECT_EQ(endpoint->drops(),
              (Counters{{"outer_truncated", cuts}, {"inner_truncated", cuts - 1}}));
}

TEST_F(ProgramUp, AllSixteenOfRfc6040) {
    constexpr int dropped = -1;
    //                              outer Not-ECT  ECT(1)  ECT(0)  CE
    constexpr int figure[4][4] = {{0, 0, 0, dropped},  // inner Not-ECT
                                  {1, 1, 1, 3},        // inner ECT(1)
                                  {2, 1, 2, 3},        // inner ECT(0)
                                  {3, 3, 3, 3}};       // inner CE
    for (std::uint8_t inner = 0; inner < 4; ++inner) {
        for (std::uint8_t outer = 0; outer < 4; ++outer) {
            SCOPED_TRACE(int{inner} * 10 + outer);
            const auto dscp = std::uint8_t{0x2e << 2};
            auto wrap = around_it();
            wrap.traffic_class = static_cast<std::uint8_t>(0x14 << 2 | outer);
            auto packet = from_client();
            packet.tos = static_cast<std::uint8_t>(dscp | inner);
            const auto outcome = endpoint->up(make(wrap, make(packet)));
            const int ecn = figure[inner][outer];
            if (ecn == dropped) {
                EXPECT_EQ(outcome.verdict, TC_ACT_SHOT);
                continue;
            }
            packet.tos = static_cast<std::uint8_t>(dscp | ecn);
            EXPECT_EQ(outcome.packet, make(packet));  // with a right checksum
        }
    }
    EXPECT_EQ(endpoint->drops(), (Counters{{"ecn_congested", 1}}));
}

TEST_F(ProgramUp, MssOfASynIsClamped) {
    const auto syn = tcp(from_client(), 0x02, mss_option(1460));
    const auto outcome = endpoint->up(make(around_it(), syn));
    EXPECT_EQ(outcome.packet, tcp(from_client(), 0x02, mss_option(1420)));
}

// Of what a client says of its path the daemon learns; echo requests are the kernel's.
TEST_F(ProgramUp, FragmentationNeededToTheEndpointIsLeftToTheDaemon) {
    auto said = from_client();
    said.destination = v4(Endpoint::inner);
    said.protocol = 1;
    said.payload = {3, 4, 0, 0, 0, 0, 0x04, 0xd8};
    const auto to_endpoint = make(around_it(), make(said));
    EXPECT_EQ(endpoint->up(to_endpoint).packet, to_endpoint) << "as it came";
    said.payload[0] = 8;
    EXPECT_EQ(endpoint->up(make(around_it(), make(said))).packet, make(said));
    said.payload[0] = 3;
    said.destination = v4("203.0.113.80");
    EXPECT_EQ(endpoint->up(make(around_it(), make(said))).packet, make(said));
}

TEST_F(ProgramUp, LastSeenIsNow) {
    EXPECT_EQ(endpoint->entry("192.0.2.7").last_seen, 0U);
    const auto before = tep::bpf::tick_now();
    static_cast<void>(endpoint->up(wrapped()));
    const auto seen = endpoint->entry("192.0.2.7").last_seen;
    EXPECT_GE(seen, before);
    EXPECT_LE(seen, tep::bpf::tick_now());
}

TEST_F(ProgramUp, LastSeenMovesWithTheClock) {
    static_cast<void>(endpoint->up(wrapped()));
    const auto first = endpoint->entry("192.0.2.7").last_seen;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (endpoint->entry("192.0.2.7").last_seen == first &&
           std::chrono::steady_clock::now() < give_up) {
        static_cast<void>(endpoint->up(wrapped()));
    }
    EXPECT_GT(endpoint->entry("192.0.2.7").last_seen, first);
}

TEST_F(ProgramUp, BetweenTwoClientsTheOuterHeaderIsRewrittenInPlace) {
    Inner between{v4("192.0.2.7"), v4("192.0.2.8")};
    auto wrap = around_it();
    wrap.hop_limit = 3;
    const auto outcome = endpoint->up(make(wrap, make(between)));
    EXPECT_EQ(outcome.verdict, TC_ACT_REDIRECT);
    between.ttl = 63;
    EXPECT_EQ(outcome.packet, make(Outer{v6(Endpoint::outer), v6("2001:db8:1::8")}, make(between)));
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_up, 1U);
    EXPECT_EQ(endpoint->entry("192.0.2.8").packets_down, 1U);
    EXPECT_EQ(endpoint->entry("192.0.2.8").bytes_down, 32U);
}

TEST_F(ProgramUp, BetweenTwoClientsTheKernelAnswersTtlOneAndClampsTheSyn) {
    Inner between{v4("192.0.2.7"), v4("192.0.2.8")};
    between.ttl = 1;
    EXPECT_EQ(endpoint->up(make(around_it(), make(between))).verdict, TC_ACT_OK);
    between.ttl = 64;
    const auto syn = tcp(between, 0x02, mss_option(1460));
    EXPECT_EQ(endpoint->up(make(around_it(), syn)).packet, tcp(between, 0x02, mss_option(1420)));
}

TEST_F(ProgramUp, WithoutHairpinTheDeviceDecides) {
    auto settings = Endpoint::default_settings();
    settings.hairpin = false;
    auto opened = Endpoint::open(settings);
    ASSERT_TRUE(opened) << to_string(opened.error());
    auto& other = **opened;
    other.install("192.0.2.7", "2001:db8:1::7");
    other.install("192.0.2.8", "2001:db8:1::8");
    const auto between = make({v4("192.0.2.7"), v4("192.0.2.8")});
    EXPECT_EQ(other.up(make(around_it(), between)).verdict, TC_ACT_OK);
    EXPECT_EQ(other.down(between).verdict, TC_ACT_SHOT);
    EXPECT_EQ(other.drops(), (Counters{{"hairpin_off", 1}}));
}

TEST_F(ProgramUp, FloodOfForgedPacketsIsCountedToTheLast) {
    const auto forged = make({v6("2001:db8:66::1"), v6(Endpoint::outer)}, carried());
    constexpr std::uint64_t flood = 20'000;  // more than the ring holds
    for (std::uint64_t i = 0; i < flood; ++i) static_cast<void>(endpoint->up(forged));
    const auto drops = endpoint->drops();
    EXPECT_GT(drops.at("source_check"), 0U);
    EXPECT_EQ(drops.at("spoofed_outer") + drops.at("source_check"), flood);
}

}  // namespace
}  // namespace dstm::test
