// Which tunnels stand at an endpoint: generations, bounds, sync in parts, expiry, idleness.
#include "tep/tunnel_table.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "support/endpoint_values.hpp"
#include "support/memory_plane.hpp"

namespace dstm::tep {
namespace {

using std::chrono::seconds;
using test::noon;
using test::tunnel;

IpAddress address(const std::string& text) { return *parse_ip_address(text); }

TunnelPolicy policy() {
    TunnelPolicy policy;
    policy.types = {TunnelType::v4v6};
    policy.outer_ipv6 = test::endpoint_outer;
    policy.inner_ipv4 = test::endpoint_inner;
    policy.pools = {test::endpoint_pool};
    return policy;
}

class TunnelTableTest : public testing::Test {
protected:
    void must_install(const std::string& inner, Generation generation) {
        ASSERT_TRUE(table.install(tunnel(inner, generation), noon));
    }
    Result<teplink::SyncAnswer> part(std::uint64_t session, bool first, bool last, Generation as_of,
                                     std::vector<TunnelSpec> tunnels) {
        return table.sync(progress, {session, first, last, as_of, std::move(tunnels)}, noon);
    }
    std::vector<std::string> inners() {
        std::vector<std::string> all;
        for (const auto& [inner, installed] : plane.tunnels) all.push_back(to_string(inner));
        return all;
    }

    test::MemoryPlane plane;
    TunnelTable table{policy(), plane, noon};
    SyncProgress progress;
};

using Names = std::vector<std::string>;

TEST_F(TunnelTableTest, InstallTellsThePlane) {
    EXPECT_EQ(table.install(tunnel("192.0.2.7"), noon), Installed::added);
    EXPECT_EQ(plane.tunnels.at(address("192.0.2.7")).spec, tunnel("192.0.2.7"));
    EXPECT_EQ(table.size(), 1u);
}

TEST_F(TunnelTableTest, SameInstallAgainDoesNotTouchThePlane) {
    must_install("192.0.2.7", 1);
    EXPECT_EQ(table.install(tunnel("192.0.2.7"), noon), Installed::unchanged);
    EXPECT_EQ(plane.adds, 1);
}

TEST_F(TunnelTableTest, NewerGenerationReplacesTheOuterAddressInOneStep) {
    must_install("192.0.2.7", 1);
    const auto moved = tunnel("192.0.2.7", 2, "2001:db8:9::9");
    EXPECT_EQ(table.install(moved, noon), Installed::replaced);
    EXPECT_EQ(plane.tunnels.at(address("192.0.2.7")).spec, moved);
    EXPECT_EQ(plane.removes, 0);
}

TEST_F(TunnelTableTest, OlderGenerationIsAConflictAndChangesNothing) {
    must_install("192.0.2.7", 5);
    const auto late = table.install(tunnel("192.0.2.7", 4, "2001:db8:9::9"), noon);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::conflict);
    EXPECT_EQ(plane.adds, 1);  // the plane was not even asked
    EXPECT_EQ(plane.tunnels.at(address("192.0.2.7")).spec, tunnel("192.0.2.7", 5));
}

TEST_F(TunnelTableTest, RenewalUnderTheSameGenerationIsApplied) {
    must_install("192.0.2.7", 5);
    auto renewed = tunnel("192.0.2.7", 5);
    renewed.expires_at += seconds(600);
    EXPECT_EQ(table.install(renewed, noon), Installed::replaced);
    EXPECT_EQ(plane.tunnels.at(address("192.0.2.7")).spec, renewed);
}

TEST_F(TunnelTableTest, OneOuterAddressMayHoldSeveralInner) {
    must_install("192.0.2.7", 1);
    must_install("192.0.2.8", 2);
    EXPECT_EQ(table.size(), 2u);
}

TEST_F(TunnelTableTest, WhatIsNotForThisEndpointIsRefusedBeforeThePlaneHearsOfIt) {
    const auto with = [](auto change) {
        auto spec = tunnel("192.0.2.7");
        change(spec);
        return spec;
    };
    const std::vector<std::tuple<std::string, TunnelSpec, ErrorCode>> cases{
        {"generation 0", tunnel("192.0.2.7", 0), ErrorCode::invalid},
        {"outside the pools", tunnel("192.0.3.7"), ErrorCode::refused},
        {"endpoint's own inner", tunnel("192.0.2.1"), ErrorCode::refused},
        {"endpoint's own outer", tunnel("192.0.2.7", 1, "2001:db8:2::1"), ErrorCode::refused},
        {"multicast outer", tunnel("192.0.2.7", 1, "ff02::1"), ErrorCode::refused},
        {"unspecified outer", tunnel("192.0.2.7", 1, "::"), ErrorCode::refused},
        {"link-local outer", tunnel("192.0.2.7", 1, "fe80::1"), ErrorCode::refused},
        {"IPv4 outer", tunnel("192.0.2.7", 1, "198.51.100.1"), ErrorCode::invalid},
        {"IPv6 inner", tunnel("2001:db8:7::7"), ErrorCode::invalid},
        {"type", with([](auto& s) { s.type = TunnelType::v6v4; }), ErrorCode::refused},
        {"port", with([](auto& s) { s.outer_client.port = 1; }), ErrorCode::invalid},
        {"prefix", with([](auto& s) { s.inner_prefix = Ipv6Prefix::parse("2001:db8::/48"); }),
         ErrorCode::invalid},
        {"another endpoint",
         with([](auto& s) { s.outer_server = *parse_ip_address("2001:db8::2"); }),
         ErrorCode::refused},
        {"over", with([](auto& s) { s.expires_at = noon; }), ErrorCode::refused},
    };
    for (const auto& [name, spec, code] : cases) {
        const auto outcome = table.install(spec, noon);
        ASSERT_FALSE(outcome) << name;
        EXPECT_EQ(outcome.error().code, code) << name << ": " << outcome.error().context;
    }
    EXPECT_EQ(plane.adds, 0);
    EXPECT_EQ(table.size(), 0u);
}

// The same endpoint with IPv6 inside besides.
class Ipv6TunnelTableTest : public testing::Test {
protected:
    static TunnelPolicy policy_with_ipv6() {
        auto out = policy();
        out.types = {TunnelType::v4v6, TunnelType::v6v4, TunnelType::v6udpv4};
        out.outer_ipv4 = Ipv4Address::parse("198.51.100.1");
        out.inner_ipv6 = Ipv6Address::parse("2001:db8:100::1");
        out.pools_ipv6 = {*Ipv6Prefix::parse("2001:db8:100::/48"),
                          *Ipv6Prefix::parse("2001:db8:200::/52")};
        return out;
    }
    static TunnelSpec spec(std::uint16_t port = 0) {
        auto out = tunnel("2001:db8:100::7", 1, "192.0.2.99");
        out.type = port == 0 ? TunnelType::v6v4 : TunnelType::v6udpv4;
        out.outer_client.port = port;
        out.outer_server = address("198.51.100.1");
        return out;
    }

