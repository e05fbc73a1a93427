// The tun data plane on real interfaces: tun_campus.hpp shows the network.
#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/unit/dataplane/errors_of_the_path.hpp"
#include "tests/unit/dataplane/hand_made_client.hpp"
#include "tests/unit/dataplane/traffic.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(TunCampus, PingGoesToTheEndpointToTheServerAndBack) {
    bring_up();
    EXPECT_TRUE(answers(ping(*first, "192.0.2.1")));
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7")));
    EXPECT_THAT(ping(*first, "203.0.113.80", "-t 1"), HasSubstr("From 192.0.2.1"))
        << "the endpoint is one hop";
    const auto counters = tep->plane().list().at(0).counters;
    EXPECT_EQ(counters.packets_up, 4u);
    EXPECT_EQ(counters.packets_down, 4u);
    EXPECT_EQ(counters.bytes_up, 4u * 84);
    const auto is_recent = [&](WallTime seen) {
        return seen <= clock.wall() && seen + std::chrono::seconds(10) >= clock.wall();
    };
    EXPECT_TRUE(is_recent(counters.last_seen_up));
    EXPECT_TRUE(is_recent(counters.last_seen_down));
    for (const auto& [name, count] : tep->plane().drops()) EXPECT_EQ(count, 0u) << name;
}

TEST_F(TunCampus, TunnelOutsideThePoolsIsCarriedIfAsked) {
    auto config = endpoint_config();
    config.outside_pools = true;
    tep = std::make_unique<HostedPlane>(*endpoint, config, clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    const auto spec = make_spec("198.51.100.9", "2001:db8:1::5");
    ASSERT_TRUE(tep->add(spec));
    ASSERT_TRUE(tep->add(spec)) << "once more";
    client = bring_up_client(*first, spec, client_config());
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_TRUE(answers(ping(*server, "198.51.100.9")));
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_down, 2u);
    ASSERT_TRUE(tep->remove("198.51.100.9"));
    EXPECT_THAT(endpoint->show("route show"), Not(HasSubstr("198.51.100.9")));

    endpoint->ip("route add 198.51.100.8 via 203.0.113.80");
    const auto added = tep->add(make_spec("198.51.100.8", "2001:db8:1::5"));
    ASSERT_FALSE(added) << "it is led elsewhere";
    EXPECT_EQ(added.error().code, ErrorCode::conflict);
    EXPECT_TRUE(tep->plane().list().empty());
}

TEST_F(TunCampus, TcpCarriesMegabytesBothWays) {
    constexpr std::size_t size = 8 << 20;
    bring_up();
    EXPECT_EQ(transfer(*server, "203.0.113.80", *first, size), 2 * size);
    EXPECT_EQ(transfer(*first, "192.0.2.7", *server, size), 2 * size);
    EXPECT_EQ(tep->dropped("too_big"), 0u) << "the MSS is clamped, so nothing is too big";
}

TEST_F(TunCampus, TcpFindsItsSizeWithoutMssClamping) {
    constexpr std::size_t size = 1 << 20;
    auto config = endpoint_config();
    config.mss_clamp = false;
    narrow_endpoint_link();
    bring_up(config, false);
    EXPECT_EQ(transfer(*first, "192.0.2.7", *server, size), 2 * size);
    EXPECT_GT(tep->dropped("too_big"), 0u);
}

