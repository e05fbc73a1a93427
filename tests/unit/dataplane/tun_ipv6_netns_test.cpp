// The tun data plane with IPv6 inside on real interfaces: tun_ipv6_campus.hpp shows the network.
#include <atomic>
#include <csignal>

#include <sys/wait.h>

#include "tests/unit/dataplane/hand_made_client.hpp"
#include "tests/unit/dataplane/tun_ipv6_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto inner = "2001:db8:100::7";
const std::string tsp = "\xf0 signalling";

class TunIpv6CampusBehindNat : public TunIpv6Campus {
protected:
    [[nodiscard]] Result<void> answer(const IpEndpoint& peer) const {
        const std::vector<std::uint8_t> bytes(tsp.begin(), tsp.end());
        return tep->plane().send_tsp(peer, bytes);
    }
};

// Both encapsulations, without a NAT.
class TunIpv6CampusBothWays : public TunIpv6Campus, public ::testing::WithParamInterface<bool> {
protected:
    [[nodiscard]] static TunnelSpec spec(Generation generation = 1) {
        return v6_spec(inner, "10.0.1.5", GetParam() ? signalling_port : std::uint16_t{0},
                       generation);
    }
    [[nodiscard]] static int overhead() { return GetParam() ? 28 : 20; }
};
INSTANTIATE_TEST_SUITE_P(Types, TunIpv6CampusBothWays, ::testing::Bool(),
                         [](const auto& type) { return type.param ? "v6udpv4" : "v6v4"; });

TEST_P(TunIpv6CampusBothWays, PingGoesToTheEndpointToTheServerAndBack) {
    bring_up_v6(spec());
    const auto before = clock.wall() - std::chrono::seconds(1);  // a tick is not of whole seconds
    EXPECT_TRUE(answers(ping(*first, "2001:db8:100::1")));
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    EXPECT_TRUE(answers(ping(*server, inner)));
    EXPECT_THAT(ping(*first, host_behind, "-t 1"), HasSubstr("From 2001:db8:100::1"))
        << "the endpoint is one hop";
    const auto counters = tep->plane().list().at(0).counters;
    EXPECT_EQ(counters.packets_up, 4u);
    EXPECT_EQ(counters.bytes_up, 4u * 104);
    EXPECT_EQ(counters.packets_down, 4u);
    EXPECT_GE(counters.last_seen_up, before);
    EXPECT_GE(counters.last_seen_down, before);
    auto drops = tep->plane().drops();
    drops.erase("link_local");  // the kernel tells its multicast groups to every device
    for (const auto& [name, count] : drops) EXPECT_EQ(count, 0u) << name;
}

TEST_P(TunIpv6CampusBothWays, TcpCarriesMegabytesBothWays) {
    constexpr std::size_t size = 8 << 20;
    bring_up_v6(spec());
    EXPECT_EQ(transfer(*server, host_behind, *first, size), 2 * size);
    EXPECT_EQ(transfer(*first, inner, *server, size), 2 * size);
    EXPECT_EQ(tep->dropped("too_big"), 0u) << "the MSS is clamped, so nothing is too big";
}

TEST_P(TunIpv6CampusBothWays, PrefixBehindTheClientIsReached) {
    auto with_prefix = spec();
    with_prefix.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
    bring_up_v6(with_prefix);
    first->ip("addr add 2001:db8:200:7::9/128 dev lo");
    EXPECT_TRUE(answers(ping(*server, "2001:db8:200:7::9")));
    EXPECT_TRUE(answers(ping(*first, host_behind, "-I 2001:db8:200:7::9")));
    EXPECT_FALSE(answers(ping(*server, "2001:db8:200:100::9", "-W 1"))) << "not of this prefix";
    EXPECT_EQ(tep->dropped("no_tunnel"), 1u);
}

TEST_P(TunIpv6CampusBothWays, PacketThatDoesNotFitGetsPacketTooBigAndTheSizeThatFits) {
    bring_up_v6(spec());
    const int most = 1500 - overhead() - 48;
    EXPECT_TRUE(answers(ping(*server, inner, "-M do -s " + std::to_string(most))));
    EXPECT_THAT(ping(*server, inner, "-M do -s " + std::to_string(most + 1)),
                HasSubstr("mtu=" + std::to_string(1500 - overhead())));
    EXPECT_EQ(tep->dropped("too_big"), 1u);
    EXPECT_THAT(first->show("link show dstm0"),
                HasSubstr("mtu " + std::to_string(1500 - overhead())));
}

