// The client's life in virtual time: each test is one script (docs: client/engine.hpp).
#include <gtest/gtest.h>

#include "fake_world.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;
using What = Announce::What;

TEST(ClientEngine, StartLeadsToATunnelAndStopGivesEverythingBack) {
    World world;
    world.tell(StartRequested{});
    ASSERT_EQ(world.engine.state(), State::up);
    EXPECT_TRUE(world.leased);
    EXPECT_TRUE(world.routes);
    EXPECT_EQ(world.spec.inner, IpAddress(*Ipv4Address::parse("192.0.2.7")));
    EXPECT_EQ(world.spec.outer_client.address, IpAddress(home));
    EXPECT_EQ(world.spec.outer_server, IpAddress(*Ipv6Address::parse("2001:db8:2::1")));
    EXPECT_EQ(world.spec.expires_at, WallTime::max());  // the engine ends it, not the wall clock
    ASSERT_EQ(world.commands.size(), 2U);
    EXPECT_EQ(world.commands[1].action, tsp::Action::accept);

    world.tell(StopRequested{});
    EXPECT_EQ(world.engine.state(), State::stopped);
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_FALSE(world.leased);
    EXPECT_EQ(world.connects.size(), 1U) << "the young session carries the delete";
    EXPECT_FALSE(world.engine.deadline());
}

// RFC 5572 s4.7.2 (N10): over IPv6 only the IPv6 address, which is the connection's own.
TEST(ClientEngine, RequestHoldsTheConnectionsSourceAddressOnly) {
    World world;
    world.tell(StartRequested{});
    const auto& create = world.commands.at(0);
    EXPECT_EQ(create.action, tsp::Action::create);
    EXPECT_EQ(create.type, tsp::RequestType::v4v6);
    ASSERT_EQ(create.client->addresses.size(), 1U);
    EXPECT_EQ(create.client->addresses[0].text, home.to_string());
    EXPECT_EQ(create.client->keepalive->interval_s, 30U);
    EXPECT_EQ(create.host_id, "0123456789abcdef0123456789abcdef");
}

TEST(ClientEngine, RenewsAtHalfOfTheLease) {
    World world;
    world.tell(StartRequested{});
    world.pass(1799s);
    EXPECT_EQ(world.count(What::renewed), 0U);
    world.pass(1s);
    EXPECT_EQ(world.count(What::renewed), 1U);
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(world.spec.expires_at, WallTime::max());  // the engine ends it, not the wall clock
}

// RFC 5572 s4.7.1 against Figure 13: minutes or seconds; from an unknown server the smaller.
TEST(ClientEngine, LifetimeOfAnUnknownServerIsTakenAsSeconds) {
    World world;
    world.lease_seconds.reset();
    world.tell(StartRequested{});
    EXPECT_EQ(world.engine.binding()->offer.lease, 1440s);
    ASSERT_NE(world.last(What::lifetime_guessed), nullptr);
    EXPECT_EQ(world.last(What::lifetime_guessed)->text, "1440");
    world.pass(720s);
    EXPECT_EQ(world.count(What::renewed), 1U);
}

TEST(ClientEngine, SignallingConnectionIsClosedWhenIdleAndTheTunnelLivesOn) {
    World world;
    world.tell(StartRequested{});
    EXPECT_TRUE(world.session);
    world.pass(31s);
    EXPECT_FALSE(world.session);
    EXPECT_EQ(world.engine.state(), State::up);
    world.tell(StopRequested{});
    EXPECT_EQ(world.connects.size(), 2U) << "the delete goes over a new connection";
    EXPECT_FALSE(world.leased);
}

TEST(ClientEngine, ServerMayCloseTheConnectionAfterAccept) {
    World world;
    world.tell(StartRequested{});
    world.tell(SessionFailed{SessionFailed::Cause::lost, 0, "closed", {}});
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_FALSE(world.host_is_clean());
}

TEST(ClientEngine, RenewalOnAnOldConnectionThatIsDeadIsTriedOnANewOneAtOnce) {
    World world;
    world.tell(StartRequested{});
    world.fault_step = world.step + 1;
    world.fault = World::Fault::lost;
    world.tell(RenewRequested{});
    EXPECT_EQ(world.faulty, "create");
    EXPECT_EQ(world.count(What::renewed), 1U);
    EXPECT_EQ(world.count(What::retrying), 0U);
    EXPECT_EQ(world.connects.size(), 2U);
}

