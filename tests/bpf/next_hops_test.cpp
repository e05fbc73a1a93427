// From clients' addresses to next hops, by the routes of a real host with two routers:
//
//   a0  2001:db8:a::1/64 --- router 2001:db8:a::2
//   b0  2001:db8:b::1/64 --- router 2001:db8:b::2
#include <set>

#include <fcntl.h>
#include <net/if.h>
#include <unistd.h>

#include "tep/bpf/next_hops.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;
using dataplane::testing::Namespace;
using dataplane::testing::run;
using dataplane::testing::v6;

class BpfNextHops : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto why = dataplane::testing::why_no_namespaces(); !why.empty()) {
            GTEST_SKIP() << why;
        }
        host = std::make_unique<Namespace>("h");
        for (const auto* const side : {"a", "b"}) {
            const std::string name = std::string(side) + "0";
            host->ip_batch(
                {"link add name " + name + " type veth peer name " + name + "p",
                 "link set " + name + " up", "link set " + name + "p up",
                 std::string("addr add 2001:db8:") + side + "::1/64 dev " + name + " nodad"});
        }
        host->in([&] {
            auto loaded = Programs::load(settings());
            ASSERT_TRUE(loaded) << to_string(loaded.error());
            programs.emplace(std::move(*loaded));
            network.emplace(HostNetwork::open().value());
            hops.emplace(NextHops::open(*programs, *network, {}).value());
        });
    }

    [[nodiscard]] static ProgramSettings settings() {
        ProgramSettings out;
        out.outer = v6("2001:db8:a::1");
        out.pools = {Ipv4Prefix::parse("192.0.2.0/24").value()};
        return out;
    }
    void route(const std::string& what) const { host->ip("-6 route " + what); }
    // What has happened since, as the plane's thread does it.
    void follow() {
        host->in([&] {
            if (network->take_news().routes) hops->routes_changed();
        });
    }
    [[nodiscard]] std::uint16_t to(const std::string& client) {
        return host->in([&] { return hops->to(v6(client)); });
    }
    // The interface by which packets to this client leave; empty: none.
    [[nodiscard]] std::string way(const std::string& client) {
        const auto interface = at(to(client)).interface;
        char name[IF_NAMESIZE] = {};
        return host->in([&] { return interface == 0 ? "" : if_indextoname(interface, name); });
    }
    [[nodiscard]] std::set<std::string> ways_to_many(const std::string& prefix) {
        std::set<std::string> out;
        for (int i = 1; i < 50; ++i) out.insert(way(prefix + std::to_string(i)));
        return out;
    }

    [[nodiscard]] dstm_next_hop at(std::uint16_t place) const {
        const auto all =
            MappedArray<dstm_next_hop>::map(programs->next_hops(), DSTM_NEXT_HOPS_MAX).value();
        return all.elements()[place];
    }
    // Of the next daemon, when tunnels point to these.
    [[nodiscard]] NextHops next(const std::vector<std::uint16_t>& places) {
        NextHops::Used used;
        for (const auto place : places) used[place] = true;
        return host->in([&] { return NextHops::open(*programs, *network, used).value(); });
    }

    std::unique_ptr<Namespace> host;
    std::optional<Programs> programs;
    std::optional<HostNetwork> network;
    std::optional<NextHops> hops;
};

TEST_F(BpfNextHops, LongerRouteWithinTheSameNetworkIsTakenWhoeverIsAskedForFirst) {
    route("add 2001:db8:1::/48 via 2001:db8:a::2");
    route("add 2001:db8:1::2/128 via 2001:db8:b::2");
    follow();
    EXPECT_EQ(way("2001:db8:1::1"), "a0");
    EXPECT_EQ(way("2001:db8:1::2"), "b0");
    route("add 2001:db8:1::ab00:0/112 via 2001:db8:b::2");
    follow();
    EXPECT_EQ(way("2001:db8:1::ab00:1"), "b0");
    EXPECT_EQ(way("2001:db8:1::abff:1"), "a0");
    route("del 2001:db8:1::2/128");
    follow();
    EXPECT_EQ(way("2001:db8:1::2"), "a0");
}

