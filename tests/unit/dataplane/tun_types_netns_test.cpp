// What all types of tunnels have in common, on real interfaces: tun_ipv6_campus.hpp shows the
// network.
#include <linux/if_ether.h>

#include "tests/unit/dataplane/errors_of_the_path.hpp"
#include "tests/unit/dataplane/hand_made_client.hpp"
#include "tests/unit/dataplane/tun_ipv6_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;

class TunIpv6CampusEachType : public TunIpv6Campus,
                              public ::testing::WithParamInterface<TunnelType> {
protected:
    [[nodiscard]] static bool is_v4v6() { return GetParam() == TunnelType::v4v6; }
    [[nodiscard]] static bool is_udp() { return GetParam() == TunnelType::v6udpv4; }
    [[nodiscard]] static std::uint16_t port() { return is_udp() ? signalling_port : 0; }
    [[nodiscard]] static std::string inner() { return is_v4v6() ? "192.0.2.7" : "2001:db8:100::7"; }
    [[nodiscard]] static std::string other() { return is_v4v6() ? "192.0.2.8" : "2001:db8:100::8"; }
    [[nodiscard]] static std::string own() { return is_v4v6() ? "192.0.2.1" : "2001:db8:100::1"; }
    [[nodiscard]] static std::string behind() { return is_v4v6() ? "203.0.113.80" : host_behind; }
    [[nodiscard]] static std::size_t overhead() { return is_v4v6() ? 40 : is_udp() ? 28 : 20; }
    [[nodiscard]] static std::size_t inner_header() { return is_v4v6() ? 20 : 40; }

    [[nodiscard]] TunnelSpec spec() const {
        return is_v4v6() ? first_spec : v6_spec(inner(), "10.0.1.5", port());
    }
    [[nodiscard]] TunnelSpec spec_of_other() const {
        return is_v4v6() ? second_spec : v6_spec(other(), "10.0.4.5");
    }
    void start() {
        start_endpoint();
        ASSERT_TRUE(tep->add(spec()));
    }
    // A client whose packets the test makes; the kernel of its host says nothing of what comes.
    [[nodiscard]] std::unique_ptr<HandMadeClient> by_hand() {
        signalling.reset();  // its port
        return std::make_unique<HandMadeClient>(*first, is_v4v6() ? "2001:db8:1::5" : "10.0.1.5",
                                                port());
    }
    void start_clients() {
        start();
        client = client_on(*first, spec());
    }
    std::unique_ptr<HostedPlane> client_on(const Namespace& host, const TunnelSpec& of) {
        if (!is_v4v6()) return start_client(host, of, client_v6_config());
        auto plane = std::make_unique<HostedPlane>(host, client_config(), clock);
        EXPECT_TRUE(plane->add(of));
        host.ip("route add 203.0.113.0/24 dev dstm0");
        host.ip("route add 192.0.2.0/24 dev dstm0");
        return plane;
    }
    [[nodiscard]] std::vector<std::uint8_t> echo() const {
        return is_v4v6() ? echo_request(inner(), behind(), 84)
                         : echo_request_ipv6(inner(), behind());
    }
    static void set_traffic_class(std::vector<std::uint8_t>& packet, std::uint8_t value) {
        if (!is_v4v6()) return store16(packet, 0, static_cast<std::uint16_t>(0x6000 + value * 16));
        store8(packet, 1, value);
        store16(packet, 10, 0);
        store16(packet, 10, internet_checksum(ConstBytes(packet).first(20)));
    }
    static std::uint8_t traffic_class_of(ConstBytes packet) {
        return is_v4v6() ? load8(packet, 1) : static_cast<std::uint8_t>(load16(packet, 0) / 16);
    }
};
INSTANTIATE_TEST_SUITE_P(Types, TunIpv6CampusEachType,
                         ::testing::Values(TunnelType::v4v6, TunnelType::v6v4, TunnelType::v6udpv4),
                         [](const auto& type) { return std::string(to_string(type.param)); });

// RFC 6040 s4.2, figure 4; down the outer class is the inner one. The server answers in the class
// that it was asked in.
TEST_P(TunIpv6CampusEachType, TrafficClassGoesInAndOutInAllCombinationsOfEcn) {
    constexpr std::uint8_t dropped = 4;
    //                                     outer Not-ECT  ECT(1)  ECT(0)  CE
    constexpr std::uint8_t figure[4][4] = {{0, 0, 0, dropped},  // inner Not-ECT
                                           {1, 1, 1, 3},        // inner ECT(1)
                                           {2, 1, 2, 3},        // inner ECT(0)
                                           {3, 3, 3, 3}};       // inner CE
    constexpr std::uint8_t dscp = 0xb8;
    start();
    const auto peer = by_hand();
    for (std::uint8_t inside = 0; inside < 4; ++inside) {
        for (std::uint8_t outside = 0; outside < 4; ++outside) {
            SCOPED_TRACE(inside * 10 + outside);
            auto request = echo();
            set_traffic_class(request, static_cast<std::uint8_t>(dscp + inside));
            peer->send(request, static_cast<std::uint8_t>(0x20 + outside));
            const auto ecn = figure[inside][outside];
            if (ecn == dropped) {
                EXPECT_TRUE(wait_until([&] { return tep->dropped("ecn_congested") == 1; }));
                continue;
            }
            const auto reply = peer->receive();
            ASSERT_EQ(reply.payload.size(), request.size());
            EXPECT_EQ(traffic_class_of(reply.payload), dscp + ecn);
            EXPECT_EQ(reply.traffic_class, dscp + ecn);
        }
    }
    EXPECT_EQ(tep->dropped("ecn_congested"), 1u);
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_up, 15u);
}