// Many kilobytes as one packet, without its checksum: so a sender on the same machine sends, and so
// the kernel merges what comes from elsewhere.
TEST_F(TunCampus, TcpOfAKernelsTunnelIsCarriedThoughTheKernelMergesIt) {
    constexpr std::size_t size = 8 << 20;
    ASSERT_TRUE(run("ip netns exec " + endpoint->name() + " ethtool -K eth0 gro on"));
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->add(first_spec));
    // A tunnel of the kernel that every kernel has: SRv6 with one segment, which needs no header.
    first->sysctl("net/ipv6/conf/all/forwarding", "1");
    first->sysctl("net/ipv4/ip_forward", "1");
    first->ip("sr tunsrc set 2001:db8:1::5");
    first->ip_batch({"addr add 192.0.2.7/32 dev lo", "addr del 2001:db8:1::5/64 dev eth0",
                     "addr add 2001:db8:1::6/64 dev eth0",
                     "route add default encap seg6 mode encap.red segs 2001:db8:2::1 dev eth0 src "
                     "192.0.2.7 mtu 1460"});
    first->ip("-6 route replace default via 2001:db8:1::1");
    first->ip(
        "-6 route add 2001:db8:1::5/128 encap seg6local action End.DX4 nh4 192.0.2.7 dev eth0");
    router->ip("-6 route add 2001:db8:1::5/128 via 2001:db8:1::6");
    EXPECT_EQ(transfer(*first, "192.0.2.7", *server, size), 2 * size);
    const auto counters = tep->plane().list().at(0).counters;
    constexpr std::size_t largest = 1460;
    EXPECT_GE(counters.packets_up, size / largest) << "each segment counts";
    EXPECT_GE(counters.packets_down, size / largest);
    EXPECT_LE(counters.bytes_up, counters.packets_up * largest);
    EXPECT_LE(counters.bytes_down, counters.packets_down * largest);
    EXPECT_THAT(endpoint->exec("ethtool -k eth0"), HasSubstr("generic-receive-offload: on"));
}

TEST_F(TunCampus, PacketWithDfThatDoesNotFitGetsFragmentationNeededAndTheSizeThatFits) {
    bring_up();
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7", "-M do -s 1432")));
    const auto refused = ping(*server, "192.0.2.7", "-M do -s 1433");
    EXPECT_THAT(refused, HasSubstr("mtu = 1460"));
    EXPECT_EQ(tep->dropped("too_big"), 1u);
}

TEST_F(TunCampus, PacketTooBigFromThePathLowersTheTunnelAndIsRelayed) {
    bring_up();
    narrow_client_link();
    EXPECT_THAT(ping(*server, "192.0.2.7", "-M do -s 1400"), HasSubstr("mtu = 1240"));
    EXPECT_EQ(tep->dropped("too_big"), 0u) << "the router said so, not the endpoint";
    server->ip("route flush cache");
    EXPECT_THAT(ping(*server, "192.0.2.7", "-M do -s 1401"), HasSubstr("mtu = 1240"));
    EXPECT_EQ(tep->dropped("too_big"), 1u) << "now the endpoint knows";
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7", "-M dont -s 1400"))) << "fragmented outside";
}

TEST_F(TunCampus, PacketTooBigLowersTheDeviceOfAClientAndItIsTold) {
    std::atomic<std::uint32_t> told = 0;
    auto config = client_config();
    config.path_mtu_changed = [&](std::uint32_t path_mtu) { told = path_mtu; };
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->add(first_spec));
    client = bring_up_client(*first, first_spec, config);
    EXPECT_TRUE(wait_until([&] { return told == 1500; }));
    EXPECT_THAT(first->show("link show dstm0"), HasSubstr("mtu 1460"));
    router->ip("link set e0 mtu 1300");
    endpoint->ip("link set eth0 mtu 1300");
    ping(*first, "203.0.113.80", "-M do -s 1400");
    EXPECT_TRUE(wait_until([&] { return told == 1300; })) << told;
    EXPECT_THAT(first->show("link show dstm0"), HasSubstr("mtu 1260"));
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80", "-M do -s 1232")));
}

TEST_F(TunCampus, OuterFragmentsAreReceivedAndSent) {
    narrow_endpoint_link();
    narrow_client_link();
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->add(first_spec));
    HandMadeClient peer(*first, "2001:db8:1::5");
    peer.send(echo_request("192.0.2.7", "192.0.2.1", 1500));
    EXPECT_EQ(peer.receive().payload.size(), 1500u);
    peer.send(echo_request("192.0.2.7", "192.0.2.1", 9000));
    EXPECT_EQ(peer.receive().payload.size(), 9000u);
}

TEST_F(TunCampus, DestinationOptionsAreAccepted) {
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->add(first_spec));
    HandMadeClient peer(*first, "2001:db8:1::5");
    for (const auto& options : {DestinationOptions{4, 1, 4, 1, 1, 0},    // as Linux sends them
                                DestinationOptions{1, 1, 0, 4, 1, 4},    // the limit behind padding
                                DestinationOptions{0, 0, 4, 1, 0, 0},    // other padding, limit 0
                                DestinationOptions{0x1e, 4, 1, 2, 3, 4}}) {  // to be passed over
        SCOPED_TRACE(int{options[0]});
        peer.prefix(options);
        peer.send(echo_request("192.0.2.7", "192.0.2.1", 84));
        EXPECT_EQ(peer.receive().payload.size(), 84u);
    }
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_up, 4u);
}