    test::MemoryPlane plane;
    TunnelTable table{policy_with_ipv6(), plane, noon};
};

TEST_F(Ipv6TunnelTableTest, EncapsulationChangesInOneStep) {
    EXPECT_EQ(table.install(spec(), noon), Installed::added);
    auto in_udp = spec(40000);
    in_udp.generation = 2;
    EXPECT_EQ(table.install(in_udp, noon), Installed::replaced);
    EXPECT_EQ(plane.tunnels.at(spec().inner).spec, in_udp);
    EXPECT_EQ(plane.removes, 0);
}

TEST_F(Ipv6TunnelTableTest, WhatIsNotForThisEndpointIsRefusedBeforeThePlaneHearsOfIt) {
    const auto with = [](auto change) {
        auto out = spec(40000);
        change(out);
        return out;
    };
    const auto prefix = [&](const char* text) {
        return with([&](auto& s) { s.inner_prefix = Ipv6Prefix::parse(text); });
    };
    const auto refused = ErrorCode::refused;
    const auto invalid = ErrorCode::invalid;
    const std::vector<std::tuple<std::string, TunnelSpec, ErrorCode>> cases{
        {"no port", with([](auto& s) { s.outer_client.port = 0; }), invalid},
        {"port", with([](auto& s) { s.type = TunnelType::v6v4; }), invalid},
        {"IPv4 inner", with([](auto& s) { s.inner = address("192.0.2.7"); }), invalid},
        {"IPv6 outer", with([](auto& s) { s.outer_client.address = address("2001:db8::1"); }),
         invalid},
        {"no pool", with([](auto& s) { s.inner = address("2001:db8:9::7"); }), refused},
        {"own inner", with([](auto& s) { s.inner = address("2001:db8:100::1"); }), refused},
        {"own outer", with([](auto& s) { s.outer_client.address = address("198.51.100.1"); }),
         refused},
        {"loopback", with([](auto& s) { s.outer_client.address = address("127.0.0.1"); }), refused},
        {"server", with([](auto& s) { s.outer_server = address("198.51.100.2"); }), refused},
        {"prefix of no pool", prefix("2001:db8:9::/56"), refused},
        {"prefix wider than its pool", prefix("2001:db8:200::/48"), refused},
        {"prefix with the own inner", prefix("2001:db8:100::/64"), refused},
        {"prefix too wide", prefix("2001:db8::/40"), invalid},
        {"prefix too narrow", prefix("2001:db8:200::/65"), invalid},
    };
    for (const auto& [name, wrong, code] : cases) {
        const auto outcome = table.install(wrong, noon);
        ASSERT_FALSE(outcome) << name;
        EXPECT_EQ(outcome.error().code, code) << name << ": " << outcome.error().context;
    }
    EXPECT_EQ(plane.adds, 0);
    EXPECT_EQ(table.install(prefix("2001:db8:200:800::/56"), noon), Installed::added);
}

TEST_F(TunnelTableTest, PlaneThatFailsLeavesTheTableAsItWas) {
    plane.fail_next = Error{ErrorCode::exhausted, "no memory"};
    EXPECT_EQ(table.install(tunnel("192.0.2.7"), noon).error().code, ErrorCode::exhausted);
    EXPECT_EQ(table.size(), 0u);
    must_install("192.0.2.7", 1);

    plane.fail_next = Error{ErrorCode::unavailable, "away"};
    EXPECT_FALSE(table.remove(address("192.0.2.7"), 1));
    EXPECT_EQ(table.size(), 1u);
    EXPECT_EQ(table.remove(address("192.0.2.7"), 1), Removed::removed);
}

TEST_F(TunnelTableTest, FullTableTakesNoNewTunnelButStillReplaces) {
    auto small = policy();
    small.tunnels_max = 1;
    TunnelTable full(small, plane, noon);
    ASSERT_TRUE(full.install(tunnel("192.0.2.7"), noon));
    EXPECT_EQ(full.install(tunnel("192.0.2.8"), noon).error().code, ErrorCode::exhausted);
    EXPECT_EQ(full.install(tunnel("192.0.2.7", 2), noon), Installed::replaced);
}

TEST_F(TunnelTableTest, RemoveNeverTakesDownWhatIsNewer) {
    must_install("192.0.2.7", 5);
    EXPECT_EQ(table.remove(address("192.0.2.7"), 4), Removed::newer);
    EXPECT_EQ(table.size(), 1u);
    EXPECT_EQ(table.remove(address("192.0.2.7"), 5), Removed::removed);
    EXPECT_EQ(table.remove(address("192.0.2.7"), 5), Removed::absent);
    EXPECT_TRUE(plane.tunnels.empty());
}

TEST_F(TunnelTableTest, WhatThePlaneLostAlreadyCanBeRemoved) {
    must_install("192.0.2.7", 5);
    plane.tunnels.clear();
    EXPECT_EQ(table.remove(address("192.0.2.7"), 5), Removed::removed);
    EXPECT_EQ(table.size(), 0u);
}

TEST_F(TunnelTableTest, SyncInPartsInstallsLeavesAndRemoves) {
    must_install("192.0.2.7", 1);
    must_install("192.0.2.8", 2);
    must_install("192.0.2.9", 3);
    const int adds = plane.adds;

    auto answer = part(1, true, false, 10, {tunnel("192.0.2.7", 1)});
    ASSERT_TRUE(answer);
    EXPECT_FALSE(answer->totals);
    EXPECT_EQ(plane.tunnels.size(), 3u);  // nothing goes before the last part
    answer = part(1, false, true, 10, {tunnel("192.0.2.9", 4), tunnel("192.0.2.10", 5)});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->totals, (teplink::SyncTotals{2, 1, 1}));
    EXPECT_EQ(inners(), (Names{"192.0.2.7", "192.0.2.9", "192.0.2.10"}));
    EXPECT_EQ(plane.adds - adds, 2);  // what stays is not touched
}

