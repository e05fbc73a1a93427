// The kernel data plane on real interfaces, at both ends of the tunnel.
#include <csignal>

#include <net/if.h>
#include <sys/wait.h>

#include "tests/kernel/kernel_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class KernelPlane : public ReusedCampus {
protected:
    void SetUp() override {
        make_endpoint_plane = make_kernel;
        make_client_plane = make_kernel;
        ReusedCampus::SetUp();
    }
    [[nodiscard]] std::uint64_t dropped(const std::string& name) const {
        return tep->plane().drops().at(name);
    }
};

TEST_F(KernelPlane, PingGoesToTheEndpointToTheServerAndBackAndIsCounted) {
    bring_up();
    EXPECT_TRUE(answers(ping(*first, "192.0.2.1")));
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7")));
    const auto seen = tep->plane().list();
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen[0].spec, first_spec);
    EXPECT_EQ(seen[0].counters.packets_up, 3u);
    EXPECT_EQ(seen[0].counters.packets_down, 3u);
    EXPECT_EQ(seen[0].counters.bytes_up, 3u * 84);
    EXPECT_EQ(seen[0].counters.bytes_down, 3u * 84);
    EXPECT_GE(seen[0].counters.last_seen_up + std::chrono::seconds(10), clock.wall());
    EXPECT_GE(seen[0].counters.last_seen_down + std::chrono::seconds(10), clock.wall());
    const auto at_client = client->plane().list().at(0);
    EXPECT_EQ(at_client.spec, first_spec);
    EXPECT_EQ(at_client.counters.packets_up, 3u);
    for (const auto* plane : {&tep->plane(), &client->plane()}) {
        for (const auto& [name, count] : plane->drops()) EXPECT_EQ(count, 0u) << name;
    }
}

TEST_F(KernelPlane, TcpCarriesMegabytesBothWays) {
    constexpr std::size_t size = 1 << 20;
    bring_up();
    EXPECT_EQ(transfer(*server, "203.0.113.80", *first, size), 2 * size);
    EXPECT_EQ(transfer(*first, "192.0.2.7", *server, size), 2 * size);
}

TEST_F(KernelPlane, OnTheWireIsPlainProtocol4WithHopLimit64AndTheInnerTrafficClass) {
    bring_up();
    Capture wire(*router, "a0");
    // Echo asked by the client, then its answer: both ends send what is looked at.
    const auto asked = ping(*first, "192.0.2.1", "-Q 0xb8 -t 9");
    EXPECT_TRUE(answers(asked)) << asked;
    for (const auto* sender : {"2001:db8:1::5", "2001:db8:2::1"}) {
        const auto packet = wire.next([&](ConstBytes bytes) {
            return bytes.size() == 40 + 84 && load8(bytes, 0) >> 4 == 6 &&
                   load_ipv6(bytes, 8) == v6(sender);
        });
        ASSERT_FALSE(packet.empty()) << sender;
        EXPECT_EQ(load8(packet, 6), 4) << "next header: no destination options";
        // The endpoint's packets have come through one router.
        EXPECT_EQ(load8(packet, 7), std::string(sender) == "2001:db8:2::1" ? 63 : 64);
        EXPECT_EQ(load16(packet, 0) >> 4 & 0xff, 0xb8);
    }
}

TEST_F(KernelPlane, PacketWithDfThatDoesNotFitGetsFragmentationNeededAndTheSizeThatFits) {
    bring_up();
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7", "-M do -s 1432")));
    EXPECT_THAT(ping(*server, "192.0.2.7", "-M do -s 1433"), HasSubstr("mtu = 1460"));
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7", "-M dont -s 3000")));
}

// What the SYN of a connection says, seen inside the tunnel or behind the endpoint.
unsigned mss_of_syn(Capture& wire, const char* sender) {
    const auto syn = wire.next([&](ConstBytes bytes) {
        return bytes.size() >= 44 && load8(bytes, 0) == 0x45 && load8(bytes, 9) == 6 &&
               load_ipv4(bytes, 12) == v4(sender) && (load8(bytes, 33) & 0x02) != 0;
    });
    return syn.empty() || load16(syn, 40) != 0x0204 ? 0 : load16(syn, 42);
}

