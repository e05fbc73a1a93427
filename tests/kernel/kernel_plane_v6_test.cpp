// The kernel data plane with v6v4: sit devices, IPv4 outside and IPv6 inside.
#include "tests/kernel/kernel_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;

class KernelPlaneV6 : public ReusedIpv6Campus {
protected:
    void SetUp() override {
        make_endpoint_plane = make_kernel;
        make_client_plane = make_kernel;
        ReusedIpv6Campus::SetUp();
        spec.inner_prefix = Ipv6Prefix::parse("2001:db8:200:700::/56");
    }
    TunnelSpec spec = v6_spec(client_inside, "10.0.1.5");
    static constexpr auto client_inside = "2001:db8:100::7";
    static constexpr auto endpoint_inside = "2001:db8:100::1";
};

TEST_F(KernelPlaneV6, AddressAndPrefixAreCarriedAndOthersAreDropped) {
    bring_up_v6(spec);
    EXPECT_TRUE(answers(ping(*first, endpoint_inside)));
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    EXPECT_TRUE(answers(ping(*server, client_inside)));
    first->ip_batch({"addr add 2001:db8:200:700::1/128 dev dstm0 nodad",
                     "addr add 2001:db8:200:800::1/128 dev dstm0 nodad"});
    EXPECT_TRUE(answers(ping(*first, host_behind, "-I 2001:db8:200:700::1")));
    EXPECT_TRUE(answers(ping(*server, "2001:db8:200:700::1")));
    // The client's kernel also says its link-local hellos, which are dropped and counted too.
    const auto before = tep->dropped("source_check");
    EXPECT_FALSE(answers(ping(*first, host_behind, "-W 1 -I 2001:db8:200:800::1")));
    EXPECT_GE(tep->dropped("source_check"), before + 1);
    EXPECT_FALSE(answers(ping(*server, "2001:db8:200:900::1", "-W 1")));
    EXPECT_GE(tep->dropped("no_tunnel"), 1u);
}

TEST_F(KernelPlaneV6, PacketsAndBytesAreCountedAtBothEnds) {
    bring_up_v6(spec);
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    // With the link-local hellos of both kernels, which are dropped on arrival.
    const auto came = client->plane().list().at(0).counters;
    EXPECT_EQ(came.packets_up, 1 + client->dropped("bad_destination"));
    EXPECT_GE(came.bytes_up, 104u);
    const auto seen = tep->plane().list().at(0).counters;
    EXPECT_EQ(seen.packets_up, 1 + tep->dropped("source_check"));
    EXPECT_GE(seen.bytes_up, 104u);
    EXPECT_GE(seen.packets_down, 1u);
    EXPECT_GE(seen.last_seen_up + std::chrono::seconds(10), clock.wall());
}

TEST_F(KernelPlaneV6, WhatTheSourceCheckDropsDoesNotMakeATunnelSeen) {
    start_endpoint();
    ASSERT_TRUE(tep->add(spec));
    HandMadeClient peer(*first, "10.0.1.5");
    for (const std::uint64_t packets : {1, 2}) {
        peer.send(icmpv6("fe80::7", endpoint_inside, 133));
        EXPECT_TRUE(wait_until([&] { return tep->dropped("source_check") == packets; }));
        EXPECT_EQ(tep->plane().list()[0].counters.last_seen_up, WallTime());
    }
    peer.send(icmpv6(client_inside, endpoint_inside, 129));
    EXPECT_TRUE(wait_until([&] { return tep->plane().list()[0].counters.packets_up == 3; }));
    EXPECT_GT(tep->plane().list()[0].counters.last_seen_up, WallTime());
}

TEST_F(KernelPlaneV6, ClientMovesAndGetsAnotherPrefixAndKeepsItsDevice) {
    is_changed = true;
    bring_up_v6(spec);
    ASSERT_TRUE(answers(ping(*first, host_behind)));
    const auto device = first->show("-o link show dstm0").substr(0, 10);
    auto moved = v6_spec(client_inside, "10.0.1.6", 0, 2);
    moved.inner_prefix = Ipv6Prefix::parse("2001:db8:200:800::/56");
    first->ip_batch({"addr add 10.0.1.6/24 dev eth0",
                     "addr add 2001:db8:200:700::1/128 dev dstm0 nodad",
                     "addr add 2001:db8:200:800::1/128 dev dstm0 nodad"});
    ASSERT_TRUE(tep->add(moved));
    const auto added = client->add(moved);
    ASSERT_TRUE(added) << to_string(added.error());
    EXPECT_EQ(first->show("-o link show dstm0").substr(0, 10), device);
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    EXPECT_TRUE(answers(ping(*server, "2001:db8:200:800::1")));
    EXPECT_FALSE(answers(ping(*server, "2001:db8:200:700::1", "-W 1")));
    // It is the client, too, that no longer takes what is for the former prefix.
    const auto before = client->dropped("bad_destination");
    endpoint->ip("-6 route replace 2001:db8:200:700::1 dev dstm0-2");
    EXPECT_FALSE(answers(ping(*server, "2001:db8:200:700::1", "-W 1")));
    EXPECT_GE(client->dropped("bad_destination"), before + 1);
}

