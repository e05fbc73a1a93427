// On demand: the machine in virtual time, what counts as use, and the watch in a network namespace.
#include "client/host/demand_watch.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "client/idle_watch.hpp"
#include "common/io/asio.hpp"
#include "fake_world.hpp"
#include "network_namespace.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;
using What = Announce::What;

EngineConfig on_demand() {
    auto config = World::default_config();
    config.on_demand = true;
    return config;
}

TEST(ClientOnDemand, NoLeaseUntilItIsWantedAndNoneWhenItIsNot) {
    World world(on_demand());
    world.tell(StartRequested{});
    EXPECT_EQ(world.engine.state(), State::dormant);
    EXPECT_TRUE(world.connects.empty());
    EXPECT_FALSE(world.engine.deadline());

    world.tell(DemandSeen{});
    EXPECT_EQ(world.engine.state(), State::up);
    world.tell(DemandSeen{});
    EXPECT_EQ(world.connects.size(), 1U) << "it is there already";

    world.tell(DemandGone{});
    EXPECT_EQ(world.engine.state(), State::dormant);
    EXPECT_FALSE(world.leased);
    EXPECT_TRUE(world.host_is_clean());

    world.tell(DemandSeen{});
    EXPECT_EQ(world.engine.state(), State::up) << "the next packet, again";
    world.tell(StopRequested{});
    EXPECT_EQ(world.engine.state(), State::stopped);
}

TEST(ClientOnDemand, StopAndStartWhileDormant) {
    World world(on_demand());
    world.tell(StartRequested{});
    world.tell(StopRequested{});
    EXPECT_EQ(world.engine.state(), State::stopped);
    world.tell(DemandSeen{});
    EXPECT_EQ(world.engine.state(), State::stopped);
    world.tell(StartRequested{});
    world.tell(StartRequested{});
    EXPECT_EQ(world.engine.state(), State::up) << "asked for by name";
}

TEST(ClientOnDemand, UnreachableServerIsTriedAgainAndMovesDoNotWake) {
    World world(on_demand());
    world.tell(StartRequested{});
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_EQ(world.engine.state(), State::dormant);
    world.reachable = false;
    world.tell(DemandSeen{});
    EXPECT_EQ(world.engine.state(), State::waiting);
    world.reachable = true;
    world.pass(2s);
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientOnDemand, NativeWayBeforeDemand) {
    World world(on_demand());
    world.tell(StartRequested{});
    world.tell(NativeWayChanged{true});
    EXPECT_EQ(world.engine.state(), State::aside);
    world.tell(DemandSeen{});
    EXPECT_EQ(world.engine.state(), State::aside);
    world.tell(NativeWayChanged{false});
    EXPECT_EQ(world.engine.state(), State::dormant);
}

TEST(ClientOnDemand, DemandGoneIsForTunnelsOnDemandOnly) {
    World world;
    world.tell(StartRequested{});
    world.tell(DemandGone{});
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientIdleWatch, KeepalivesAreNoUseAndUseBeginsTheTimeAnew) {
    IdleWatch watch(60s);
    Instant now(1h);
    EXPECT_FALSE(watch.is_idle(10, 0, now));
    EXPECT_FALSE(watch.is_idle(14, 4, now + 59s)) << "only keepalives";
    EXPECT_TRUE(watch.is_idle(16, 6, now + 60s));
    watch.reset();
    EXPECT_FALSE(watch.is_idle(16, 6, now + 60s));
    EXPECT_FALSE(watch.is_idle(17, 6, now + 119s));
    EXPECT_FALSE(watch.is_idle(17, 6, now + 178s));
    EXPECT_TRUE(watch.is_idle(17, 6, now + 179s));
    EXPECT_FALSE(watch.is_idle(0, 4, now)) << "a new tunnel's counters";
}

// --- the watch -----------------------------------------------------------------------------------