TEST_F(KernelPlane, MssIsClampedBothWaysUnlessSwitchedOff) {
    for (const bool clamp : {true, false}) {
        auto config = endpoint_config();
        config.mss_clamp = clamp;
        bring_up(config);
        first->ip("link set dstm0 mtu 1500");  // what a client that knows no better says
        Capture at_server(*server, "eth0");
        Capture at_client(*first, "dstm0");
        EXPECT_EQ(transfer(*server, "203.0.113.80", *first, 1000), 2000u);
        EXPECT_EQ(mss_of_syn(at_server, "192.0.2.7"), clamp ? 1420u : 1460u);
        EXPECT_EQ(mss_of_syn(at_client, "203.0.113.80"), clamp ? 1420u : 1460u);
        client.reset();
        detach();
        EXPECT_EQ(endpoint->exec("nft list tables"), "");
    }
}

TEST_F(KernelPlane, AClientClampsTheMssOfWhatItForwards) {
    is_changed = true;
    bring_up();
    EXPECT_THAT(first->exec("nft list ruleset"), HasSubstr("iifname \"dstm0\" tcp flags syn"));
    client->stop();
    EXPECT_EQ(first->exec("nft list tables"), "");
}

TEST_F(KernelPlane, OuterFragmentsAndTheEncapsulationLimitAreTaken) {
    is_changed = true;
    narrow_client_link();
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    ASSERT_TRUE(tep->add(first_spec));
    HandMadeClient peer(*first, "2001:db8:1::5");
    peer.send(echo_request("192.0.2.7", "192.0.2.1", 1400));
    EXPECT_TRUE(wait_until([&] { return tep->plane().list()[0].counters.packets_up == 1; }));
    EXPECT_EQ(tep->plane().list()[0].counters.bytes_up, 1400u);
    peer.prefix({4, 1, 4, 1, 1, 0});  // an encapsulation limit
    peer.send(echo_request("192.0.2.7", "192.0.2.1", 84));
    EXPECT_TRUE(wait_until([&] { return tep->plane().list()[0].counters.packets_up == 2; }));
}

TEST_F(KernelPlane, CongestionIsCopiedInAndDropsWhatDoesNotKnowIt) {
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    ASSERT_TRUE(tep->add(first_spec));
    HandMadeClient peer(*first, "2001:db8:1::5");
    auto request = echo_request("192.0.2.7", "192.0.2.1", 84);
    peer.send(request, 0x03);
    EXPECT_TRUE(wait_until([&] { return dropped("ecn_congested") == 1; }));
    store8(request, 1, 0xba);  // EF, ECT(0)
    store16(request, 10, 0);
    store16(request, 10, internet_checksum(ConstBytes(request).first(20)));
    peer.send(request, 0x03);
    const auto reply = peer.receive();
    ASSERT_EQ(reply.payload.size(), 84u);
    EXPECT_EQ(load8(reply.payload, 1), 0xbb);
}