TEST_F(BpfNextHops, RulesAndTablesOtherThanMainAreRespected) {
    route("add 2001:db8:1::/48 via 2001:db8:a::2");
    follow();
    EXPECT_EQ(way("2001:db8:1::1"), "a0");
    route("add default via 2001:db8:b::2 table 7");
    host->ip("-6 rule add to 2001:db8:1:7::/64 table 7");
    follow();
    EXPECT_EQ(way("2001:db8:1::1"), "a0");
    EXPECT_EQ(way("2001:db8:1:7::1"), "b0");
}

TEST_F(BpfNextHops, ClientsOfARouteWithSeveralWaysAreSpreadOverThem) {
    route("add 2001:db8:1::/48 nexthop via 2001:db8:a::2 nexthop via 2001:db8:b::2");
    follow();
    EXPECT_EQ(ways_to_many("2001:db8:1::"), (std::set<std::string>{"a0", "b0"}));
    EXPECT_EQ(to("2001:db8:1::5"), to("2001:db8:1::5"));
    host->ip("link set b0 down");
    follow();
    EXPECT_EQ(ways_to_many("2001:db8:1::"), std::set<std::string>{"a0"});
}

TEST_F(BpfNextHops, ObjectsThatRoutesShareAreFollowedWhetherTheKernelExpandsThemOrNot) {
    host->ip_batch({"nexthop add id 1 via 2001:db8:a::2 dev a0",
                    "nexthop add id 2 via 2001:db8:b::2 dev b0", "nexthop add id 3 group 1/2",
                    "route add 2001:db8:1::/48 nhid 3", "route add 2001:db8:2::/48 nhid 2"});
    follow();
    for (const auto* const mode : {"1", "0"}) {
        host->sysctl("net/ipv4/nexthop_compat_mode", mode);
        hops->routes_changed();
        EXPECT_EQ(ways_to_many("2001:db8:1::"), (std::set<std::string>{"a0", "b0"})) << mode;
        EXPECT_EQ(way("2001:db8:2::1"), "b0") << mode;
    }
    host->ip("-6 nexthop replace id 2 via 2001:db8:a::3 dev a0");
    follow();
    EXPECT_EQ(way("2001:db8:2::1"), "a0");
}

TEST_F(BpfNextHops, RouteThatAddsAHeaderOfItsOwnIsNotTaken) {
    const auto added = "ip -n " + host->name() + " -6 route add 2001:db8:1::/48 encap ip6 id 1 " +
                       "dst 2001:db8:a::5 via 2001:db8:a::2 dev a0";
    if (!run(added)) GTEST_SKIP() << "needs lwtunnel of IPv6";
    follow();
    EXPECT_EQ(to("2001:db8:1::1"), 0);
    EXPECT_EQ(to("2001:db8:1::2"), 0);
}

// 512 neighbours have places; those of clients that are gone serve others.
TEST_F(BpfNextHops, PlacesThatNobodyUsesServeOthers) {
    const auto neighbour = [](int i) { return "2001:db8:a::1:" + std::to_string(i); };
    for (int i = 1; i < 600; ++i) static_cast<void>(to(neighbour(i)));
    const auto shared = to(neighbour(599));
    EXPECT_EQ(to(neighbour(598)), shared) << "no place of its own";
    hops->tunnel_left();
    ASSERT_TRUE(hops->wants_room());
    NextHops::Used used;
    used[to(neighbour(1))] = true;
    used[shared] = true;
    const auto kept = to(neighbour(1));
    hops->forget_unused(used);
    EXPECT_FALSE(hops->wants_room());
    EXPECT_NE(to(neighbour(599)), to(neighbour(598)));
    EXPECT_NE(to(neighbour(599)), shared);
    EXPECT_EQ(to(neighbour(1)), kept);
    EXPECT_EQ(way(neighbour(599)), "a0");
}

