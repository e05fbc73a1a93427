// On demand: the machine in virtual time, what counts as use, and the watch in a network namespace.
#include "client/host/demand_watch.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "client/idle_watch.hpp"
#include "client/net/icmp_probe.hpp"
#include "client/path_watch.hpp"
#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
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

TEST(ClientOnDemand, LeaseThatEndedUnrenewedIsLeasedAgainWhenItIsWanted) {
    World world(on_demand());
    world.tell(StartRequested{});
    world.tell(DemandSeen{});
    world.reachable = false;
    world.pass(3600s);
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_EQ(world.engine.state(), State::dormant);
    EXPECT_FALSE(world.engine.deadline()) << "nothing is tried for nobody";
    world.reachable = true;
    world.tell(DemandSeen{});
    EXPECT_EQ(world.engine.state(), State::up);

    world.now.at += 4000s;  // asleep
    world.tell(TimePassed{});
    EXPECT_EQ(world.engine.state(), State::dormant);
    EXPECT_FALSE(world.session);

    world.tell(DemandSeen{});
    world.on_connect = [](const Connect&) {};  // it asks, and nobody answers
    world.pass(3600s, [&world] { return world.engine.state() == State::dormant; });
    EXPECT_EQ(world.engine.state(), State::dormant);
    EXPECT_FALSE(world.engine.deadline());
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

TEST(ClientOnDemand, IdleTunnelThatCannotBeRenewedIsGivenUp) {
    World world(on_demand());
    world.tell(StartRequested{});
    world.tell(DemandSeen{});
    ASSERT_EQ(world.engine.state(), State::up);
    world.reachable = false;
    world.pass(45min, [&] { return world.engine.state() == State::renewing; });
    ASSERT_EQ(world.engine.state(), State::renewing);
    world.tell(DemandGone{});
    world.pass(10s);
    EXPECT_EQ(world.engine.state(), State::dormant);
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_FALSE(world.engine.deadline()) << "nobody is asked for what nobody uses";
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
    EXPECT_FALSE(watch.is_idle(0, 4, now)) << "counters that began anew";
}

TEST(ClientIdleWatch, KeepaliveThatWasLostBeforeItWasCountedIsNoUse) {
    IdleWatch watch(60s);
    const Instant now(1h);
    EXPECT_FALSE(watch.is_idle(10, 0, now));
    EXPECT_FALSE(watch.is_idle(10, 1, now + 30s));
    EXPECT_TRUE(watch.is_idle(10, 2, now + 60s));
}

// --- the watch -----------------------------------------------------------------------------------

class ClientDemandWatch : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
        if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
    }
    static const DemandConfig config;

    static void wait_for(asio::io_context& context, const std::function<bool()>& is_true) {
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (!is_true() && std::chrono::steady_clock::now() < end) context.run_one_for(50ms);
        EXPECT_TRUE(is_true());
    }
    static sockaddr_in web() {
        sockaddr_in out{};
        out.sin_family = AF_INET;
        out.sin_port = htons(7);
        out.sin_addr.s_addr = htonl(Ipv4Address::parse("203.0.113.80")->host_order());
        return out;
    }
    static int connected_socket() {
        const int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        auto to = web();
        EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
        return client;
    }
    // What the packets of UDP say that went into the tunnel, of this source.
    static std::vector<std::string> said_in(const TunInterface& tunnel, Ipv4Address source) {
        fcntl(tunnel.file(), F_SETFL, O_NONBLOCK);
        std::vector<std::string> said;
        std::array<std::uint8_t, 2048> packet{};
        ssize_t size = 0;
        while ((size = read(tunnel.file(), packet.data(), packet.size())) > 0) {
            if (size < 28 || packet[0] >> 4 != 4 || packet[9] != IPPROTO_UDP) continue;
            EXPECT_EQ(Ipv4Address(std::uint32_t{packet[12]} << 24 | packet[13] << 16 |
                                  packet[14] << 8 | packet[15]),
                      source);
            said.emplace_back(packet.begin() + 28, packet.begin() + size);
        }
        return said;
    }
};
constexpr Ipv4Address leased(0xc0000207);  // 192.0.2.7
const DemandConfig ClientDemandWatch::config{
    "dstmt0", {*Ipv4Prefix::parse("0.0.0.0/0")}, 1024, {4, 1 << 16}};

