// The host's addresses, links and routes, in a namespace of the test's own.
#include "common/dataplane/netlink.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "common/dataplane/host_changes.hpp"
#include "common/dataplane/link_news.hpp"
#include "common/dataplane/tun_device.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/dataplane/namespaces.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class NetlinkTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto why = why_no_namespaces(); !why.empty()) GTEST_SKIP() << why;
        host = std::make_unique<Namespace>("n");
        host->ip("link add eth0 type veth peer name eth1");
        host->ip("link set eth1 up");
        auto opened = host->in([] { return Netlink::open(); });
        ASSERT_TRUE(opened) << to_string(opened.error());
        netlink = std::make_unique<Netlink>(std::move(*opened));
        index = netlink->interface_index("eth0").value();
    }
    static Ipv4Prefix prefix(const char* text) { return Ipv4Prefix::parse(text).value(); }

    std::unique_ptr<Namespace> host;
    std::unique_ptr<Netlink> netlink;
    int index = 0;
};

TEST_F(NetlinkTest, LinksAreFoundAndChanged) {
    EXPECT_EQ(netlink->interface_name(index).value(), "eth0");
    EXPECT_EQ(netlink->interface_index("eth7").error().code, ErrorCode::not_found);
    EXPECT_EQ(netlink->interface_mtu(9999).error().code, ErrorCode::not_found);
    ASSERT_TRUE(netlink->set_interface_mtu(index, 1400));
    EXPECT_EQ(netlink->interface_mtu(index).value(), 1400u);
    ASSERT_TRUE(netlink->set_interface_up(index, true));
    EXPECT_THAT(host->show("link show eth0"), HasSubstr(",UP"));
    ASSERT_TRUE(netlink->set_interface_up(index, false));
    EXPECT_THAT(host->show("link show eth0"), Not(HasSubstr(",UP")));
}

TEST_F(NetlinkTest, AddressesAreAddedAndRemovedAndTwiceIsNoError) {
    for (const auto* text : {"192.0.2.7", "2001:db8::7"}) {
        const auto address = parse_ip_address(text).value();
        const std::uint8_t length = std::holds_alternative<Ipv4Address>(address) ? 32 : 64;
        EXPECT_EQ(netlink->interface_of_address(address).error().code, ErrorCode::not_found);
        ASSERT_TRUE(netlink->add_address(index, address, length));
        ASSERT_TRUE(netlink->add_address(index, address, length));
        EXPECT_EQ(netlink->interface_of_address(address).value(), index);
        EXPECT_THAT(host->show("addr show dev eth0"),
                    HasSubstr(std::string(text) + "/" + std::to_string(length)));
        ASSERT_TRUE(netlink->remove_address(index, address, length));
        ASSERT_TRUE(netlink->remove_address(index, address, length));
        EXPECT_THAT(host->show("addr show dev eth0"), Not(HasSubstr(text)));
    }
}

TEST_F(NetlinkTest, RoutesRoundTrip) {
    ASSERT_TRUE(netlink->set_interface_up(index, true));
    ASSERT_TRUE(netlink->add_address(index, *parse_ip_address("192.0.2.1"), 24));
    ASSERT_TRUE(netlink->add_address(index, *parse_ip_address("2001:db8::1"), 64));
    Route on_link;
    on_link.destination = prefix("198.51.100.0/24");
    on_link.interface_index = index;
    on_link.source = parse_ip_address("192.0.2.1");
    on_link.metric = 50;
    on_link.mtu = 1400;
    Route default_route;
    default_route.destination = prefix("0.0.0.0/0");
    default_route.interface_index = index;
    default_route.gateway = parse_ip_address("192.0.2.254");
    Route blackhole;
    blackhole.destination = prefix("203.0.113.0/24");
    blackhole.kind = Route::Kind::blackhole;
    blackhole.metric = 0xffffffff;
    Route v6;
    v6.destination = Ipv6Prefix::parse("2001:db8:7::/48").value();
    v6.interface_index = index;
    v6.gateway = parse_ip_address("2001:db8::2");
    for (const auto& route : {on_link, default_route, blackhole, v6}) {
        const auto is_there = [&] {
            const bool is_v4 = std::holds_alternative<Ipv4Prefix>(route.destination);
            const auto routes = is_v4 ? netlink->routes_v4() : netlink->routes_v6();
            return std::any_of(routes->begin(), routes->end(), [&](const Route& candidate) {
                return candidate.destination == route.destination && candidate.kind == route.kind &&
                       candidate.gateway == route.gateway && candidate.source == route.source &&
                       candidate.mtu == route.mtu &&
                       candidate.interface_index == route.interface_index;
            });
        };
        EXPECT_FALSE(is_there());
        const auto added = netlink->add_route(route);
        ASSERT_TRUE(added) << to_string(added.error());
        EXPECT_TRUE(is_there());
        EXPECT_TRUE(netlink->add_route(route)) << "the same again";
        EXPECT_TRUE(netlink->remove_route(route));
        EXPECT_FALSE(is_there());
        EXPECT_TRUE(netlink->remove_route(route)) << "gone already";
    }
}