TEST_F(KernelPlane, SourceCheckHoldsWhateverTheHostsReversePathFilter) {
    is_changed = true;
    for (const auto* rp_filter : {"0", "1", "2"}) {
        endpoint->sysctl("net/ipv4/conf/all/rp_filter", rp_filter);
        endpoint->sysctl("net/ipv4/conf/default/rp_filter", rp_filter);
        // The widest of all routes back must not make a foreign source good.
        endpoint->ip("route replace default via 203.0.113.80");
        tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
        ASSERT_TRUE(tep->is_up()) << tep->why();
        ASSERT_TRUE(tep->add(first_spec));
        HandMadeClient bound(*first, "2001:db8:1::5");
        HandMadeClient foreign(*second, "2001:db8:4::5");
        Capture at_server(*server, "eth0");
        bound.send(echo_request("192.0.2.9", "192.0.2.1", 84));        // of no tunnel
        bound.send(echo_request("198.51.100.9", "203.0.113.80", 84));  // of the rest of the world
        bound.send(echo_request("203.0.113.1", "203.0.113.80", 84));   // the endpoint's own
        bound.send(echo_request("192.0.2.1", "203.0.113.80", 84));
        EXPECT_TRUE(wait_until([&] { return dropped("source_check") == 4; }))
            << dropped("source_check");
        foreign.send(echo_request("192.0.2.7", "203.0.113.80", 84));  // from no client
        EXPECT_TRUE(wait_until([&] { return dropped("unknown_outer") == 1; }));
        ASSERT_TRUE(tep->add(second_spec));
        foreign.send(echo_request("192.0.2.7", "203.0.113.80", 84));  // another client's
        foreign.send(echo_request("192.0.2.7", "192.0.2.7", 84));
        foreign.send(echo_request("192.0.2.7", "192.0.2.8", 84));  // hairpin
        EXPECT_TRUE(wait_until([&] { return dropped("source_check") == 7; }))
            << dropped("source_check");
        bound.send(echo_request("192.0.2.7", "203.0.113.80", 100));  // good, and the last
        const auto came = at_server.next(
            [](ConstBytes bytes) { return load8(bytes, 0) == 0x45 && load8(bytes, 9) == 1; });
        EXPECT_EQ(came.size(), 100u) << "nothing else was forwarded";
        const auto answered = [&](std::size_t tunnel) {
            return tep->plane().list().at(tunnel).counters.packets_down;
        };
        EXPECT_TRUE(wait_until([&] { return answered(0) == 1; }));
        EXPECT_EQ(answered(1), 0u);
        ASSERT_TRUE(tep->remove("192.0.2.8"));
        EXPECT_EQ(dropped("source_check"), 7u) << "what a device counted outlives it";
        detach();
    }
}

TEST_F(KernelPlane, WhatIsForNoClientIsDroppedAndCountedAndDoesNotLoop) {
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    EXPECT_FALSE(answers(ping(*server, "192.0.2.77", "-W 1")));
    EXPECT_EQ(dropped("no_tunnel"), 1u);
    EXPECT_THAT(endpoint->show("route show"), HasSubstr("blackhole 192.0.2.0/24"));
}

TEST_F(KernelPlane, HairpinWorksAndCanBeSwitchedOff) {
    for (const bool hairpin : {true, false}) {
        auto config = endpoint_config();
        config.hairpin = hairpin;
        bring_up(config);
        ASSERT_TRUE(tep->add(second_spec));
        const auto other = bring_up_client(*second, second_spec, client_config());
        EXPECT_EQ(answers(ping(*first, "192.0.2.8", "-W 1")), hairpin);
        EXPECT_EQ(dropped("source_check"), hairpin ? 0u : 1u);
        EXPECT_TRUE(answers(ping(*second, "203.0.113.80")));
        EXPECT_TRUE(answers(ping(*second, "192.0.2.1"))) << "the endpoint is no client";
        client->stop();
        if (hairpin) tep->stop();  // the next one has another configuration and starts afresh
    }
}

TEST_F(KernelPlane, NothingIsCarriedAfterTheEndAndARenewalCarriesAgain) {
    bring_up();
    ASSERT_TRUE(answers(ping(*first, "203.0.113.80")));
    auto ending = first_spec;
    ending.expires_at = clock.wall() + std::chrono::seconds(2);
    for (auto* plane : {tep.get(), client.get()}) {
        ASSERT_TRUE(plane->add(ending));
        EXPECT_TRUE(wait_until([&] { return !answers(ping(*first, "203.0.113.80", "-W 1")); },
                               std::chrono::seconds(15)));
        EXPECT_GE(clock.wall(), ending.expires_at);
        EXPECT_EQ(plane->plane().list().at(0).spec, ending) << "stays until it is removed";
        ASSERT_TRUE(plane->add(first_spec));
        EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
        ending.expires_at = clock.wall() + std::chrono::seconds(2);
    }
    ending.expires_at = clock.wall();
    ASSERT_TRUE(tep->add(ending));
    EXPECT_FALSE(answers(ping(*server, "192.0.2.7", "-W 1")));
    EXPECT_EQ(dropped("no_tunnel"), 1u);
}

