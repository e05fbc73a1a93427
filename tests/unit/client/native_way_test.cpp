// Native IPv4 and the tunnel: the machine in virtual time, the routes in a network namespace.
#include "client/host/native_way.hpp"

#include <gtest/gtest.h>

#include "fake_world.hpp"
#include "network_namespace.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;
using What = Announce::What;

TEST(ClientNativeWay, TunnelGoesWithItsLeaseAndComesBackWhenTheNativeWayIsGone) {
    World world;
    world.tell(StartRequested{});
    ASSERT_EQ(world.engine.state(), State::up);
    world.tell(NativeWayChanged{true});
    EXPECT_EQ(world.engine.state(), State::aside);
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_FALSE(world.leased);
    EXPECT_FALSE(world.engine.deadline()) << "nothing is left to do";
    EXPECT_EQ(world.count(What::aside), 1U);
    world.tell(NativeWayChanged{false});
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientNativeWay, StartBesideANativeWayAsksNobody) {
    World world;
    world.tell(NativeWayChanged{true});
    EXPECT_EQ(world.engine.state(), State::stopped);
    world.tell(StartRequested{});
    EXPECT_EQ(world.engine.state(), State::aside);
    EXPECT_TRUE(world.connects.empty());
    world.tell(RenewRequested{});
    world.tell(StartRequested{});
    EXPECT_EQ(world.count(What::aside), 3U) << "who asks is answered each time";
    world.tell(StopRequested{});
    EXPECT_EQ(world.engine.state(), State::stopped);
    world.tell(NativeWayChanged{false});
    EXPECT_EQ(world.engine.state(), State::stopped) << "stopped is stopped";
}

TEST(ClientNativeWay, StopWhileItStepsAsideIsAStop) {
    World world;
    world.tell(StartRequested{});
    world.pass(60s);
    world.fault_step = world.step + 1;
    world.fault = World::Fault::silence;
    world.tell(NativeWayChanged{true});
    ASSERT_EQ(world.engine.state(), State::tearing_down);
    world.tell(StopRequested{});
    world.pass(6s);
    EXPECT_EQ(world.engine.state(), State::stopped);
}

TEST(ClientNativeWay, WayThatIsGoneAgainBeforeTheEndStartsAnew) {
    World world;
    world.tell(StartRequested{});
    world.pass(60s);
    world.fault_step = world.step + 1;
    world.fault = World::Fault::silence;
    world.tell(NativeWayChanged{true});
    world.tell(NativeWayChanged{false});
    world.pass(6s);
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientNativeWay, DefaultRouteThatIsNotOursCounts) {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
    if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
    in_namespace([] {
        const TunInterface ours("dstm0");
        const TunInterface native("wan0");
        auto netlink = std::move(*dataplane::Netlink::open());
        dataplane::Route route;
        route.destination = Ipv4Prefix{};
        EXPECT_FALSE(*has_native_ipv4(netlink, "dstm0"));
        route.interface_index = ours.index();
        route.metric = 1024;
        ASSERT_TRUE(netlink.add_route(route));
        EXPECT_FALSE(*has_native_ipv4(netlink, "dstm0"));
        route.interface_index = native.index();
        route.metric = 0;
        ASSERT_TRUE(netlink.add_route(route));
        EXPECT_TRUE(*has_native_ipv4(netlink, "dstm0"));
        ASSERT_TRUE(netlink.remove_route(route));

        // Some give a host without an address a default route all the same (RFC 3927 s2.6.2).
        const auto link_local = *Ipv4Address::parse("169.254.3.4");
        ASSERT_TRUE(netlink.add_address(native.index(), link_local, 16));
        route.source = link_local;
        ASSERT_TRUE(netlink.add_route(route));
        EXPECT_FALSE(*has_native_ipv4(netlink, "dstm0"));
    });
}

}  // namespace
}  // namespace dstm::client