TEST_F(KernelPlaneV6, HairpinCanBeSwitchedOff) {
    start_endpoint(false);
    ASSERT_TRUE(tep->add(spec));
    const auto other = v6_spec("2001:db8:100::8", "10.0.4.5");
    ASSERT_TRUE(tep->add(other));
    client = start_client(*first, spec, client_v6_config());
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    EXPECT_TRUE(answers(ping(*first, endpoint_inside))) << "the endpoint is no client";
    HandMadeClient(*first, "10.0.1.5").send(icmpv6(client_inside, "2001:db8:100::8", 128));
    const auto to_other = [&] { return tep->plane().list().at(1).counters.packets_down; };
    HandMadeClient(*second, "10.0.4.5").send(icmpv6("2001:db8:100::8", endpoint_inside, 129));
    EXPECT_TRUE(wait_until([&] { return tep->plane().list().at(1).counters.packets_up == 1; }));
    EXPECT_EQ(to_other(), 0u);
}

TEST_F(KernelPlaneV6, SourceCheckHoldsForAddressesOfOthersInsideAndOutside) {
    start_endpoint();
    ASSERT_TRUE(tep->add(spec));
    HandMadeClient bound(*first, "10.0.1.5");
    HandMadeClient foreign(*second, "10.0.4.5");
    Capture at_server(*server, "eth0");
    constexpr std::uint8_t echo = 128;
    for (const auto* source : {"2001:db8:100::9", endpoint_inside, host_behind.c_str(),
                               "2001:db8:200:800::1", "2001:db8:77::1", "fe80::7"}) {
        bound.send(icmpv6(source, host_behind, echo));
    }
    EXPECT_TRUE(wait_until([&] { return tep->dropped("source_check") == 6; }))
        << tep->dropped("source_check");
    foreign.send(icmpv6(client_inside, host_behind, echo));  // from no client
    EXPECT_TRUE(wait_until([&] { return tep->dropped("unknown_outer") == 1; }));
    ASSERT_TRUE(tep->add(v6_spec("2001:db8:100::8", "10.0.4.5")));
    for (const auto* destination : {host_behind.c_str(), "2001:db8:100::8"}) {
        foreign.send(icmpv6(client_inside, destination, echo));  // another client's
    }
    foreign.send(icmpv6("2001:db8:200:700::1", host_behind, echo));  // in its prefix
    EXPECT_TRUE(wait_until([&] { return tep->dropped("source_check") == 9; }))
        << tep->dropped("source_check");
    bound.send(icmpv6(client_inside, host_behind, echo));  // good, and the last
    const auto came = at_server.next(
        [](ConstBytes bytes) { return bytes.size() == 48 && load8(bytes, 40) == 128; });
    ASSERT_EQ(came.size(), 48u);
    EXPECT_EQ(load_ipv6(came, 8), v6(client_inside)) << "nothing else was forwarded";
    EXPECT_EQ(tep->dropped("source_check"), 9u);
}

TEST_F(KernelPlaneV6, PacketsAreProtocol41AndTooBigIsAnswered) {
    bring_up_v6(spec);
    Capture wire(*router, "a0");
    EXPECT_TRUE(answers(ping(*first, endpoint_inside, "-Q 0xb8")));
    const auto packet = wire.next([](ConstBytes bytes) {
        return load8(bytes, 0) == 0x45 && load8(bytes, 9) == 41 && bytes.size() == 20 + 104;
    });
    ASSERT_FALSE(packet.empty());
    EXPECT_EQ(load8(packet, 8), 64);
    EXPECT_EQ(load8(packet, 1), 0xb8);
    EXPECT_TRUE(answers(ping(*server, client_inside, "-M do -s 1432")));
    EXPECT_THAT(ping(*server, client_inside, "-M do -s 1433"), HasSubstr("mtu=1480"));
}

TEST_F(KernelPlaneV6, BothTypesStandSideBySideAndAreAdopted) {
    bring_up_v6(spec);
    ASSERT_TRUE(tep->add(first_spec));
    EXPECT_EQ(tep->plane().list().size(), 2u);
    tep->stop();
    EXPECT_TRUE(answers(ping(*first, endpoint_inside)));
    start_endpoint();
    const auto adopted = tep->plane().list();
    ASSERT_EQ(adopted.size(), 2u);
    EXPECT_EQ(adopted[0].spec, first_spec);
    EXPECT_EQ(adopted[1].spec, spec);
    EXPECT_TRUE(answers(ping(*first, endpoint_inside)));
    ASSERT_TRUE(tep->remove(client_inside));
    EXPECT_FALSE(answers(ping(*first, endpoint_inside, "-W 1")));
}

}  // namespace
}  // namespace dstm::dataplane::testing