TEST_F(KernelPlane, ClientMovesToAnotherOuterAddressAndKeepsDeviceRoutesAndCounters) {
    is_changed = true;
    bring_up();
    ASSERT_TRUE(answers(ping(*first, "203.0.113.80")));
    const auto device = first->show("-o link show dstm0").substr(0, 10);
    const auto routes = first->show("route show");
    auto moved = make_spec("192.0.2.7", "2001:db8:1::6");
    moved.generation = 2;
    EXPECT_EQ(client->add(moved).error().code, ErrorCode::unavailable);
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80"))) << "a move that fails changes nothing";
    first->ip("addr add 2001:db8:1::6/64 dev eth0 nodad");
    ASSERT_TRUE(tep->add(moved));
    const auto added = client->add(moved);
    ASSERT_TRUE(added) << to_string(added.error());
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_EQ(first->show("-o link show dstm0").substr(0, 10), device);
    EXPECT_EQ(first->show("route show"), routes);
    const auto seen = tep->plane().list();
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen[0].spec, moved);
    EXPECT_EQ(seen[0].counters.packets_up, 3u) << "counters live on";
    HandMadeClient old(*first, "2001:db8:1::5");
    old.send(echo_request("192.0.2.7", "203.0.113.80", 84));
    EXPECT_TRUE(wait_until([&] { return dropped("unknown_outer") == 1; }));
    EXPECT_EQ(client->add(second_spec).error().code, ErrorCode::exhausted);
    EXPECT_EQ(tep->add(first_spec).error().code, ErrorCode::conflict) << "late";
    EXPECT_EQ(tep->remove("192.0.2.7", 1).error().code, ErrorCode::conflict);
    ASSERT_TRUE(client->remove("192.0.2.7", 2));
    EXPECT_THAT(first->show("link show"), Not(HasSubstr("dstm0")));
    EXPECT_TRUE(client->add(moved)) << "after a removal the plane can be used again";
}

TEST_F(KernelPlane, AtNoMomentOfAReplacementIsNothingCarried) {
    is_changed = true;
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    ASSERT_TRUE(tep->add(first_spec));
    // Packets for the client leave for one of its two addresses at every moment.
    first->ip("addr add 2001:db8:1::6/64 dev eth0 nodad");
    std::string lost;
    std::thread sender([&] { lost = server->exec("ping -n -q -i 0.002 -c 500 -W 1 192.0.2.7"); });
    for (Generation generation = 2; generation < 12; ++generation) {
        auto moved =
            make_spec("192.0.2.7", generation % 2 == 0 ? "2001:db8:1::6" : "2001:db8:1::5");
        moved.generation = generation;
        EXPECT_TRUE(tep->add(moved));
    }
    sender.join();
    EXPECT_THAT(lost, HasSubstr("500 packets transmitted"));
    EXPECT_EQ(dropped("no_tunnel"), 0u);
    EXPECT_EQ(dropped("send_failed"), 0u);
    EXPECT_EQ(tep->plane().list().at(0).counters.packets_down, 500u);
}

TEST_F(KernelPlane, TunnelsOfOneFarEndShareItsDeviceUntilItCanRememberNoMore) {
    bring_up();
    std::size_t installed = 1;
    for (; installed <= 16; ++installed) {
        auto more = make_spec("192.0.2." + std::to_string(100 + installed), "2001:db8:1::5");
        more.generation = 1763887506000000;
        if (const auto added = tep->add(more); !added) {
            EXPECT_EQ(added.error().code, ErrorCode::exhausted);
            break;
        }
    }
    EXPECT_GE(installed, 4u);
    EXPECT_EQ(tep->plane().list().size(), installed);
    ASSERT_TRUE(tep->remove("192.0.2.101", ~Generation{0}));
    HandMadeClient peer(*first, "2001:db8:1::5");
    peer.send(echo_request("192.0.2.101", "192.0.2.1", 84));
    EXPECT_TRUE(wait_until([&] { return dropped("source_check") == 1; }));
    EXPECT_FALSE(answers(ping(*server, "192.0.2.101", "-W 1")));
    EXPECT_EQ(dropped("no_tunnel"), 1u);
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    const auto before = client->dropped("bad_destination");
    EXPECT_FALSE(answers(ping(*server, "192.0.2.102", "-W 1"))) << "this client knows of one";
    EXPECT_EQ(client->dropped("bad_destination"), before + 1);
}