// RFC 2473 s8, RFC 4213 s3.4
TEST_P(TunIpv6CampusEachType, ErrorsOfThePathReachTheInnerSource) {
    start();
    const auto silent = by_hand();
    const Arrivals arrivals(*first, "eth0", is_v4v6() ? ETH_P_IPV6 : ETH_P_IP);
    const DatagramSender sender(*server, inner());
    const auto said = [&](const IcmpError& error) {
        sender.send();
        const auto packet = arrivals.next(is_v4v6() ? 4 : is_udp() ? 17 : 41);
        ASSERT_FALSE(packet.empty());
        say_of(*first, packet, error);
    };
    const auto relayed = is_v4v6() ? std::vector<IcmpError>{{1, 0}, {1, 1}, {1, 3}, {1, 4},  //
                                                            {3, 0}, {4, 0}, {4, 1}, {4, 2}}
                                   : std::vector<IcmpError>{{3, 0}, {3, 1}, {3, 2},   {3, 13},
                                                            {11, 0}, {12, 0}};
    for (const auto& error : relayed) {
        SCOPED_TRACE(error.type * 100 + error.code);
        said(error);
        const auto heard = sender.hear();
        ASSERT_TRUE(heard);
        EXPECT_EQ(heard->from, own());
        EXPECT_EQ(heard->error, (is_v4v6() ? IcmpError{3, 1} : IcmpError{1, 3}))
            << "host or address unreachable";
    }
    EXPECT_EQ(tep->dropped("icmp_ignored"), 0u);
    if (is_udp()) return;  // all that this kernel hears of UDP are relayed
    said(is_v4v6() ? IcmpError{3, 1} : IcmpError{3, 3});
    EXPECT_TRUE(wait_until([&] { return tep->dropped("icmp_ignored") == 1; }));
    EXPECT_FALSE(sender.heard());
}

// A router says "hop limit exceeded".
TEST_P(TunIpv6CampusEachType, LoopOnThePathIsToldToTheInnerSource) {
    start();
    if (is_v4v6()) {
        second->sysctl("net/ipv6/conf/all/forwarding", "1");
        router->ip("-6 route replace 2001:db8:1::5/128 via 2001:db8:4::5");
    } else {
        second->sysctl("net/ipv4/ip_forward", "1");
        router->ip("route replace 10.0.1.5/32 via 10.0.4.5");
    }
    const DatagramSender sender(*server, inner());
    sender.send();
    const auto heard = sender.hear();
    ASSERT_TRUE(heard);
    EXPECT_EQ(heard->from, own());
    EXPECT_EQ(heard->error, (is_v4v6() ? IcmpError{3, 1} : IcmpError{1, 3}));
}

// With IPv6 who sends them must first hear what fits.
TEST_P(TunIpv6CampusEachType, FragmentsOfInnerPacketsGoThrough) {
    start_clients();
    for (const auto* size : {"-M dont -W 0.3 -s 3000", "-M dont -W 0.3 -s 9000"}) {
        SCOPED_TRACE(size);
        EXPECT_TRUE(wait_until([&] { return answers(ping(*server, inner(), size)); }));
        EXPECT_TRUE(answers(ping(*first, behind(), size)));
        EXPECT_TRUE(wait_until([&] { return answers(ping(*first, own(), size)); }));
    }
    for (const auto* name : {"inner_truncated", "send_failed", "no_tunnel"}) {
        EXPECT_EQ(tep->dropped(name), 0u) << name;
    }
}

TEST_P(TunIpv6CampusEachType, BetweenClientsTheEndpointIsOneHopAndSaysWhatDoesNotFit) {
    start_clients();
    ASSERT_TRUE(tep->add(spec_of_other()));
    const auto peer = client_on(*second, spec_of_other());
    // First, for after a redirect, which it sends of a plain packet, Linux is silent for a second.
    EXPECT_THAT(ping(*first, other(), "-t 1"), HasSubstr("From " + own()));
    EXPECT_TRUE(answers(ping(*first, other())));
    EXPECT_TRUE(answers(ping(*second, inner())));
    constexpr std::size_t size = 1 << 20;
    EXPECT_EQ(transfer(*second, other(), *first, size), 2 * size);
    // The path to the other client is narrower than the first one's, who finds it out.
    router->ip("link set b0 mtu 1400");
    second->ip("link set eth0 mtu 1400");
    const auto fits = std::to_string(1400 - (is_v4v6() ? 40 : 20));
    const auto too_large = "-M do -s 1400";
    EXPECT_TRUE(wait_until([&] {
        return ping(*first, other(), too_large).find("mtu") != std::string::npos;
    }));
    EXPECT_THAT(ping(*first, other(), too_large), HasSubstr(fits));
}