TEST_P(TunIpv6CampusBothWays, FragmentationNeededFromThePathLowersTheTunnelAndIsRelayed) {
    endpoint->sysctl("net/ipv4/route/mtu_expires", "1");
    bring_up_v6(spec());
    router->ip("link set a0 mtu 1400");
    first->ip("link set eth0 mtu 1400");
    EXPECT_THAT(ping(*server, inner, "-M do -s 1400"),
                HasSubstr("mtu=" + std::to_string(1400 - overhead())));
    EXPECT_EQ(tep->dropped("too_big"), 0u) << "the router said so, not the endpoint";
    server->ip("-6 route flush cache");
    EXPECT_THAT(ping(*server, inner, "-M do -s 1399"),
                HasSubstr("mtu=" + std::to_string(1400 - overhead())));
    EXPECT_EQ(tep->dropped("too_big"), 1u) << "now the endpoint knows";
    ASSERT_TRUE(wait_until([&] {
        return endpoint->show("route get 10.0.1.5").find("mtu") == std::string::npos;
    })) << "the kernel forgets";
    auto later = spec();
    later.inner = v6("2001:db8:100::8");
    ASSERT_TRUE(tep->add(later));
    EXPECT_THAT(ping(*server, "2001:db8:100::8", "-M do -s 1399"),
                HasSubstr("mtu=" + std::to_string(1400 - overhead())));
    EXPECT_EQ(tep->dropped("too_big"), 2u) << "for a tunnel too that leads there later";
}

TEST_P(TunIpv6CampusBothWays, TheMinimumOfIpv6PassesAPathOfIpv4ThatIsNarrower) {
    bring_up_v6(spec());
    router->ip("link set a0 mtu 1000");
    first->ip("link set eth0 mtu 1000");
    ping(*server, inner, "-M do -s 1232 -W 1");  // the first one finds the path out
    EXPECT_TRUE(answers(ping(*server, inner, "-M do -s 1232"))) << "in outer fragments";
    EXPECT_TRUE(answers(ping(*first, host_behind, "-M do -s 1232")));
}

TEST_P(TunIpv6CampusBothWays, UnreachableFromThePathReachesTheInnerSource) {
    bring_up_v6(spec());
    router->ip("addr del 10.0.1.1/24 dev a0");
    router->ip("route add unreachable 10.0.1.0/24");
    EXPECT_THAT(ping(*server, inner),
                HasSubstr("From 2001:db8:100::1 icmp_seq=1 Destination unreachable: Address"));
}

TEST_P(TunIpv6CampusBothWays, OuterHeaderIsThatOfRfc4213) {
    bring_up_v6(spec());
    const auto protocol = GetParam() ? IPPROTO_UDP : IPPROTO_IPV6;
    const auto raw = first->in(
        [&] { return Descriptor(::socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, protocol)); });
    ASSERT_TRUE(answers(ping(*server, inner, "-Q 0xb8")));
    std::vector<std::uint8_t> packet(2048);
    ssize_t size = -1;
    ASSERT_TRUE(wait_until([&] {
        size = ::recv(raw.number(), packet.data(), packet.size(), 0);
        return size > 0;
    }));
    EXPECT_EQ(load8(packet, 0), 0x45) << "no options";
    EXPECT_EQ(load8(packet, 1), 0xb8) << "the inner DSCP (RFC 2983 s3)";
    EXPECT_EQ(load16(packet, 6), 0x4000) << "DF while it fits (s3.2.2)";
    EXPECT_EQ(load8(packet, 8), 63) << "64, and one router";
    EXPECT_EQ(load8(packet, 9), protocol);
    EXPECT_EQ(load_ipv4(packet, 12), v4("198.51.100.1"));
    EXPECT_EQ(static_cast<std::size_t>(size), 104u + static_cast<std::size_t>(overhead()));
    if (!GetParam()) return;
    EXPECT_EQ(load16(packet, 20), 3653);
    EXPECT_EQ(load16(packet, 22), signalling_port);
    EXPECT_NE(load16(packet, 26), 0) << "with a checksum, which some NATs insist on";
}

TEST_P(TunIpv6CampusBothWays, NothingIsCarriedAfterTheEnd) {
    bring_up_v6(spec());
    ASSERT_TRUE(wait_until([&] { return answers(ping(*first, host_behind)); }));
    auto ended = spec();
    ended.expires_at = clock.wall();
    ASSERT_TRUE(tep->add(ended));
    EXPECT_FALSE(answers(ping(*first, host_behind, "-W 1")));
    EXPECT_FALSE(answers(ping(*server, inner, "-W 1")));
    EXPECT_EQ(tep->dropped("expired"), 2u);
}