TEST_F(TunnelTableTest, EmptySyncRemovesAllThatIsNotNewer) {
    must_install("192.0.2.7", 1);
    must_install("192.0.2.8", 11);
    const auto answer = part(1, true, true, 10, {});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->totals, (teplink::SyncTotals{0, 0, 1}));
    EXPECT_EQ(inners(), Names{"192.0.2.8"});
}

TEST_F(TunnelTableTest, InstallAndRemoveBetweenThePartsOfASyncHold) {
    must_install("192.0.2.7", 1);
    ASSERT_TRUE(part(1, true, false, 10, {tunnel("192.0.2.20", 9)}));
    must_install("192.0.2.7", 12);                                           // renewed meanwhile
    must_install("192.0.2.8", 11);                                           // new meanwhile
    const auto answer = part(1, false, true, 10, {tunnel("192.0.2.7", 1)});  // old news
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->totals, (teplink::SyncTotals{1, 1, 0}));
    EXPECT_EQ(plane.tunnels.at(address("192.0.2.7")).spec.generation, 12u);
    EXPECT_EQ(inners(), (Names{"192.0.2.7", "192.0.2.8", "192.0.2.20"}));
}

// A create takes its generation when it starts; a sync may start before it reaches the endpoint.
TEST_F(TunnelTableTest, InstallDuringASyncStaysThoughItsGenerationIsOlder) {
    must_install("192.0.2.7", 1);
    ASSERT_TRUE(part(1, true, false, 10, {tunnel("192.0.2.20", 9)}));
    must_install("192.0.2.8", 5);
    ASSERT_TRUE(part(1, false, true, 10, {}));
    EXPECT_EQ(inners(), (Names{"192.0.2.8", "192.0.2.20"}));
}