TEST_F(NetlinkTest, AnMtuCanBeLockedAndARouteGoesWhateverItsMtu) {
    ASSERT_TRUE(netlink->set_interface_up(index, true));
    for (const IpPrefix& destination :
         {IpPrefix(prefix("198.51.100.0/24")), IpPrefix(*Ipv6Prefix::parse("2001:db8:7::/48"))}) {
        Route route;
        route.destination = destination;
        route.interface_index = index;
        ASSERT_TRUE(netlink->replace_route(route));
        auto narrow = route;
        narrow.mtu = 1300;
        narrow.is_mtu_locked = true;
        ASSERT_TRUE(netlink->replace_route(narrow));
        const auto shown = [&] { return host->show("route show") + host->show("-6 route show"); };
        EXPECT_THAT(shown(), HasSubstr("mtu lock 1300"));
        narrow.mtu = 1400;
        EXPECT_TRUE(netlink->remove_route(narrow));
        EXPECT_THAT(shown(), Not(HasSubstr("mtu")));
    }
}

TEST_F(NetlinkTest, NewsNameTheLinksThatHaveChangedOrGoneOrSayThatSomeAreLost) {
    auto opened = host->in([] { return LinkNews::open(); });
    ASSERT_TRUE(opened) << to_string(opened.error());
    auto& news = *opened;
    EXPECT_EQ(news.take(), std::set<int>{});
    ASSERT_TRUE(netlink->set_interface_mtu(index, 1400));
    EXPECT_EQ(news.take(), std::set{index});
    EXPECT_EQ(news.take(), std::set<int>{});
    const auto other = netlink->interface_index("eth1").value();
    host->ip("link del eth0");
    EXPECT_EQ(news.take(), (std::set{index, other}));
    const auto lo = netlink->interface_index("lo").value();
    for (std::uint32_t mtu = 2000; mtu < 3000; ++mtu) {
        ASSERT_TRUE(netlink->set_interface_mtu(lo, mtu));
    }
    EXPECT_EQ(news.take(), std::nullopt);
    EXPECT_EQ(news.take(), std::set<int>{}) << "and then as before";
}

TEST_F(NetlinkTest, RouteOfSomebodyElseIsAConflictAndStays) {
    host->ip("link set eth0 up");
    host->ip("route add 198.51.100.0/24 dev eth1 metric 50");
    Route route;
    route.destination = prefix("198.51.100.0/24");
    route.interface_index = index;
    route.metric = 50;
    EXPECT_EQ(netlink->add_route(route).error().code, ErrorCode::conflict);
    EXPECT_THAT(host->show("route show"), HasSubstr("198.51.100.0/24 dev eth1"));
}

TEST_F(NetlinkTest, GroIsOffForAsLongAsItIsAskedForAndThenAsItWas) {
    const auto is_on = [&] {
        return host->exec("ethtool -k eth0").find("generic-receive-offload: on") !=
               std::string::npos;
    };
    if (!run("ethtool --version")) GTEST_SKIP() << "needs ethtool to look from outside";
    ASSERT_TRUE(run("ip netns exec " + host->name() + " ethtool -K eth0 gro on"));
    host->in([&] {
        {
            const auto off = GroOff::on("eth0");
            EXPECT_TRUE(off);
            EXPECT_FALSE(is_on());
            EXPECT_TRUE(GroOff::on("eth0")) << "again, and it stays off";
            EXPECT_FALSE(is_on());
        }
        EXPECT_TRUE(is_on());
        EXPECT_FALSE(GroOff::on("eth7"));
        return 0;
    });
}

TEST_F(NetlinkTest, GroThatAKilledProcessLeftOffIsPutBackByTheNext) {
    if (!run("ethtool --version")) GTEST_SKIP() << "needs ethtool to look from outside";
    const test::TempDir directory;
    const std::string record = directory / "gro-was-on";
    const auto is_on = [&] {
        return host->exec("ethtool -k eth0").find("generic-receive-offload: on") !=
               std::string::npos;
    };
    ASSERT_TRUE(run("ip netns exec " + host->name() + " ethtool -K eth0 gro on"));
    host->in([&] {
        const pid_t child = ::fork();
        if (child == 0) {
            const auto off = GroOff::on("eth0", record);
            ::_exit(off ? 0 : 1);  // no destructor runs
        }
        int status = 0;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
        EXPECT_FALSE(is_on());
        {
            const auto off = GroOff::on("eth0", record);
            EXPECT_TRUE(off);
        }
        EXPECT_TRUE(is_on());
        EXPECT_FALSE(std::ifstream(record).good());
        return 0;
    });
}

TEST_F(NetlinkTest, TunDeviceIsExclusiveAndGoesWithItsObject) {
    host->in([&] {
        EXPECT_EQ(TunDevice::create("").error().code, ErrorCode::invalid);
        EXPECT_EQ(TunDevice::create("a-name-much-too-long").error().code, ErrorCode::invalid);
        {
            const auto device = TunDevice::create("dstm0");
            EXPECT_TRUE(device);
            EXPECT_TRUE(netlink->interface_index("dstm0"));
            EXPECT_EQ(TunDevice::create("dstm0").error().code, ErrorCode::conflict);
        }
        EXPECT_FALSE(netlink->interface_index("dstm0"));
        return 0;
    });
}

}  // namespace
}  // namespace dstm::dataplane::testing