TEST_F(TunIpv6Campus, WhatBelongsToOneLinkAndForeignSourcesAreCountedByName) {
    start_endpoint();
    ASSERT_TRUE(tep->add(v6_spec(inner, "10.0.1.5")));
    HandMadeClient bound(*first, "10.0.1.5");
    HandMadeClient foreign(*second, "10.0.4.5");
    HandMadeClient foreign_udp(*second, "10.0.4.5", signalling_port);
    struct Case {
        HandMadeClient& from;
        const char* source;
        const char* destination;
        std::uint8_t type;
        const char* counter;
    };
    for (const auto& [from, source, destination, type, counter] :
         {Case{bound, "fe80::7", "ff02::2", 133, "router_solicitation"},
          Case{bound, "fe80::7", "2001:db8:100::1", 128, "link_local"},
          Case{bound, inner, "ff05::2", 128, "bad_destination"},
          Case{bound, "::", "2001:db8:100::1", 128, "bad_source"},
          Case{bound, "2001:db8:100::9", "2001:db8:100::1", 128, "unknown_inner"},
          Case{foreign, "2001:db8:100::9", "2001:db8:100::1", 128, "unknown_outer"},
          Case{foreign, inner, "2001:db8:100::1", 128, "spoofed_outer"},
          Case{foreign_udp, "2001:db8:100::9", "2001:db8:100::1", 128, "unknown_outer"}}) {
        const auto before = tep->dropped(counter);
        from.send(icmpv6(source, destination, type));
        // The endpoint's own kernel sometimes has a word for its link too.
        EXPECT_TRUE(wait_until([&] { return tep->dropped(counter) > before; })) << counter;
    }
    ASSERT_TRUE(tep->add(v6_spec("2001:db8:100::8", "10.0.4.5", signalling_port)));
    foreign_udp.send(icmpv6(inner, "2001:db8:100::1", 128));
    EXPECT_TRUE(wait_until([&] { return tep->dropped("spoofed_inner") == 1; }));
    foreign_udp.send({0x00, 0x01});
    EXPECT_TRUE(wait_until([&] { return tep->dropped("inner_bad_version") == 1; }));
    for (const auto& tunnel : tep->plane().list()) EXPECT_EQ(tunnel.counters.packets_up, 0u);
}

TEST_F(TunIpv6Campus, HairpinGoesBetweenEncapsulationsAndCanBeSwitchedOff) {
    const auto other_spec = v6_spec("2001:db8:100::8", "10.0.4.5");
    for (const bool hairpin : {true, false}) {
        start_endpoint(hairpin);
        const auto spec = v6_spec(inner, "10.0.1.5", signalling_port);
        ASSERT_TRUE(tep->add(spec));
        ASSERT_TRUE(tep->add(other_spec));
        client = start_client(*first, spec, client_v6_config());
        const auto other = start_client(*second, other_spec, client_config());
        EXPECT_EQ(answers(ping(*first, "2001:db8:100::8")), hairpin);
        EXPECT_EQ(tep->dropped("hairpin_off"), hairpin ? 0u : 1u);
        EXPECT_TRUE(answers(ping(*second, host_behind)));
        client->stop();
        tep->stop();
    }
}

TEST_F(TunIpv6Campus, TcpGoesFromClientToClient) {
    constexpr std::size_t size = 4 << 20;
    bring_up_v6(v6_spec(inner, "10.0.1.5", signalling_port));
    const auto spec = v6_spec("2001:db8:100::8", "10.0.4.5");
    ASSERT_TRUE(tep->add(spec));
    const auto other = start_client(*second, spec, client_config());
    EXPECT_EQ(transfer(*second, "2001:db8:100::8", *first, size), 2 * size);
}

TEST_F(TunIpv6CampusBehindNat, SignallingAndDataShareThePortsOfBothEnds) {
    make_router_a_nat();
    start_endpoint();
    signalling->send(tsp);
    const auto [peer, text] = at_endpoint.take();
    EXPECT_EQ(text, tsp);
    EXPECT_EQ(peer.address, IpAddress(v4("198.51.100.254")));
    EXPECT_NE(peer.port, signalling_port) << "the NAT chose another port";
    ASSERT_TRUE(answer(peer));
    EXPECT_EQ(signalling->receive(), tsp) << "no tunnel stands: the dialogue reads";

    const auto mapped = v6_spec(inner, "198.51.100.254", peer.port);
    ASSERT_TRUE(tep->add(mapped));
    client = start_client(*first, mapped, client_v6_config());
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    EXPECT_TRUE(answers(ping(*server, inner)));
    constexpr std::size_t size = 4 << 20;
    EXPECT_EQ(transfer(*server, host_behind, *first, size), 2 * size);

    signalling->send(tsp);
    EXPECT_EQ(at_endpoint.take(), std::pair(peer, tsp)) << "the same port pair";
    ASSERT_TRUE(answer(peer));
    EXPECT_EQ(at_client.take().second, tsp) << "the plane reads, and hands it over";
    ASSERT_TRUE(client->remove(inner));
    ASSERT_TRUE(answer(peer));
    EXPECT_EQ(signalling->receive(), tsp) << "the dialogue reads again";
}