TEST_F(TunnelTableTest, PartOfASyncThatIsNotUnderWayIsInvalid) {
    must_install("192.0.2.7", 1);
    EXPECT_EQ(part(1, false, true, 10, {}).error().code, ErrorCode::invalid);
    ASSERT_TRUE(part(1, true, false, 10, {}));
    EXPECT_EQ(part(2, false, true, 10, {}).error().code, ErrorCode::invalid);
    EXPECT_EQ(part(1, false, true, 11, {}).error().code, ErrorCode::invalid);
    ASSERT_TRUE(part(1, false, true, 10, {}));
    EXPECT_EQ(part(1, false, true, 10, {}).error().code, ErrorCode::invalid);
    EXPECT_EQ(table.size(), 0u);
}

TEST_F(TunnelTableTest, SyncThatBeginsAgainForgetsWhatTheEarlierOneNamed) {
    must_install("192.0.2.7", 1);
    ASSERT_TRUE(part(1, true, false, 10, {tunnel("192.0.2.7", 1)}));
    ASSERT_TRUE(part(2, true, true, 10, {}));
    EXPECT_EQ(table.size(), 0u);
}

TEST_F(TunnelTableTest, TwoServersSyncAtOnceWithoutMixing) {
    SyncProgress other;
    ASSERT_TRUE(part(1, true, false, 10, {tunnel("192.0.2.7", 1)}));
    ASSERT_TRUE(table.sync(other, {1, true, false, 10, {tunnel("192.0.2.7", 1)}}, noon));
    ASSERT_TRUE(part(1, false, true, 10, {tunnel("192.0.2.8", 2)}));
    EXPECT_EQ(inners(), (Names{"192.0.2.7", "192.0.2.8"}));
    const auto answer = table.sync(other, {1, false, true, 10, {tunnel("192.0.2.8", 2)}}, noon);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->totals, (teplink::SyncTotals{0, 2, 0}));
}

TEST_F(TunnelTableTest, AddressOutsideThePoolsIsTakenIfAskedButNeverAnOwnOne) {
    auto wide = policy();
    wide.outside_pools = true;
    wide.outer_ipv4 = *Ipv4Address::parse("198.51.100.1");
    TunnelTable wide_table(wide, plane, noon);
    EXPECT_EQ(wide_table.install(tunnel("198.51.100.7"), noon), Installed::added);
    for (const auto* own : {"192.0.2.1", "198.51.100.1"}) {
        const auto refused = wide_table.install(tunnel(own), noon);
        ASSERT_FALSE(refused) << own;
        EXPECT_EQ(refused.error().code, ErrorCode::refused);
    }
}