TEST_F(KernelPlane, DevicesOfAKilledDaemonGoOnAndTheNextOneAdoptsThem) {
    const auto routes = endpoint->show("route show table all");
    auto over = second_spec;
    over.expires_at = clock.wall() + std::chrono::seconds(1);
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        HostedPlane plane(*endpoint, endpoint_config(), clock);
        const bool done = plane.is_up() && plane.add(first_spec) && plane.add(over);
        if (::write(pipe[1], done ? "y" : "n", 1) == 1) ::pause();
        ::_exit(1);
    }
    char done = 0;
    ASSERT_EQ(::read(pipe[0], &done, 1), 1);
    EXPECT_EQ(done, 'y');
    client = bring_up_client(*first, first_spec, client_config());
    const auto second_plane = endpoint->in([&] {
        return make_kernel_plane(kernel_config(endpoint_config()), clock).map([](auto) {});
    });
    EXPECT_EQ(second_plane.error().code, ErrorCode::conflict) << "the first one lives";
    std::string pings;
    std::thread sender([&] { pings = first->exec("ping -n -q -i 0.01 -c 300 203.0.113.80"); });
    ASSERT_TRUE(wait_until([&] { return clock.wall() >= over.expires_at; }));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    EXPECT_TRUE(tep->is_up()) << tep->why();
    const auto adopted = tep->plane().list();
    ASSERT_EQ(adopted.size(), 1u) << "the other is over";
    EXPECT_EQ(adopted[0].spec, first_spec);
    EXPECT_TRUE(tep->add(first_spec));
    sender.join();
    EXPECT_THAT(pings, HasSubstr("300 received, 0% packet loss"));
    EXPECT_GE(tep->plane().list().at(0).counters.packets_up, 300u);
    tep->stop();
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80"))) << "an orderly stop leaves them too";
    detach();
    EXPECT_EQ(endpoint->show("route show table all"), routes);
    // The kernel's own ip6tnl0 and sit0 came with the modules.
    EXPECT_THAT(endpoint->show("-br link"), Not(HasSubstr("dstm")));
    EXPECT_FALSE(answers(ping(*first, "203.0.113.80", "-W 1")));
}

TEST_F(KernelPlane, AnotherConfigurationAdoptsNothingOfTheOld) {
    is_changed = true;
    bring_up();
    tep->stop();
    endpoint->ip("addr add 2001:db8:2::2/64 dev eth0 nodad");
    auto config = endpoint_config();
    config.outer = v6("2001:db8:2::2");
    tep = std::make_unique<HostedPlane>(*endpoint, config, clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    EXPECT_TRUE(tep->plane().list().empty());
    EXPECT_FALSE(answers(ping(*first, "203.0.113.80", "-W 1")));
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr("dstm0-")));
}

TEST_F(KernelPlane, DeviceOfSomebodyElseIsAConflictAndStays) {
    is_changed = true;
    endpoint->ip("link add dstm0 type ip6tnl mode ipip6 local 2001:db8:2::1 remote 2001:db8::9");
    first->ip("link add dstm0 type dummy");
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    EXPECT_THAT(tep->why(), HasSubstr("conflict"));
    client = std::make_unique<HostedPlane>(*first, client_config(), clock);
    ASSERT_TRUE(client->is_up());
    EXPECT_EQ(client->add(first_spec).error().code, ErrorCode::conflict);
    client->stop();
    EXPECT_THAT(endpoint->show("link show dstm0"), HasSubstr("peer 2001:db8::9"));
    EXPECT_THAT(first->show("link show"), HasSubstr("dstm0"));
    EXPECT_FALSE(first->in([] { return remove_kernel_client("dstm0"); }).value());
}