// What a daemon wrote before it was killed says nothing of what tunnels point to.
TEST_F(BpfNextHops, NextDaemonUsesTheHalfThatNoTunnelPointsTo) {
    constexpr std::uint16_t half = DSTM_NEXT_HOPS_MAX / 2;
    const auto client = v6("2001:db8:a::5");
    const auto first = to("2001:db8:a::5");
    ASSERT_TRUE(hops->is_ours(first));
    auto second = next({0, first});
    const auto place = host->in([&] { return second.to(client); });
    EXPECT_GT(place, half);
    EXPECT_TRUE(second.is_ours(place));
    EXPECT_FALSE(second.is_ours(first));

    auto third = next({0, half, place});
    EXPECT_LT(host->in([&] { return third.to(client); }), half) << "both halves are filled";
    EXPECT_EQ(at(place).interface, at(first).interface) << "the tunnels' places are as they were";
}

TEST_F(BpfNextHops, OfTwoHalvesInUseTheNextDaemonTakesTheOneThatIsUsedLess) {
    constexpr std::uint16_t half = DSTM_NEXT_HOPS_MAX / 2;
    const auto in_second = next({1, half - 1, half + 1});
    EXPECT_TRUE(in_second.is_ours(half + 1));
    EXPECT_FALSE(in_second.is_ours(0)) << "leads nowhere as it is";
    const auto in_first = next({1, half + 1, DSTM_NEXT_HOPS_MAX - 1});
    EXPECT_TRUE(in_first.is_ours(1));
    EXPECT_FALSE(in_first.is_ours(half + 1));
}

TEST_F(BpfNextHops, PlaceIsWrittenAnewOnlyWhenItsLinkHasChanged) {
    host->ip("neigh add 2001:db8:a::5 lladdr 02:00:00:00:00:05 dev a0 nud permanent");
    const auto place = to("2001:db8:a::5");
    ASSERT_EQ(at(place).has_link_addresses, 1);
    const auto changed = [&] {
        host->in([&] { hops->links_changed(); });
        return at(place);
    };
    host->ip("neigh del 2001:db8:a::5 dev a0");  // of this there would be other news
    host->ip("addr add 198.51.100.1/24 dev a0");
    EXPECT_EQ(changed().has_link_addresses, 1);
    host->ip("link set a0 mtu 1400");
    const auto narrow = changed();
    EXPECT_EQ(narrow.mtu, 1400);
    EXPECT_EQ(narrow.has_link_addresses, 0);
    host->ip("neigh add 2001:db8:a::5 lladdr 02:00:00:00:00:05 dev a0 nud permanent");
    EXPECT_EQ(changed().has_link_addresses, 0);
    host->in([&] { hops->neighbours_lost(); });
    EXPECT_EQ(at(place).has_link_addresses, 1);
    host->ip("link del a0");
    EXPECT_EQ(changed().mtu, 0);
}

// The socket for them is replaced by something that answers nothing.
TEST_F(BpfNextHops, QuestionThatFailsChangesNothingAndIsAskedAgain) {
    const Descriptor nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    int questions = -1;
    host->in([&] {
        questions = ::dup(nothing.number());  // the lowest that is free
        ::close(questions);
        network.emplace(HostNetwork::open().value());
        hops.emplace(NextHops::open(*programs, *network, {}).value());
    });
    const auto place = to("2001:db8:a::5");
    const auto before = at(place).mtu;
    ASSERT_NE(before, 0);
    const Descriptor kept(::dup(questions));
    ASSERT_EQ(::dup2(nothing.number(), questions), questions);
    hops->links_changed();
    EXPECT_EQ(at(place).mtu, before);
    EXPECT_TRUE(hops->wants_links());
    ASSERT_EQ(::dup2(kept.number(), questions), questions);
    host->ip("link set a0 mtu 1400");
    hops->links_changed();
    EXPECT_EQ(at(place).mtu, 1400);
    EXPECT_FALSE(hops->wants_links());
}

}  // namespace
}  // namespace dstm::tep::bpf