TEST_F(TunnelTableTest, OneBadTunnelDoesNotStopASync) {
    const auto answer = part(1, true, true, 10, {tunnel("203.0.113.1"), tunnel("192.0.2.7")});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->totals, (teplink::SyncTotals{1, 0, 0}));
}

TEST_F(TunnelTableTest, ExpiredTunnelIsSweptAfterAWhileAndRenewedOneIsNot) {
    must_install("192.0.2.7", 1);
    must_install("192.0.2.8", 2);
    auto renewed = tunnel("192.0.2.8", 3);
    renewed.expires_at += std::chrono::hours(1);
    ASSERT_TRUE(table.install(renewed, noon));

    const auto end = tunnel("192.0.2.7").expires_at;
    EXPECT_EQ(table.sweep(end + seconds(59), 100), 0u);
    EXPECT_EQ(table.sweep(end + seconds(60), 100), 1u);
    EXPECT_EQ(inners(), Names{"192.0.2.8"});
    EXPECT_EQ(table.sweep(renewed.expires_at + seconds(60), 100), 1u);
    EXPECT_TRUE(plane.tunnels.empty());
}

TEST_F(TunnelTableTest, SweepIsBoundedAndTriesAgainWhatFailed) {
    for (int i = 10; i < 20; ++i) must_install("192.0.2." + std::to_string(i), 1);
    const auto late = noon + std::chrono::hours(2);
    EXPECT_EQ(table.sweep(late, 3), 3u);
    plane.fail_next = Error{ErrorCode::unavailable, "away"};
    EXPECT_EQ(table.sweep(late, 100), 0u);
    EXPECT_EQ(table.sweep(late, 100), 7u);
    EXPECT_EQ(table.size(), 0u);
}

TEST_F(TunnelTableTest, IdleTunnelIsToldOnceUntilItIsHeardAgain) {
    auto watching = policy();
    watching.idle_time = seconds(100);
    TunnelTable idle_table(watching, plane, noon);
    ASSERT_TRUE(idle_table.install(tunnel("192.0.2.7"), noon));
    const std::vector<IpAddress> only{address("192.0.2.7")};
    const auto find_idle = [&](int second) {
        return idle_table.find_idle(noon + seconds(second), std::nullopt, 10).idle;
    };
    EXPECT_TRUE(find_idle(99).empty());
    EXPECT_EQ(find_idle(100), only);
    EXPECT_TRUE(find_idle(101).empty());

    plane.tunnels.at(only[0]).counters.last_seen_up = noon + seconds(150);
    EXPECT_TRUE(find_idle(249).empty());
    EXPECT_EQ(find_idle(250), only);
}

TEST_F(TunnelTableTest, IdleTunnelsAreLookedForPageByPage) {
    auto watching = policy();
    watching.idle_time = seconds(100);
    TunnelTable idle_table(watching, plane, noon);
    for (const auto* inner : {"192.0.2.7", "192.0.2.8", "192.0.2.9"}) {
        ASSERT_TRUE(idle_table.install(tunnel(inner), noon));
    }
    plane.tunnels.at(address("192.0.2.7")).counters.last_seen_up = noon + seconds(50);
    auto page = idle_table.find_idle(noon + seconds(100), std::nullopt, 2);
    EXPECT_EQ(page.idle, std::vector{address("192.0.2.8")});
    ASSERT_EQ(page.next, address("192.0.2.9"));
    EXPECT_EQ(plane.counters_asked, 2u) << "a page costs a page";
    ASSERT_EQ(idle_table.remove(address("192.0.2.9"), 1), Removed::removed);
    ASSERT_TRUE(idle_table.install(tunnel("192.0.2.10"), noon));
    page = idle_table.find_idle(noon + seconds(100), page.next, 2);
    EXPECT_EQ(page.idle, std::vector{address("192.0.2.10")});
    EXPECT_EQ(page.next, std::nullopt);
}