TEST(ClientEngine, RenewalIsRetriedUntilTheLeaseEndsThenTheTunnelGoesAndItStartsAnew) {
    World world;
    world.echo_answers = true;
    world.tell(StartRequested{});
    world.reachable = false;
    world.pass(3599s);
    EXPECT_EQ(world.engine.state(), State::renewing);
    EXPECT_FALSE(world.host_is_clean());
    EXPECT_GT(world.count(What::retrying), 20U);
    world.pass(2s);
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_EQ(world.count(What::down), 1U);
    EXPECT_EQ(world.engine.state(), State::waiting);
    world.reachable = true;
    world.pass(61s);
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(world.count(What::up), 2U);
}

TEST(ClientEngine, ServerThatIsAwayForAnHourCostsNothingWhileTheLeaseLasts) {
    World world;
    world.lease_seconds = 3 * 3600;
    world.tell(StartRequested{});
    ASSERT_EQ(world.engine.state(), State::up);
    const auto inner = world.installed;
    world.pass(80min);
    world.reachable = false;  // over the renewal, which is due at 90 min
    world.pass(1h, [&world] { return !world.routes || !world.installed; });
    EXPECT_TRUE(world.routes && world.installed) << "the tunnel stays for as long as its lease";
    EXPECT_GE(world.count(What::retrying), 25U) << "at most a minute apart";
    EXPECT_LE(world.count(What::retrying), 120U);
    world.reachable = true;
    world.pass(61s, [&world] { return world.count(What::renewed) > 0; });
    EXPECT_EQ(world.count(What::renewed), 1U) << "it comes back by itself, within a minute";
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(world.installed, inner);
    EXPECT_EQ(world.count(What::down), 0U);
}

TEST(ClientEngine, ServerThatIsAwayForAnHourTakesTheTunnelWithTheLeaseAndGivesItBack) {
    World world;
    world.lease_seconds = 1800;
    world.tell(StartRequested{});
    world.reachable = false;
    world.pass(1800s - 1ms);
    EXPECT_FALSE(world.host_is_clean()) << "until the last moment of the lease";
    world.pass(1ms);
    world.tell(TimePassed{});
    EXPECT_TRUE(world.host_is_clean()) << "the address may be another's now";
    EXPECT_EQ(world.count(What::down), 1U);
    world.pass(30min);
    world.reachable = true;
    world.pass(61s, [&world] { return world.engine.state() == State::up; });
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(world.count(What::up), 2U);
}

TEST(ClientEngine, BackOffDoublesFromOneSecondToSixtyWithJitter) {
    World world;
    world.reachable = false;
    world.tell(StartRequested{});
    world.pass(10min);
    std::vector<Duration> waits;
    for (const auto& announcement : world.announced) {
        if (announcement.what == What::retrying) waits.push_back(announcement.in);
    }
    ASSERT_GT(waits.size(), 10U);
    Duration expected = 1s;
    bool has_jitter = false;
    for (const auto wait : waits) {
        EXPECT_GE(wait, expected / 2);
        EXPECT_LE(wait, expected);
        has_jitter = has_jitter || (wait != expected && wait != expected / 2);
        expected = std::min<Duration>(expected * 2, 60s);
    }
    EXPECT_TRUE(has_jitter);
}

TEST(ClientEngine, AnotherAddressAtRenewalReplacesTheTunnel) {
    World world;
    world.tell(StartRequested{});
    world.inner = "192.0.2.8";
    world.tell(RenewRequested{});
    EXPECT_EQ(world.installed, IpAddress(*Ipv4Address::parse("192.0.2.8")));
    EXPECT_TRUE(world.routes);
    EXPECT_EQ(world.count(What::down), 1U);
    EXPECT_EQ(world.count(What::up), 2U);
}

TEST(ClientEngine, GenerationGrowsWithEveryInstall) {
    World world;
    world.tell(StartRequested{});
    const auto first = world.spec.generation;
    EXPECT_GT(first, 0U);
    world.tell(RenewRequested{});
    EXPECT_GT(world.spec.generation, first);
}