TEST_F(TunCampus, OuterHeaderIsThatOfRfc2473) {
    bring_up();
    const Arrivals arrivals(*first, "eth0", ETH_P_IPV6);
    ASSERT_TRUE(answers(ping(*server, "192.0.2.7", "-Q 0xb8")));
    const auto packet = arrivals.next(4);
    ASSERT_EQ(packet.size(), 84u + 40);
    EXPECT_EQ(load16(packet, 0) & 0xfff0, 0x6b80) << "the inner DSCP (RFC 2983 s3)";
    EXPECT_EQ(load16(packet, 4), 84) << "nothing between the headers";
    EXPECT_EQ(load8(packet, 7), 63) << "64 (s3.1), and one router";
    EXPECT_EQ(load_ipv6(packet, 8), v6("2001:db8:2::1"));
    EXPECT_EQ(load_ipv6(packet, 24), v6("2001:db8:1::5"));
    EXPECT_EQ(load8(packet, 40 + 8), 63) << "inside the endpoint is one hop";
}

TEST_F(TunCampus, TrafficClassIsCopiedOutAndCongestionIn) {
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->add(first_spec));
    HandMadeClient peer(*first, "2001:db8:1::5");
    auto request = echo_request("192.0.2.7", "192.0.2.1", 84);
    store8(request, 1, 0xba);  // EF, ECT(0)
    store16(request, 10, 0);
    store16(request, 10, internet_checksum(ConstBytes(request).first(20)));
    peer.send(request, 0x03);  // congested on the way
    const auto reply = peer.receive();
    ASSERT_EQ(reply.payload.size(), 84u);
    EXPECT_EQ(load8(reply.payload, 1), 0xbb) << "the kernel answers with the class it was asked in";
    EXPECT_EQ(reply.traffic_class, 0xbb);
}

TEST_F(TunCampus, UnreachableFromThePathReachesTheInnerSource) {
    bring_up();
    router->ip("addr del 2001:db8:1::1/64 dev a0");
    router->ip("-6 route add unreachable 2001:db8:1::/64");
    EXPECT_THAT(ping(*server, "192.0.2.7"),
                HasSubstr("From 192.0.2.1 icmp_seq=1 Destination Host Unreachable"));
}

TEST_F(TunCampus, SourceCheckTellsFourKindsOfForeignPacketsApart) {
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->add(first_spec));
    HandMadeClient bound(*first, "2001:db8:1::5");
    HandMadeClient foreign(*second, "2001:db8:4::5");
    bound.send(echo_request("192.0.2.9", "192.0.2.1", 84));
    foreign.send(echo_request("192.0.2.9", "192.0.2.1", 84));
    foreign.send(echo_request("192.0.2.7", "192.0.2.1", 84));
    for (const auto* counter : {"unknown_inner", "unknown_outer", "spoofed_outer"}) {
        ASSERT_TRUE(wait_until([&] { return tep->dropped(counter) == 1; })) << counter;
    }
    ASSERT_TRUE(tep->add(second_spec));
    foreign.send(echo_request("192.0.2.7", "192.0.2.1", 84));
    ASSERT_TRUE(wait_until([&] { return tep->dropped("spoofed_inner") == 1; }));
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_down, 0u);
}

TEST_F(TunCampus, HairpinWorksAndCanBeSwitchedOff) {
    for (const bool hairpin : {true, false}) {
        auto config = endpoint_config();
        config.hairpin = hairpin;
        bring_up(config);
        ASSERT_TRUE(tep->add(second_spec));
        const auto other = bring_up_client(*second, second_spec, client_config());
        EXPECT_EQ(answers(ping(*first, "192.0.2.8")), hairpin);
        EXPECT_EQ(tep->dropped("hairpin_off"), hairpin ? 0u : 1u);
        EXPECT_TRUE(answers(ping(*second, "203.0.113.80")));
        client->stop();
        tep->stop();
    }
}