class ClientDemandWatch : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
        if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
    }
    static const DemandConfig config;
};
const DemandConfig ClientDemandWatch::config{
    "dstmt0", {*Ipv4Prefix::parse("0.0.0.0/0")}, 1024, 4, 1 << 16};

// The packet that woke it leaves by the tunnel, with the tunnel's address.
TEST_F(ClientDemandWatch, FirstPacketIsTakenAndLeavesByTheTunnelLater) {
    in_namespace([] {
        asio::io_context context;
        auto netlink = std::move(*dataplane::Netlink::open());
        unsigned seen = 0;
        auto watch = DemandWatch::start(context, netlink, config, [&seen] { ++seen; });
        ASSERT_TRUE(watch) << watch.error().context;

        const int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        sockaddr_in web{};
        web.sin_family = AF_INET;
        web.sin_port = htons(7);
        web.sin_addr.s_addr = htonl(Ipv4Address::parse("203.0.113.80")->host_order());
        ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&web), sizeof(web)), 0);
        ASSERT_EQ(send(client, "first", 5, 0), 5);
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (seen == 0 && std::chrono::steady_clock::now() < end) context.run_one_for(50ms);
        ASSERT_EQ(seen, 1U);

        // The lease: device, address, routes.
        const TunInterface tunnel("dstmt0");
        const auto leased = *Ipv4Address::parse("192.0.2.7");
        ASSERT_TRUE(netlink.add_address(tunnel.index(), leased, 32));
        dataplane::Route route;
        route.destination = config.routes[0];
        route.interface_index = tunnel.index();
        route.source = leased;
        route.metric = config.route_metric;
        ASSERT_TRUE(netlink.add_route(route));
        watch->release();
        ASSERT_EQ(send(client, "second", 6, 0), 6) << "the socket still has the placeholder";

        std::vector<std::string> said;
        while (said.size() < 2 && std::chrono::steady_clock::now() < end) {
            std::array<std::uint8_t, 2048> packet{};
            const auto size = read(tunnel.file(), packet.data(), packet.size());
            if (size < 28 || packet[0] >> 4 != 4 || packet[9] != IPPROTO_UDP) continue;
            EXPECT_EQ(Ipv4Address(std::uint32_t{packet[12]} << 24 | packet[13] << 16 |
                                  packet[14] << 8 | packet[15]),
                      leased);
            said.emplace_back(packet.begin() + 28, packet.begin() + size);
        }
        EXPECT_EQ(said, (std::vector<std::string>{"first", "second"}));
        close(client);
    });
}

TEST_F(ClientDemandWatch, WhatWaitsIsBoundedAndTheHostIsAsBeforeInTheEnd) {
    in_namespace([] {
        asio::io_context context;
        auto netlink = std::move(*dataplane::Netlink::open());
        unsigned seen = 0;
        {
            auto watch = DemandWatch::start(context, netlink, config, [&seen] { ++seen; });
            ASSERT_TRUE(watch) << watch.error().context;
            EXPECT_EQ(netlink.routes_v4()->size(), 1U);
            const int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            sockaddr_in web{};
            web.sin_family = AF_INET;
            web.sin_port = htons(7);
            web.sin_addr.s_addr = htonl(Ipv4Address::parse("203.0.113.80")->host_order());
            for (int i = 0; i < 10; ++i) {
                sendto(client, "x", 1, 0, reinterpret_cast<sockaddr*>(&web), sizeof(web));
            }
            const auto end = std::chrono::steady_clock::now() + 10s;
            while (seen < 10 && std::chrono::steady_clock::now() < end) {
                context.run_one_for(50ms);
            }
            EXPECT_EQ(seen, 10U);
            close(client);
        }
        context.restart();
        context.poll();
        EXPECT_TRUE(netlink.routes_v4()->empty());
        EXPECT_FALSE(netlink.interface_index("dstmt0-w"));
        // The table went as well: another watch can make it.
        EXPECT_TRUE(DemandWatch::start(context, netlink, config, [] {}));
    });
}

}  // namespace
}  // namespace dstm::client