// --- refusals ------------------------------------------------------------------------------------

TEST(ClientEngine, RefusalThatWillStandEndsTheLifeOfWhoAsksForAPerson) {
    for (const auto code : std::vector<std::uint16_t>{300, 302, 303, 500, 501, 502, 507}) {
        auto config = World::default_config();
        config.ends_on_refusal = true;
        World world(config);
        world.create_status = code;
        world.tell(StartRequested{});
        EXPECT_EQ(world.engine.state(), State::stopped) << code;
        ASSERT_NE(world.last(What::refused), nullptr) << code;
        EXPECT_TRUE(world.last(What::refused)->permanent) << code;
        EXPECT_EQ(world.last(What::refused)->status, code);
        EXPECT_FALSE(world.session) << code;
        EXPECT_FALSE(world.engine.deadline()) << code;
    }
}

TEST(ClientEngine, DaemonRetriesARefusalThatWillStandSlowly) {
    World world;
    world.create_status = 300;
    world.tell(StartRequested{});
    EXPECT_EQ(world.engine.state(), State::waiting);
    EXPECT_GE(world.last(What::retrying)->in, 150s);
    world.create_status = 200;
    world.pass(301s);
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientEngine, PassingRefusalsAreRetriedSoonAlsoForAPerson) {
    for (const auto code : std::vector<std::uint16_t>{301, 310, 506, 521, 530, 399}) {
        auto config = World::default_config();
        config.ends_on_refusal = true;
        World world(config);
        world.create_status = code;
        world.tell(StartRequested{});
        EXPECT_EQ(world.engine.state(), State::waiting) << code;
        EXPECT_LE(world.last(What::retrying)->in, 1s) << code;
        world.create_status = 200;
        world.pass(2s);
        EXPECT_EQ(world.engine.state(), State::up) << code;
    }
}

TEST(ClientEngine, RefusedRenewalKeepsTheTunnelUntilTheLeaseEnds) {
    auto config = World::default_config();
    config.ends_on_refusal = true;
    World world(config);
    world.tell(StartRequested{});
    world.create_status = 300;
    world.pass(3599s);
    EXPECT_FALSE(world.host_is_clean());
    world.pass(1s);
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_EQ(world.engine.state(), State::stopped);
}

TEST(ClientEngine, UnusableOfferIsRejectedAndRetried) {
    World world;
    world.inner = "127.0.0.1";
    world.tell(StartRequested{});
    EXPECT_EQ(world.commands.back().action, tsp::Action::reject);
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_EQ(world.engine.state(), State::waiting);
}

// --- redirects -----------------------------------------------------------------------------------

tsp::Broker broker(const std::string& name, tsp::AddressType type = tsp::AddressType::dn) {
    return {{{type, name, std::nullopt}}};
}

TEST(ClientEngine, RedirectIsFollowedAndTheNewServerIsAskedForTheRenewal) {
    World world;
    world.create_status = 301;
    world.create_brokers = {broker("192.0.2.99", tsp::AddressType::ipv4), broker("Other.example")};
    world.tell(StartRequested{});
    ASSERT_EQ(world.connects.size(), 2U);
    EXPECT_EQ(world.connects[1].server, (Target{"other.example", 3653}));
}

TEST(ClientEngine, RenewalGoesToTheServerThatGaveTheLease) {
    World world;
    world.on_connect = [&world](const Connect& connect) {
        if (connect.server.host == "dstm.example") {
            world.events.push_back(SessionFailed{SessionFailed::Cause::refused, 302, "moved",
                                                 {broker("other.example")}});
            return;
        }
        world.events.push_back(SessionOpened{{home, 0}, world.peer});
    };
    world.tell(StartRequested{});
    ASSERT_EQ(world.engine.state(), State::up);
    world.pass(1800s);
    ASSERT_EQ(world.count(What::renewed), 1U);
    EXPECT_EQ(world.connects.back().server.host, "other.example");
}

