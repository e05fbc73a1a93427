// What only the BPF data plane does, on real interfaces: tun_campus.hpp shows the network.
#include <thread>

#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

bool answers(const Namespace& from, const std::string& target, const std::string& more = "") {
    return from.exec("ping -n -c 1 -W 2 " + more + " " + target).find(" 0% packet loss") !=
           std::string::npos;
}

using BpfCampus = TunCampus;

TEST_F(BpfCampus, IsTheOneThatCarries) {
    bring_up();
    EXPECT_EQ(tep->plane().name(), "bpf");
    EXPECT_THAT(endpoint->exec("tc filter show dev eth0 ingress"), HasSubstr("dstm_up"));
    EXPECT_THAT(endpoint->exec("tc filter show dev dstm0 egress"), HasSubstr("dstm_down"));
}

TEST_F(BpfCampus, NothingIsLeftOnTheInterfaces) {
    bring_up();
    tep->stop();
    EXPECT_THAT(endpoint->exec("tc filter show dev eth0 ingress"), Not(HasSubstr("dstm")));
    EXPECT_THAT(endpoint->exec("tc qdisc show dev eth0"), Not(HasSubstr("clsact")));
}

TEST_F(BpfCampus, FiltersOfOthersStay) {
    const auto tc = [&](const std::string& more) { return endpoint->exec("tc " + more); };
    EXPECT_EQ(tc("qdisc add dev eth0 clsact"), "");
    EXPECT_EQ(tc("filter add dev eth0 ingress prio 9 bpf bytecode '1,6 0 0 0,'"), "");
    bring_up();
    tep->stop();
    EXPECT_THAT(endpoint->exec("tc filter show dev eth0 ingress"), HasSubstr("pref 9"));
}

TEST_F(BpfCampus, QdiscThatWeMadeStaysWithFiltersThatOthersAddedLater) {
    const auto tc = [&](const std::string& more) { return endpoint->exec("tc " + more); };
    for (const auto* const direction : {"ingress", "egress"}) {
        bring_up();
        const auto added = std::string("filter add dev eth0 ") + direction + " prio 9 ";
        EXPECT_EQ(tc(added + "bpf bytecode '1,6 0 0 0,'"), "");
        client->stop();
        tep->stop();
        EXPECT_THAT(tc(std::string("filter show dev eth0 ") + direction), HasSubstr("pref 9"));
        EXPECT_THAT(tc("filter show dev eth0 ingress"), Not(HasSubstr("dstm")));
        EXPECT_EQ(tc("qdisc del dev eth0 clsact"), "");
    }
}

TEST_F(BpfCampus, PlaceOfOursThatAnotherFilterHasIsAConflict) {
    EXPECT_EQ(endpoint->exec("tc qdisc add dev eth0 clsact"), "");
    EXPECT_EQ(endpoint->exec("tc filter add dev eth0 ingress prio 3415 handle 0xd5 "
                             "bpf bytecode '1,6 0 0 0,'"),
              "");
    HostedPlane plane(*endpoint, endpoint_config(), clock);
    ASSERT_FALSE(plane.is_up());
    EXPECT_THAT(plane.why(), HasSubstr("on eth0 the tc filter"));
    EXPECT_THAT(plane.why(), HasSubstr("not ours"));
    EXPECT_THAT(endpoint->exec("tc filter show dev eth0 ingress"), HasSubstr("bytecode"));
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr("dstm0")));
}

TEST_F(BpfCampus, InterfaceThatVanishesAndComesBackIsTakenAgain) {
    bring_up();
    ASSERT_TRUE(answers(*first, "203.0.113.80"));
    endpoint->ip("link del eth0");
    connect(*endpoint, "2001:db8:2::1/64", *router, "e0", "2001:db8:2::ffff/64");
    endpoint->ip("-6 route add default via 2001:db8:2::ffff");
    EXPECT_TRUE(wait_until([&] {
        return endpoint->exec("tc filter show dev eth0 ingress").find("dstm_up") !=
               std::string::npos;
    }));
    EXPECT_TRUE(wait_until([&] { return answers(*first, "203.0.113.80"); }));
}

TEST_F(BpfCampus, FilterThatSomebodyTookAwayIsPutBack) {
    bring_up();
    const auto stands = [&] {
        return endpoint->exec("tc filter show dev eth0 ingress").find("dstm_up") !=
               std::string::npos;
    };
    for (const auto* const what : {"filter del dev eth0 ingress", "qdisc del dev eth0 clsact"}) {
        EXPECT_EQ(endpoint->exec(std::string("tc ") + what), "");
        EXPECT_TRUE(wait_until(stands)) << what;
    }
    EXPECT_TRUE(answers(*first, "203.0.113.80"));
    tep->stop();
    EXPECT_THAT(endpoint->exec("tc qdisc show dev eth0"), Not(HasSubstr("clsact")));
}

TEST_F(BpfCampus, RouteThatChangesIsFollowed) {
    bring_up();
    ASSERT_TRUE(answers(*first, "203.0.113.80"));
    endpoint->ip("link add eth1 type veth peer name e1 netns " + router->name());
    endpoint->ip("addr add 2001:db8:9::2/64 dev eth1");
    endpoint->ip("link set eth1 up");
    router->ip("addr add 2001:db8:9::1/64 dev e1");
    router->ip("link set e1 up");
    router->ip("-6 route add 2001:db8:2::1/128 via 2001:db8:9::2");
    endpoint->ip("-6 route replace default via 2001:db8:9::1");
    EXPECT_TRUE(wait_until([&] { return answers(*first, "203.0.113.80"); }));
    EXPECT_THAT(endpoint->exec("tc filter show dev eth1 ingress"), HasSubstr("dstm_up"));
    const auto before = endpoint->exec("cat /sys/class/net/eth1/statistics/tx_packets");
    EXPECT_TRUE(answers(*first, "203.0.113.80"));
    EXPECT_NE(endpoint->exec("cat /sys/class/net/eth1/statistics/tx_packets"), before);
}