TEST_P(TunIpv6CampusBothWays, ClientHearsOfItsPathAlsoAfterARenewal) {
    std::atomic<std::uint32_t> told = 0;
    auto config = client_v6_config();
    config.path_mtu_changed = [&](std::uint32_t path_mtu) { told = path_mtu; };
    start_endpoint();
    ASSERT_TRUE(tep->add(spec()));
    client = start_client(*first, spec(), config);
    ASSERT_TRUE(client->add(spec(2)));
    ASSERT_TRUE(tep->add(spec(2)));
    router->ip("link set e0 mtu 1400");
    endpoint->ip("link set eth0 mtu 1400");
    ping(*first, host_behind, "-M do -s 1400");
    EXPECT_TRUE(wait_until([&] { return told == 1400; })) << told;
    EXPECT_THAT(first->show("link show dstm0"),
                HasSubstr("mtu " + std::to_string(1400 - overhead())));
    client->stop();  // before what it tells is gone
}

TEST_F(TunIpv6Campus, EncapsulationChangesAndTheAddressStays) {
    bring_up_v6(v6_spec(inner, "10.0.1.5"));
    ASSERT_TRUE(answers(ping(*first, host_behind)));
    const auto in_udp = v6_spec(inner, "10.0.1.5", signalling_port, 2);
    ASSERT_TRUE(tep->add(in_udp));
    ASSERT_TRUE(client->add(in_udp));
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    EXPECT_THAT(first->show("link show dstm0"), HasSubstr("mtu 1472"));
    const auto without = v6_spec(inner, "10.0.1.5", 0, 3);
    ASSERT_TRUE(tep->add(without));
    ASSERT_TRUE(client->add(without));
    EXPECT_TRUE(answers(ping(*server, inner)));
    EXPECT_EQ(client->plane().list().size(), 1u);
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_up, 3u) << "counters live on";
}

TEST_F(TunIpv6Campus, BothVersionsGoThroughOneDevice) {
    start_endpoint();
    ASSERT_TRUE(tep->add(first_spec));
    ASSERT_TRUE(tep->add(v6_spec("2001:db8:100::8", "10.0.4.5")));
    client = std::make_unique<HostedPlane>(*first, client_config(), clock);
    ASSERT_TRUE(client->add(first_spec));
    first->ip("route add 203.0.113.0/24 dev dstm0");
    const auto other =
        start_client(*second, v6_spec("2001:db8:100::8", "10.0.4.5"), client_config());
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_TRUE(answers(ping(*second, host_behind)));
}

TEST_F(TunIpv6Campus, StopLeavesTheHostAsItWas) {
    const auto state_of = [](const Namespace& host) {
        return host.show("-6 route show table all") + host.show("route show table all") +
               host.show("-br addr");
    };
    const auto endpoint_before = state_of(*endpoint);
    const auto client_before = state_of(*first);
    bring_up_v6(v6_spec(inner, "10.0.1.5"));
    EXPECT_THAT(endpoint->show("-6 route show"), HasSubstr("blackhole 2001:db8:100::/48"));
    EXPECT_THAT(endpoint->show("addr show dstm0"), Not(HasSubstr("fe80")));
    tep->stop();
    client->stop();
    EXPECT_EQ(state_of(*endpoint), endpoint_before);
    EXPECT_EQ(state_of(*first), client_before);
}

TEST_F(TunIpv6Campus, KilledPlaneLeavesOnlyTheBlackholesWhichTheNextOneAdopts) {
    const auto routes = endpoint->show("-6 route show");
    const pid_t child = ::fork();
    if (child == 0) {
        HostedPlane plane(*endpoint, endpoint_v6_config(), clock);
        ::pause();
        ::_exit(1);
    }
    EXPECT_TRUE(wait_until([&] {
        return endpoint->show("-6 route show").find("2001:db8:200::/40 dev dstm0") !=
               std::string::npos;
    }));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(
        wait_until([&] { return endpoint->show("link show").find("dstm0") == std::string::npos; }));
    EXPECT_THAT(endpoint->show("-6 route show type blackhole"), HasSubstr("2001:db8:200::/40"));
    EXPECT_THAT(ping(*server, inner, "-W 1"), HasSubstr("100% packet loss"));
    bring_up_v6(v6_spec(inner, "10.0.1.5"));
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    tep->stop();
    EXPECT_EQ(endpoint->show("-6 route show"), routes);
}

}  // namespace
}  // namespace dstm::dataplane::testing