TEST(ClientEngine, RedirectsInACircleAreNoticed) {
    World world;
    world.on_connect = [&world](const Connect& connect) {
        const auto* next = connect.server.host == "dstm.example" ? "a.example" : "dstm.example";
        world.events.push_back(
            SessionFailed{SessionFailed::Cause::refused, 301, "full", {broker(next)}});
    };
    world.tell(StartRequested{});
    EXPECT_EQ(world.connects.size(), 2U);
    EXPECT_EQ(world.engine.state(), State::waiting);
    EXPECT_NE(world.engine.last_error().find("circle"), std::string::npos);
}

TEST(ClientEngine, NoMoreThanFiveRedirectsAreFollowed) {
    World world;
    unsigned number = 0;
    world.on_connect = [&](const Connect&) {
        const auto next = "s" + std::to_string(++number) + ".example";
        world.events.push_back(
            SessionFailed{SessionFailed::Cause::refused, 301, "full", {broker(next)}});
    };
    world.tell(StartRequested{});
    EXPECT_EQ(world.connects.size(), 6U);
    EXPECT_EQ(world.engine.state(), State::waiting);
}

TEST(ClientEngine, RedirectToIpv4AloneIsOfNoUse) {
    World world;
    world.create_status = 301;
    world.create_brokers = {broker("192.0.2.99", tsp::AddressType::ipv4)};
    world.tell(StartRequested{});
    EXPECT_EQ(world.connects.size(), 1U);
    EXPECT_EQ(world.engine.state(), State::waiting);
}

// --- keepalive -----------------------------------------------------------------------------------

// RFC 5572 s4.6 (N6, N7, N8): to the broker's address, at its interval, jitter in [0.75T, T].
TEST(ClientEngine, KeepaliveKeepsTheBrokersIntervalWithJitter) {
    World world;
    world.lease_seconds = 360000;
    world.tell(StartRequested{});
    world.pass(3h);
    ASSERT_GT(world.echoed_at.size(), 300U);
    Duration shortest = 1h;
    Duration longest = 0s;
    for (std::size_t i = 1; i < world.echoed_at.size(); ++i) {
        const auto gap = world.echoed_at[i] - world.echoed_at[i - 1];
        shortest = std::min(shortest, gap);
        longest = std::max(longest, gap);
    }
    EXPECT_GE(shortest, 22500ms);
    EXPECT_LE(longest, 30s);
    EXPECT_LT(shortest, 23500ms) << "the whole range is used";
    EXPECT_GT(longest, 29s);
    EXPECT_EQ(world.echoes[0].to, IpAddress(*Ipv4Address::parse("192.0.2.1")));
    EXPECT_EQ(world.echoes[0].from, IpAddress(*Ipv4Address::parse("192.0.2.7")));
}

TEST(ClientEngine, ThreeMissesInARowSignalAgainAndTwoDoNot) {
    World world;
    world.tell(StartRequested{});
    world.echo_answers = false;
    world.pass(10min, [&world] { return world.echoes.size() == 2; });
    world.pass(6s);
    world.echo_answers = true;
    world.pass(5min);
    EXPECT_EQ(world.count(What::keepalive_lost), 0U);

    world.echo_answers = false;
    const auto before = world.connects.size();
    world.pass(10min, [&world] { return world.count(What::keepalive_lost) == 1; });
    EXPECT_EQ(world.connects.size(), before + 1);
    EXPECT_EQ(world.count(What::renewed), 1U);
    EXPECT_FALSE(world.host_is_clean()) << "the tunnel stands while it signals";
}

TEST(ClientEngine, NoKeepaliveIsWhatWhoWishesNoneGets) {
    auto config = World::default_config();
    config.wishes.keepalive_s = 0;
    World world(config);
    world.tell(StartRequested{});
    world.pass(10min);
    EXPECT_TRUE(world.echoes.empty());
    EXPECT_TRUE(world.engine.binding()->offer.keepalive_to) << "the path is measured";
}

// --- stop ----------------------------------------------------------------------------------------