TEST_F(TunCampus, NothingIsCarriedAfterTheEnd) {
    bring_up();
    ASSERT_TRUE(answers(ping(*first, "203.0.113.80")));
    auto ended = first_spec;
    ended.expires_at = clock.wall();
    ASSERT_TRUE(tep->add(ended));
    EXPECT_FALSE(answers(ping(*first, "203.0.113.80", "-W 1")));
    EXPECT_FALSE(answers(ping(*server, "192.0.2.7", "-W 1")));
    EXPECT_EQ(tep->dropped("expired"), 2u);
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_up, 1u);
}

TEST_F(TunCampus, ClientMovesToAnotherOuterAddress) {
    bring_up();
    ASSERT_TRUE(answers(ping(*first, "203.0.113.80")));
    auto moved = make_spec("192.0.2.7", "2001:db8:1::6");
    moved.generation = 2;
    EXPECT_EQ(client->add(moved).error().code, ErrorCode::unavailable);
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80"))) << "a move that fails changes nothing";
    first->ip("addr add 2001:db8:1::6/64 dev eth0");
    // Unavailable for as long as the kernel calls the new address tentative.
    ASSERT_TRUE(wait_until([&] { return client->add(moved).has_value(); }));
    ASSERT_TRUE(tep->add(moved));
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_EQ(client->plane().list().size(), 1u);
    EXPECT_EQ(client->add(second_spec).error().code, ErrorCode::exhausted);
    ASSERT_TRUE(client->remove("192.0.2.7", 2));
    EXPECT_THAT(first->show("addr show dstm0"), Not(HasSubstr("192.0.2.7")));
    EXPECT_TRUE(client->add(moved)) << "after a removal the plane can be used again";
}

TEST_F(TunCampus, ThreadThatCarriesGoesBeforeOthers) {
    const auto threads_before_others = [] {
        int count = 0;
        for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
            const auto thread = static_cast<id_t>(std::stoul(task.path().filename()));
            if (::getpriority(PRIO_PROCESS, thread) <= -5) ++count;
        }
        return count;
    };
    const int before = threads_before_others();
    bring_up();
    EXPECT_TRUE(wait_until([&] { return threads_before_others() == before + 2; }))
        << "one at the endpoint, one at the client";
}

TEST_F(TunCampus, StopLeavesTheHostAsItWas) {
    const auto routes = endpoint->show("route show table all");
    const auto addresses = endpoint->show("-br addr");
    const auto client_addresses = first->show("-br addr");
    bring_up();
    EXPECT_THAT(endpoint->show("route show"), HasSubstr("blackhole 192.0.2.0/24"));
    tep->stop();
    client->stop();
    EXPECT_EQ(endpoint->show("route show table all"), routes);
    EXPECT_EQ(endpoint->show("-br addr"), addresses);
    EXPECT_EQ(first->show("-br addr"), client_addresses);
}

TEST_F(TunCampus, KilledPlaneLeavesOnlyTheBlackholeWhichTheNextOneAdopts) {
    const auto routes = endpoint->show("route show");
    const pid_t child = ::fork();
    if (child == 0) {
        HostedPlane plane(*endpoint, endpoint_config(), clock);
        ::pause();
        ::_exit(1);
    }
    EXPECT_TRUE(wait_until([&] {
        return endpoint->show("route show").find("192.0.2.0/24 dev dstm0") != std::string::npos;
    }));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(
        wait_until([&] { return endpoint->show("link show").find("dstm0") == std::string::npos; }));
    const auto blackhole = endpoint->show("route show type blackhole");
    EXPECT_THAT(blackhole, HasSubstr("192.0.2.0/24"));
    bring_up();
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    tep->stop();
    EXPECT_EQ(endpoint->show("route show"), routes);
}

TEST_F(TunCampus, DeviceOfSomebodyElseIsAConflict) {
    endpoint->ip("tuntap add dev dstm0 mode tun");
    HostedPlane plane(*endpoint, endpoint_config(), clock);
    ASSERT_FALSE(plane.is_up());
    EXPECT_THAT(plane.why(), HasSubstr("conflict"));
    EXPECT_THAT(endpoint->show("route show"), Not(HasSubstr("blackhole")));
}

}  // namespace
}  // namespace dstm::dataplane::testing