TEST_F(TunnelTableTest, TunnelThatOnlyReceivesIsNotIdle) {
    auto watching = policy();
    watching.idle_time = seconds(100);
    TunnelTable idle_table(watching, plane, noon);
    ASSERT_TRUE(idle_table.install(tunnel("192.0.2.7"), noon));
    auto& counters = plane.tunnels.at(address("192.0.2.7")).counters;
    counters.last_seen_up = noon + seconds(1);
    counters.last_seen_down = noon + seconds(100);
    EXPECT_TRUE(idle_table.find_idle(noon + seconds(199), std::nullopt, 10).idle.empty());
    EXPECT_EQ(idle_table.find_idle(noon + seconds(200), std::nullopt, 10).idle.size(), 1u);
}

TEST_F(TunnelTableTest, IdlenessIsNotLookedForUnlessAsked) {
    must_install("192.0.2.7", 1);
    const auto later = noon + std::chrono::hours(1000);
    EXPECT_TRUE(table.find_idle(later, std::nullopt, 10).idle.empty());
}

TEST_F(TunnelTableTest, ListComesInPagesWithCounters) {
    for (const auto* inner : {"192.0.2.9", "192.0.2.7", "192.0.2.8"}) must_install(inner, 1);
    plane.tunnels.at(address("192.0.2.8")).counters = {1, 2, 3, 4, noon, noon + seconds(1)};

    auto page = table.list({std::nullopt, 2});
    ASSERT_EQ(page.tunnels.size(), 2u);
    EXPECT_EQ(page.tunnels[0].spec.inner, address("192.0.2.7"));
    EXPECT_EQ(page.tunnels[1], (teplink::ListedTunnel{tunnel("192.0.2.8"), 1, 2, 3, 4, noon,
                                                    noon + seconds(1)}));
    EXPECT_EQ(page.next, address("192.0.2.9"));
    EXPECT_EQ(plane.counters_asked, 2u) << "a page costs a page";
    page = table.list({page.next, 2});
    ASSERT_EQ(page.tunnels.size(), 1u);
    EXPECT_EQ(page.tunnels[0].spec.inner, address("192.0.2.9"));
    EXPECT_EQ(page.next, std::nullopt);
}

TEST_F(TunnelTableTest, TunnelsThatThePlaneHoldsAtStartAreTakenOver) {
    must_install("192.0.2.7", 5);
    TunnelTable restarted(policy(), plane, noon);
    EXPECT_EQ(restarted.size(), 1u);
    EXPECT_EQ(restarted.install(tunnel("192.0.2.7", 5), noon), Installed::unchanged);
    EXPECT_EQ(restarted.install(tunnel("192.0.2.7", 4), noon).error().code, ErrorCode::conflict);
}

// Beside the table a slow obvious one: random orders must not tell them apart.
TEST_F(TunnelTableTest, RandomOrdersLeaveWhatTheHighestGenerationsSay) {
    for (const unsigned seed : {1u, 2u, 3u, 4u, 5u}) {
        std::mt19937 random(seed);
        test::MemoryPlane memory;
        TunnelTable subject(policy(), memory, noon);
        SyncProgress parts;
        std::map<IpAddress, TunnelSpec> model;
        for (int round = 0; round < 3000; ++round) {
            const auto inner = "192.0.2." + std::to_string(10 + random() % 8);
            const Generation generation = 1 + random() % 50;
            const auto spec =
                tunnel(inner, generation, "2001:db8:1::" + std::to_string(1 + random() % 4));
            const auto at = model.find(spec.inner);
            const bool newer = at != model.end() && at->second.generation > generation;
            switch (random() % 3) {
                case 0:
                    EXPECT_EQ(subject.install(spec, noon).has_value(), !newer);
                    if (!newer) model[spec.inner] = spec;
                    break;
                case 1:
                    EXPECT_TRUE(subject.remove(spec.inner, generation));
                    if (!newer && at != model.end()) model.erase(at);
                    break;
                default:
                    EXPECT_TRUE(subject.sync(parts, {1, true, true, generation, {spec}}, noon));
                    std::erase_if(model, [&](const auto& each) {
                        return each.first != spec.inner && each.second.generation <= generation;
                    });
                    if (!newer) model[spec.inner] = spec;
            }
            std::map<IpAddress, TunnelSpec> held;
            for (const auto& [key, installed] : memory.tunnels) held[key] = installed.spec;
            ASSERT_EQ(held, model) << "seed " << seed << " round " << round;
            ASSERT_EQ(subject.size(), model.size());
        }
    }
}

}  // namespace
}  // namespace dstm::tep