TEST(ClientEngine, StopEndsInFiveSecondsWhenTheServerIsSilent) {
    World world;
    world.tell(StartRequested{});
    world.pass(60s);
    world.fault_step = world.step + 1;
    world.fault = World::Fault::silence;
    const auto asked_at = world.now.at;
    world.tell(StopRequested{});
    EXPECT_TRUE(world.host_is_clean()) << "the host is clean before anybody answers";
    EXPECT_EQ(world.engine.state(), State::tearing_down);
    world.pass(1h, [&world] { return world.engine.state() == State::stopped; });
    EXPECT_LE(world.now.at - asked_at, 5s);
    EXPECT_EQ(world.count(What::lease_not_returned), 1U);
}

TEST(ClientEngine, DeleteThatFindsTheServerBusyIsRepeatedWithinTheBound) {
    World world;
    world.tell(StartRequested{});
    world.fault_step = world.step + 1;
    world.fault = World::Fault::temporary;
    world.tell(StopRequested{});
    EXPECT_TRUE(world.leased);
    world.pass(5s, [&world] { return world.engine.state() == State::stopped; });
    EXPECT_FALSE(world.leased);
    EXPECT_EQ(world.count(What::lease_not_returned), 0U);
}

TEST(ClientEngine, StopWhileWaitingOrConnectingIsImmediate) {
    World world;
    world.reachable = false;
    world.tell(StartRequested{});
    ASSERT_EQ(world.engine.state(), State::waiting);
    world.tell(StopRequested{});
    EXPECT_EQ(world.engine.state(), State::stopped);

    World connecting;
    connecting.on_connect = [](const Connect&) {};
    connecting.tell(StartRequested{});
    ASSERT_EQ(connecting.engine.state(), State::connecting);
    connecting.tell(StopRequested{});
    EXPECT_EQ(connecting.engine.state(), State::stopped);
    EXPECT_FALSE(connecting.session);
}

TEST(ClientEngine, DialogueThatNeverEndsIsGivenUp) {
    World world;
    world.on_connect = [](const Connect&) {};
    world.tell(StartRequested{});
    world.pass(60s);
    EXPECT_EQ(world.engine.state(), State::waiting);
}

TEST(ClientEngine, AnUnusableLeaseGoesBackOnANewConnectionIfTheOldOneDiedMeanwhile) {
    World world;
    world.fault_step = 3;  // the install, and the delete after it
    world.faults = 2;
    world.fault = World::Fault::lost;
    world.tell(StartRequested{});
    EXPECT_EQ(world.faulty, "delete");
    EXPECT_EQ(world.connects.size(), 2U);
    EXPECT_FALSE(world.leased);
    EXPECT_TRUE(world.host_is_clean());
}

// --- fail every step -----------------------------------------------------------------------------

// A whole life with each of its steps failing in each way; at the end nothing of ours is left on
// the host, and the lease is back unless it was the giving back that failed.
TEST(ClientEngine, WhicheverStepFailsNothingOfOursIsLeft) {
    using Fault = World::Fault;
    for (const bool for_a_person : {false, true}) {
        for (const auto fault : {Fault::lost, Fault::temporary, Fault::silence}) {
            for (unsigned step = 1; step < 64; ++step) {
                auto config = World::default_config();
                config.ends_on_refusal = for_a_person;
                World world(config);
                world.fault_step = step;
                world.fault = fault;
                world.tell(StartRequested{});
                world.pass(40s);  // the session has been closed by then
                world.tell(OuterAddressChanged{elsewhere});
                world.pass(1900s);
                const bool stopped_itself = world.engine.state() == State::stopped;
                world.tell(StopRequested{});
                world.pass(10s);
                const auto where = testing::Message() << "step " << step << " (" << world.faulty
                                                      << ") fault " << static_cast<int>(fault);
                EXPECT_EQ(world.engine.state(), State::stopped) << where;
                EXPECT_TRUE(world.host_is_clean()) << where;
                EXPECT_FALSE(world.session) << where;
                EXPECT_FALSE(world.engine.deadline()) << where;
                const bool was_last = step == world.step;
                EXPECT_TRUE(was_last || !world.leased) << where;
                EXPECT_TRUE(for_a_person || !stopped_itself) << where;
                if (world.faulty.empty()) {
                    EXPECT_GT(step, 10U) << "the life has this many steps at least";
                    break;
                }
            }
        }
    }
}

}  // namespace
}  // namespace dstm::client
