// What becomes of the kernel data plane when somebody else lays hands on its devices, and of what
// was there before it.
#include "tests/kernel/kernel_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class KernelRepair : public ReusedCampus {
protected:
    void SetUp() override {
        make_endpoint_plane = make_kernel;
        make_client_plane = make_kernel;
        ReusedCampus::SetUp();
    }
    void start_endpoint() {
        tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
        ASSERT_TRUE(tep->is_up()) << tep->why();
    }
    [[nodiscard]] bool carries(const Namespace& host, const std::string& target) const {
        return wait_until([&] { return answers(ping(host, target, "-W 1")); },
                          std::chrono::seconds(15));
    }
    [[nodiscard]] bool has_route(const std::string& inner) const {
        return endpoint->show("route show " + inner).find("dev dstm0-") != std::string::npos;
    }
};

TEST_F(KernelRepair, ADeletedDeviceIsMadeAgainWithAllItsTunnels) {
    bring_up();
    ASSERT_TRUE(answers(ping(*first, "203.0.113.80")));
    ASSERT_TRUE(tep->add(make_spec("192.0.2.9", "2001:db8:1::5")));
    endpoint->ip("link del dstm0-1");
    EXPECT_TRUE(carries(*first, "203.0.113.80"));
    EXPECT_TRUE(has_route("192.0.2.9"));
    HandMadeClient(*first, "2001:db8:1::5").send(echo_request("192.0.2.8", "192.0.2.1", 84));
    EXPECT_TRUE(wait_until([&] { return tep->dropped("source_check") == 1; }));
    for (const auto& tunnel : tep->plane().list()) {
        EXPECT_LT(tunnel.counters.packets_up, 100u) << "no count wraps";
    }
    auto renewed = first_spec;
    renewed.generation = 2;
    EXPECT_TRUE(tep->add(renewed));
    tep->stop();
    start_endpoint();
    EXPECT_EQ(tep->plane().list().size(), 2u) << "the new device remembers";
}

TEST_F(KernelRepair, ADeviceThatWasDownHasItsRoutesAgain) {
    bring_up();
    endpoint->ip("link set dstm0-1 down");
    EXPECT_TRUE(wait_until([&] { return !has_route("192.0.2.7"); }));
    EXPECT_FALSE(answers(ping(*first, "203.0.113.80", "-W 1"))) << "as somebody wants it";
    endpoint->ip("link set dstm0-1 up");
    EXPECT_TRUE(carries(*first, "203.0.113.80"));
}

TEST_F(KernelRepair, TheEndpointsOwnDeviceIsMadeAgainToo) {
    bring_up();
    endpoint->ip("link del dstm0");
    EXPECT_TRUE(carries(*first, "192.0.2.1"));
    EXPECT_TRUE(carries(*first, "203.0.113.80"));
    HandMadeClient(*second, "2001:db8:4::5").send(echo_request("192.0.2.7", "192.0.2.1", 84));
    EXPECT_TRUE(wait_until([&] { return tep->dropped("unknown_outer") == 1; }));
    EXPECT_FALSE(answers(ping(*server, "192.0.2.77", "-W 1")));
    EXPECT_EQ(tep->dropped("no_tunnel"), 1u);
    endpoint->ip("link set dstm0 down");
    endpoint->ip("link set dstm0 up");
    EXPECT_TRUE(wait_until([&] {
        return endpoint->show("route show 192.0.2.0/24").find("dev dstm0") != std::string::npos;
    }));
}

TEST_F(KernelRepair, AClientsDeletedDeviceIsMadeAgainWhenTheTunnelIsAdded) {
    bring_up();
    first->ip("link del dstm0");
    const auto added = client->add(first_spec);
    ASSERT_TRUE(added) << to_string(added.error());
    first->ip("route add default dev dstm0");
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
}

TEST_F(KernelRepair, AClientThatForwardsIsNoWayIntoTheNetworksBehindIt) {
    is_changed = true;
    bring_up();
    first->sysctl("net/ipv4/ip_forward", "1");
    first->ip("addr add 198.18.0.1/24 dev lo");
    endpoint->ip("route add 198.18.0.0/24 dev dstm0-1 src 192.0.2.1");
    EXPECT_FALSE(answers(ping(*endpoint, "198.18.0.1", "-W 1")));
    EXPECT_EQ(client->dropped("bad_destination"), 1u);
    EXPECT_TRUE(answers(ping(*endpoint, "192.0.2.7")));
}

TEST_F(KernelRepair, ADeviceWhoseDaemonDiedBeforeItsFilterStoodIsNotTakenOver) {
    is_changed = true;
    endpoint->ip("link add dstm0 type ip6tnl mode ipip6 local 2001:db8:2::1 remote any");
    endpoint->ip("link set dstm0 up alias 'dstm endpoint unfinished'");
    EXPECT_EQ(endpoint->exec("tc qdisc add dev dstm0 clsact"), "");
    start_endpoint();
    HandMadeClient(*second, "2001:db8:4::5").send(echo_request("192.0.2.7", "192.0.2.1", 84));
    EXPECT_TRUE(wait_until([&] { return tep->dropped("unknown_outer") == 1; }));
}

TEST_F(KernelRepair, WhatHasTheNameOrTheAddressesOfATunnelsDeviceStays) {
    is_changed = true;
    endpoint->ip("link add dstm0-1 type dummy");
    endpoint->ip("link add theirs type ip6tnl mode ipip6 local 2001:db8:2::1 remote 2001:db8:4::5");
    start_endpoint();
    EXPECT_TRUE(tep->add(first_spec));
    EXPECT_THAT(endpoint->show("route show 192.0.2.7"), HasSubstr("dev dstm0-2"));
    // Not conflict: that would say that a newer tunnel stands.
    const auto added = tep->add(second_spec);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().code, ErrorCode::unavailable);
    EXPECT_THAT(added.error().context, HasSubstr("from 2001:db8:2::1 to 2001:db8:4::5"));
    detach();
    EXPECT_THAT(endpoint->show("link show"), HasSubstr("theirs@"));
    EXPECT_THAT(endpoint->show("link show dstm0-1"), HasSubstr("dstm0-1"));
}

TEST_F(KernelRepair, EveryDeviceHasItsEncapsulationLimitOff) {
    bring_up();
    for (const auto* device : {"dstm0", "dstm0-1"}) {
        EXPECT_THAT(endpoint->show(std::string("-d link show ") + device),
                    HasSubstr("encaplimit none"));
    }
    EXPECT_THAT(first->show("-d link show dstm0"), HasSubstr("encaplimit none"));
}

}  // namespace
}  // namespace dstm::dataplane::testing