TEST_F(BpfCampus, SourceFilterIsTurnedOffAndPutBack) {
    for (const auto* mode : {"1", "2"}) {
        endpoint->sysctl("net/ipv4/conf/eth0/rp_filter", mode);
        bring_up();
        EXPECT_TRUE(answers(*first, "203.0.113.80"));
        client->stop();
        tep->stop();
        EXPECT_EQ(endpoint->exec("cat /proc/sys/net/ipv4/conf/eth0/rp_filter"),
                  std::string(mode) + "\n");
    }
}

TEST_F(BpfCampus, SourceFilterOfAllInterfacesIsRespected) {
    for (const auto* mode : {"1", "2"}) {
        endpoint->sysctl("net/ipv4/conf/all/rp_filter", mode);
        bring_up();
        EXPECT_TRUE(answers(*first, "203.0.113.80"));
        EXPECT_TRUE(answers(*first, "192.0.2.1"));
        client->stop();
        tep->stop();
    }
}

TEST_F(BpfCampus, PoolsThatOverlapAreRefused) {
    auto config = endpoint_config();
    config.pools.push_back(Ipv4Prefix::parse("192.0.2.128/25").value());
    HostedPlane plane(*endpoint, config, clock);
    ASSERT_FALSE(plane.is_up());
    EXPECT_THAT(plane.why(), HasSubstr("overlap"));
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr("dstm0")));
}

// Offloads make few large packets of many; what the wire would carry is counted.
TEST_F(BpfCampus, MergedPacketsCountAsTheirSegments) {
    bring_up();
    if (!run("iperf3 --version")) GTEST_SKIP() << "needs iperf3";
    std::thread listener([&] { static_cast<void>(server->exec("timeout 20 iperf3 -s -1")); });
    std::string said;
    EXPECT_TRUE(wait_until(
        [&] {
            said = first->exec("iperf3 -c 203.0.113.80 -n 20M");
            return said.find("iperf Done") != std::string::npos;
        },
        std::chrono::seconds(20)))
        << said;
    listener.join();
    const auto counters = tep->plane().list().at(0).counters;
    EXPECT_GT(counters.packets_up, 10'000u);
    EXPECT_GT(counters.bytes_up / counters.packets_up, 1300u);
    EXPECT_LE(counters.bytes_up / counters.packets_up, 1460u);
    EXPECT_EQ(tep->dropped("too_big"), 0u);
}

// The plane looks by itself: else the packet would be news for ever.
TEST_F(BpfCampus, PacketsDownAloneAreSeenWhenTheyCame) {
    bring_up();
    client->stop();
    const auto counters = [&] { return tep->plane().list().at(0).counters; };
    const auto before = clock.wall() - std::chrono::seconds(1);  // a tick is not of whole seconds
    EXPECT_FALSE(answers(*server, "192.0.2.7"));
    EXPECT_EQ(counters().last_seen_up, WallTime());
    EXPECT_GE(counters().last_seen_down, before);
    EXPECT_TRUE(wait_until(
        [&] { return counters().last_seen_down + std::chrono::seconds(2) <= clock.wall(); },
        std::chrono::seconds(20)));
    EXPECT_GE(counters().last_seen_down, before);
}

// Between clients packets that GRO has merged are turned round without being unwrapped.
TEST_F(BpfCampus, TcpBetweenTwoClientsWithOffloads) {
    bring_up();
    ASSERT_TRUE(tep->add(second_spec));
    const auto other = bring_up_client(*second, second_spec, client_config());
    if (!run("iperf3 --version")) GTEST_SKIP() << "needs iperf3";
    std::thread listener([&] { static_cast<void>(second->exec("timeout 20 iperf3 -s -1")); });
    std::string said;
    EXPECT_TRUE(wait_until(
        [&] {
            said = first->exec("iperf3 -c 192.0.2.8 -n 20M");
            return said.find("iperf Done") != std::string::npos;
        },
        std::chrono::seconds(20)))
        << said;
    listener.join();
    EXPECT_EQ(tep->dropped("too_big"), 0u);
}

// A VLAN's packets belong to the VLAN's own interface; where the kernel has them (8021q).
TEST_F(BpfCampus, InterfaceOfAVlanIsCarriedFrom) {
    const auto tag = "link add link eth0 name eth0.7 type vlan id 7";
    if (!run("ip -n " + endpoint->name() + " " + tag)) return;
    endpoint->ip("addr del 2001:db8:2::1/64 dev eth0");
    router->ip("addr del 2001:db8:2::ffff/64 dev e0");
    router->ip("link add link e0 name e0.7 type vlan id 7");
    endpoint->ip("addr add 2001:db8:2::1/64 dev eth0.7");
    router->ip("addr add 2001:db8:2::ffff/64 dev e0.7");
    endpoint->ip("link set eth0.7 up");
    router->ip("link set e0.7 up");
    endpoint->ip("-6 route add default via 2001:db8:2::ffff");
    bring_up();
    EXPECT_TRUE(answers(*first, "203.0.113.80"));
    EXPECT_THAT(endpoint->exec("tc filter show dev eth0.7 ingress"), HasSubstr("dstm_up"));
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_up, 1u);
}

}  // namespace
}  // namespace dstm::dataplane::testing