TEST_P(TunIpv6CampusEachType, OptionsInsideGoThrough) {
    if (is_v4v6()) {
        start_clients();
        const auto recorded = ping(*first, behind(), "-R");
        EXPECT_TRUE(answers(recorded));
        EXPECT_THAT(recorded, HasSubstr("203.0.113.1\n")) << "the endpoint, on the way up";
        EXPECT_THAT(recorded, HasSubstr("192.0.2.1\n")) << "and down";
        EXPECT_TRUE(answers(ping(*server, inner(), "-R")));
        return;
    }
    start();
    const auto peer = by_hand();
    auto packet = echo();
    packet.insert(packet.begin() + 40, {packet[6], 0, 1, 4, 0, 0, 0, 0});
    packet[5] += 8;
    for (const std::uint8_t header : {std::uint8_t{0}, std::uint8_t{60}}) {
        SCOPED_TRACE(int{header});
        packet[6] = header;  // hop-by-hop, destination options
        peer->send(packet);
        EXPECT_EQ(peer->receive().payload.size(), echo().size());
    }
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_up, 2u);
}

// Many datagrams as one packet to the card (UDP_SEGMENT): each counts.
TEST_P(TunIpv6CampusEachType, MergedDatagramsCountAsTheirSegments) {
    constexpr std::size_t many = 10;
    start_clients();
    const auto largest = 1500 - overhead() - inner_header() - 8;
    const auto arrived = first->in([&] {
        const auto local = socket_address(inner());
        Descriptor out(::socket(local.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0));
        EXPECT_EQ(::bind(out.number(), &local.any, sizeof local), 0);
        return out;
    });
    const DatagramSender sender(*server, inner());
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    for (const auto size : {std::size_t{1000}, largest}) {
        SCOPED_TRACE(size);
        if (!sender.send_merged(size, many)) GTEST_SKIP() << "this kernel merges no datagrams here";
        std::vector<std::uint8_t> data(2048);
        for (std::size_t i = 0; i < many; ++i) {
            ssize_t got = -1;
            EXPECT_TRUE(wait_until([&] {
                got = ::recv(arrived.number(), data.data(), data.size(), 0);
                return got >= 0;
            }));
            EXPECT_EQ(got, static_cast<ssize_t>(size));
        }
        packets += many;
        bytes += many * (inner_header() + 8 + size);
        const auto counters = tep->plane().list().at(0).counters;
        EXPECT_EQ(counters.packets_down, packets);
        EXPECT_EQ(counters.bytes_down, bytes);
    }
    EXPECT_EQ(tep->dropped("too_big"), 0u);
    ASSERT_TRUE(sender.send_merged(largest + 1, many));
    EXPECT_TRUE(wait_until([&] { return tep->dropped("too_big") > 0; }));
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_down, packets);
}

TEST_P(TunIpv6CampusEachType, WhatIsNoPacketIsCountedByName) {
    start();
    const auto peer = by_hand();
    const auto whole = echo();
    const auto poke = [&](std::size_t at, std::uint8_t value) {
        auto packet = whole;
        packet.at(at) = value;
        return packet;
    };
    const auto cut = [&](std::size_t size) {
        return std::vector<std::uint8_t>(whole.begin(),
                                         whole.begin() + static_cast<std::ptrdiff_t>(size));
    };
    struct Row {
        const char* description;
        std::vector<std::uint8_t> packet;
        const char* counter;
    };
    std::vector<Row> rows{
        {"without its last byte", cut(whole.size() - 1), "inner_truncated"},
        {"its header alone", cut(inner_header()), "inner_truncated"},
        {"half its header", cut(inner_header() / 2), "inner_truncated"},
        {"one byte", cut(1), "inner_truncated"},
        {"of version 5", poke(0, 0x55), "inner_bad_version"},
    };
    if (is_v4v6()) {
        rows.push_back({"of version 6", poke(0, 0x65), "inner_bad_version"});
        rows.push_back({"a header of 16 bytes", poke(0, 0x44), "inner_bad_header_length"});
        rows.push_back({"options beyond the end", poke(0, 0x4f), "inner_truncated"});
        rows.back().packet.resize(40);
        rows.push_back({"a total length of 19", poke(3, 19), "inner_bad_total_length"});
    } else {
        rows.push_back({"of version 4", poke(0, 0x45), "inner_bad_version"});
    }
    std::map<std::string, std::uint64_t> expected;
    for (const auto& row : rows) {
        SCOPED_TRACE(row.description);
        peer->send(row.packet);
        ++expected[row.counter];
        ASSERT_TRUE(wait_until([&] { return tep->dropped(row.counter) == expected[row.counter]; }));
    }
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_up, 0u);
    peer->send(whole);
    EXPECT_EQ(peer->receive().payload.size(), whole.size());
}

}  // namespace
}  // namespace dstm::dataplane::testing