// The packet that woke it leaves by the tunnel, with the tunnel's address.
TEST_F(ClientDemandWatch, FirstPacketIsTakenAndLeavesByTheTunnelLater) {
    in_namespace([] {
        asio::io_context context;
        auto netlink = std::move(*dataplane::Netlink::open());
        const RealClock clock;
        unsigned seen = 0;
        auto watch = DemandWatch::start(context, clock, config, [&seen] { ++seen; });
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
        ASSERT_TRUE(netlink.add_address(tunnel.index(), leased, 32));
        dataplane::Route route;
        route.destination = config.routes[0];
        route.interface_index = tunnel.index();
        route.source = leased;
        route.metric = config.route_metric;
        ASSERT_TRUE(netlink.add_route(route));
        watch->release(leased);
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

// Without the tunnel's own routes the watch's are the best: what it sends must not come back to it.
TEST_F(ClientDemandWatch, WhatIsSentNeverComesBackWhateverTheRoutesAre) {
    in_namespace([] {
        asio::io_context context;
        const RealClock clock;
        unsigned seen = 0;
        std::optional<DemandWatch> watch;
        auto started = DemandWatch::start(context, clock, config, [&] {
            ++seen;
            if (seen > 1) watch->release(leased);
        });
        ASSERT_TRUE(started) << started.error().context;
        watch.emplace(std::move(*started));
        const int client = connected_socket();
        ASSERT_EQ(send(client, "first", 5, 0), 5);
        wait_for(context, [&] { return seen == 1; });
        watch->release(leased);
        EXPECT_TRUE(watch->has_demand()) << "there is no tunnel: it waits";

        auto netlink = std::move(*dataplane::Netlink::open());
        const TunInterface tunnel("dstmt0");
        ASSERT_TRUE(netlink.add_address(tunnel.index(), leased, 32));
        watch->release(leased);
        EXPECT_FALSE(watch->has_demand());
        ASSERT_EQ(send(client, "second", 6, 0), 6);
        wait_for(context, [&] { return seen == 2; });
        context.run_for(100ms);
        EXPECT_EQ(seen, 2U);
        EXPECT_EQ(said_in(tunnel, leased), (std::vector<std::string>{"first", "second"}));
        EXPECT_EQ(watch->uses(), 2U);
        close(client);
    });
}

// A socket that has a leased address stays usable without the lease, and its packets are heard.
TEST_F(ClientDemandWatch, ConnectionsOfTheLastLeaseAreHeardAndThoseOfAnotherForgotten) {
    in_namespace([] {
        asio::io_context context;
        const RealClock clock;
        unsigned seen = 0;
        auto watch = DemandWatch::start(context, clock, config, [&seen] { ++seen; });
        ASSERT_TRUE(watch) << watch.error().context;
        watch->stand_in_for(leased);
        const int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        sockaddr_in from{};
        from.sin_family = AF_INET;
        from.sin_addr.s_addr = htonl(leased.host_order());
        ASSERT_EQ(bind(client, reinterpret_cast<sockaddr*>(&from), sizeof(from)), 0);
        auto to = web();
        const auto say = [&] {
            return sendto(client, "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof(to));
        };
        EXPECT_EQ(say(), 1);
        wait_for(context, [&] { return seen == 1; });

        const TunInterface tunnel("dstmt0");
        auto netlink = std::move(*dataplane::Netlink::open());
        ASSERT_TRUE(netlink.add_address(tunnel.index(), leased, 32));
        watch->release(leased);
        EXPECT_EQ(said_in(tunnel, leased), std::vector<std::string>{"x"});
        ASSERT_TRUE(netlink.remove_address(tunnel.index(), leased, 32));
        EXPECT_EQ(say(), -1) << "it was the tunnel's alone";

        watch->stand_in_for(leased);
        EXPECT_EQ(say(), 1);
        wait_for(context, [&] { return seen == 2; });
        const Ipv4Address another(0xc0000208);
        ASSERT_TRUE(netlink.add_address(tunnel.index(), another, 32));
        watch->release(another);
        EXPECT_TRUE(said_in(tunnel, another).empty()) << "the endpoint would call it forged";
        close(client);
    });
}

struct NoSignalling final : Signalling {
    void connect(const Target&) override {}
    void connect_elsewhere() override {}
    void send(const tsp::TunnelMessage&) override {}
    void close() override {}
    std::optional<IpAddress> source_towards(const IpEndpoint&) override { return std::nullopt; }
};
class HostWithMtu final : public HostNetwork {
    Result<void> install(const TunnelSpec&) override { return {}; }
    Result<void> set_routes() override { return {}; }
    Result<void> clear_routes() override { return {}; }
    Result<void> remove(const IpAddress&) override { return {}; }
    std::optional<dataplane::TunnelCounters> counters() const override { return std::nullopt; }
    std::optional<std::uint32_t> mtu() override { return 1240; }
};

TEST_F(ClientDemandWatch, EchoesOfTheClientsOwnAreCountedBySenderAndWatchAlike) {
    in_namespace([] {
        asio::io_context context;
        const RealClock clock;
        auto watch = DemandWatch::start(context, clock, config, [] {});
        ASSERT_TRUE(watch) << watch.error().context;
        const TunInterface tunnel("dstmt0");
        auto netlink = std::move(*dataplane::Netlink::open());
        ASSERT_TRUE(netlink.set_interface_mtu(tunnel.index(), 1240));
        ASSERT_TRUE(netlink.add_address(tunnel.index(), leased, 32));
        HostWithMtu host;
        NoSignalling signalling;
        auto keepalive = make_icmp_probe(context, config.tunnel_device, [](const Event&) {});
        Driver driver(Engine(on_demand()), {signalling, host, *keepalive, clock, [](auto) {}});
        PathWatch path(context, config.tunnel_device, driver);
        Binding binding;
        binding.offer.inner = leased;
        binding.offer.keepalive_to = *Ipv4Address::parse("192.0.2.1");
        path.look(binding);
        keepalive->send({leased, *binding.offer.keepalive_to, 1});
        wait_for(context, [&] { return path.sent() == 2 * PathProbe::rounds; });
        EXPECT_EQ(keepalive->sent(), 1U);
        EXPECT_EQ(watch->uses(), path.sent() + keepalive->sent());

        // What answers somebody else is no use either; what asks is.
        const int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ASSERT_EQ(setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, "dstmt0", 6), 0);
        auto to = web();
        const auto* peer = reinterpret_cast<const sockaddr*>(&to);
        ASSERT_EQ(sendto(client, "x", 1, 0, peer, sizeof(to)), 1);
        EXPECT_EQ(watch->uses(), path.sent() + 2);
        to.sin_addr.s_addr = htonl(0xe00000fb);  // 224.0.0.251
        ASSERT_EQ(sendto(client, "x", 1, 0, peer, sizeof(to)), 1);
        const int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
        ASSERT_EQ(setsockopt(raw, SOL_SOCKET, SO_BINDTODEVICE, "dstmt0", 6), 0);
        to = web();
        to.sin_port = 0;
        const std::array<char, 8> echo_reply{};
        ASSERT_EQ(sendto(raw, echo_reply.data(), 8, 0, peer, sizeof(to)), 8);
        EXPECT_EQ(watch->uses(), path.sent() + 2);
        close(raw);
        close(client);
        path.stop();
    });
}

TEST_F(ClientDemandWatch, PathThatNobodyIsKnownToAnswerOnIsLookedAtNoMore) {
    in_namespace([] {
        asio::io_context context;
        const RealClock clock;
        const TunInterface tunnel("dstmt0");
        auto netlink = std::move(*dataplane::Netlink::open());
        ASSERT_TRUE(netlink.add_address(tunnel.index(), leased, 32));
        HostWithMtu host;
        NoSignalling signalling;
        auto keepalive = make_icmp_probe(context, config.tunnel_device, [](const Event&) {});
        Driver driver(Engine(on_demand()), {signalling, host, *keepalive, clock, [](auto) {}});
        PathWatch path(context, config.tunnel_device, driver);
        Binding binding;
        binding.offer.inner = leased;
        binding.offer.keepalive_to = *Ipv4Address::parse("192.0.2.1");
        path.look(binding);
        ASSERT_EQ(path.sent(), 2U);
        binding.offer.keepalive_to.reset();
        path.look(binding);
        context.run_for(10s);
        EXPECT_TRUE(context.stopped()) << "the former peer is still asked";
        EXPECT_EQ(path.sent(), 2U);
    });
}

TEST_F(ClientDemandWatch, RoutesComeBackAndALostDeviceShows) {
    in_namespace([] {
        asio::io_context context;
        const RealClock clock;
        auto netlink = std::move(*dataplane::Netlink::open());
        auto watch = DemandWatch::start(context, clock, config, [] {});
        ASSERT_TRUE(watch) << watch.error().context;
        EXPECT_FALSE(watch->restore_routes());
        const auto route = netlink.routes_v4()->at(0);
        ASSERT_TRUE(netlink.remove_route(route));
        EXPECT_TRUE(watch->restore_routes());
        EXPECT_TRUE(holds(*netlink.routes_v4(), route));
        ASSERT_TRUE(netlink.remove_address(*netlink.interface_index("dstmt0-w"),
                                           *Ipv4Address::parse("192.0.0.2"), 32));
        EXPECT_TRUE(netlink.routes_v4()->empty());
        EXPECT_TRUE(watch->restore_routes());
        EXPECT_TRUE(watch->is_intact());
        // A second one has a placeholder of its own.
        auto other = config;
        other.tunnel_device = "dstmt1";
        const auto second = DemandWatch::start(context, clock, other, [] {});
        ASSERT_TRUE(second) << second.error().context;
        EXPECT_TRUE(netlink.interface_of_address(*Ipv4Address::parse("192.0.0.3")));
    });
}

TEST_F(ClientDemandWatch, WhatWaitsIsBoundedAndTheHostIsAsBeforeInTheEnd) {
    in_namespace([] {
        asio::io_context context;
        auto netlink = std::move(*dataplane::Netlink::open());
        const RealClock clock;
        unsigned seen = 0;
        {
            auto watch = DemandWatch::start(context, clock, config, [&seen] { ++seen; });
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
        EXPECT_TRUE(DemandWatch::start(context, clock, config, [] {}));
    });
}

}  // namespace
}  // namespace dstm::client