TEST_F(KernelPlane, WhatAKilledClientLeftCanBeRemoved) {
    const pid_t child = ::fork();
    if (child == 0) {
        HostedPlane plane(*first, client_config(), clock);
        if (plane.add(first_spec)) ::pause();
        ::_exit(1);
    }
    EXPECT_TRUE(
        wait_until([&] { return first->show("-br addr").find("192.0.2.7") != std::string::npos; }));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_THAT(first->show("-br addr"), HasSubstr("192.0.2.7"));
    EXPECT_TRUE(first->in([] { return remove_kernel_client("dstm0"); }).value());
    EXPECT_THAT(first->show("-br addr"), Not(HasSubstr("192.0.2.7")));
}

TEST_F(KernelPlane, WhatCannotBeIsRefused) {
    auto config = endpoint_config();
    config.tunnels_max = 1;
    tep = std::make_unique<HostedPlane>(*endpoint, config, clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    auto udp = first_spec;
    udp.type = TunnelType::v6udpv4;
    EXPECT_EQ(tep->add(udp).error().code, ErrorCode::refused);
    auto sit = first_spec;
    sit.type = TunnelType::v6v4;
    EXPECT_EQ(tep->add(sit).error().code, ErrorCode::invalid);
    EXPECT_EQ(tep->add(make_spec("198.51.100.7", "2001:db8:1::5")).error().code,
              ErrorCode::invalid);
    EXPECT_EQ(tep->add(make_spec("192.0.2.1", "2001:db8:1::5")).error().code, ErrorCode::invalid);
    EXPECT_EQ(tep->add(make_spec("192.0.2.7", "fe80::1")).error().code, ErrorCode::invalid);
    EXPECT_EQ(tep->remove("192.0.2.7").error().code, ErrorCode::not_found);
    ASSERT_TRUE(tep->add(first_spec));
    EXPECT_TRUE(tep->add(first_spec)) << "the same again";
    EXPECT_EQ(tep->add(second_spec).error().code, ErrorCode::exhausted);
    EXPECT_TRUE(tep->remove("192.0.2.7"));
    EXPECT_TRUE(tep->add(second_spec));
}

TEST_F(KernelPlane, TunnelOutsideThePoolsIsCarriedIfAskedAndNotWithoutHairpin) {
    const auto spec = make_spec("198.51.100.9", "2001:db8:1::5");
    auto config = endpoint_config();
    for (const auto& [outside, hairpin] : {std::pair(false, true), {true, false}, {true, true}}) {
        config.outside_pools = outside;
        config.hairpin = hairpin;
        if (tep) tep->stop();
        tep = std::make_unique<HostedPlane>(*endpoint, config, clock);
        ASSERT_TRUE(tep->is_up()) << tep->why();
        const auto added = tep->add(spec);
        EXPECT_EQ(added.has_value(), outside && hairpin);
        if (!added) {
            EXPECT_EQ(added.error().code, ErrorCode::invalid);
        }
    }
    client = bring_up_client(*first, spec, client_config());
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_TRUE(answers(ping(*server, "198.51.100.9")));
    ASSERT_TRUE(tep->remove("198.51.100.9"));
    EXPECT_THAT(endpoint->show("route show"), ::testing::Not(HasSubstr("198.51.100.9")));
}

TEST_F(KernelPlane, HundredsOfTunnelsComeAndGo) {
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    for (int i = 2; i <= 251; ++i) {
        const auto number = std::to_string(i);
        const auto added = tep->add(make_spec("192.0.2." + number, "2001:db8:7::" + number));
        ASSERT_TRUE(added) << to_string(added.error());
    }
    EXPECT_EQ(tep->plane().list().size(), 250u);
    for (int i = 2; i <= 251; ++i) ASSERT_TRUE(tep->remove("192.0.2." + std::to_string(i)));
    EXPECT_TRUE(tep->plane().list().empty());
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr("dstm0-")));
}

}  // namespace
}  // namespace dstm::dataplane::testing
