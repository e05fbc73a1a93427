// A host that moves, is noisy or sleeps, in virtual time (docs/decisions/moves-and-sleep.md).
#include <gtest/gtest.h>

#include "fake_world.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;
using What = Announce::What;

// --- moves ---------------------------------------------------------------------------------------

TEST(ClientEngine, MoveSignalsAtOnceFromTheNewAddressAndKeepsTheInnerOne) {
    World world;
    world.tell(StartRequested{});
    const auto moved_at = world.now.at;
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_EQ(world.count(What::moved), 1U);
    EXPECT_EQ(world.connected_at.back(), moved_at);
    EXPECT_EQ(world.spec.outer_client.address, IpAddress(elsewhere));
    EXPECT_EQ(world.spec.inner, IpAddress(*Ipv4Address::parse("192.0.2.7")));
    EXPECT_EQ(world.count(What::down), 0U);
}

TEST(ClientEngine, FlappingAddressIsDamped) {
    World world;
    world.tell(StartRequested{});
    for (int i = 0; i < 50; ++i) {
        world.source = i % 2 == 0 ? elsewhere : home;
        world.tell(OuterAddressChanged{world.source});
        world.pass(20ms);
    }
    EXPECT_LE(world.connects.size(), 4U);
    world.pass(3s);
    EXPECT_EQ(world.engine.binding()->outer.address, world.source);
}

TEST(ClientEngine, OneMoveThatIsReportedInPiecesIsOneMove) {
    World world;
    world.tell(StartRequested{});
    world.source = elsewhere;
    world.on_connect = [](const Connect&) {};  // it takes its time
    world.tell(OuterAddressChanged{elsewhere});
    world.tell(OuterAddressChanged{elsewhere});
    world.tell(SessionOpened{{elsewhere, 0}, world.peer});
    EXPECT_EQ(world.count(What::moved), 1U);
    world.pass(10s);
    EXPECT_EQ(world.connects.size(), 2U);
    EXPECT_EQ(world.count(What::renewed), 0U);
}

// The server answers the dialogues below when the test says so.
struct SlowServer : World {
    SlowServer() {
        tell(StartRequested{});
        on_connect = [](const Connect&) {};
        pass(40s);  // the session is closed
    }
    void go(const Ipv6Address& to) {
        source = to;
        tell(OuterAddressChanged{to});
    }
    void answer(const Ipv6Address& from) {
        offer = [this, from] { return offer_message(inner, from, 3600); };
        tell(SessionOpened{{from, 0}, peer});
        offer = nullptr;
    }
};

TEST(ClientEngine, MoveAndBackFasterThanOneDialogueEndsWhereTheHostIs) {
    SlowServer world;
    world.go(elsewhere);
    world.pass(100ms);
    world.go(home);
    world.pass(100ms);
    world.answer(elsewhere);
    EXPECT_EQ(world.spec.outer_client.address, IpAddress(elsewhere)) << "it had been asked for";
    world.on_connect = nullptr;
    world.pass(1s);
    EXPECT_EQ(world.engine.binding()->outer.address, IpAddress(home));
    EXPECT_EQ(world.connects.size(), 3U);
}

TEST(ClientEngine, MoveAndBackEndsADialogueThatWouldNeverEnd) {
    SlowServer world;
    world.go(elsewhere);
    world.pass(100ms);
    world.go(home);
    world.on_connect = nullptr;
    world.pass(1s);
    EXPECT_EQ(world.connects.size(), 3U);
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(world.engine.binding()->outer.address, IpAddress(home));
}

TEST(ClientEngine, MoveAndBackAndThereAgainNeedsNoOtherDialogue) {
    SlowServer world;
    world.go(elsewhere);
    world.go(home);
    world.go(elsewhere);
    world.answer(elsewhere);
    world.pass(20s);
    EXPECT_EQ(world.connects.size(), 2U);
    EXPECT_EQ(world.engine.binding()->outer.address, IpAddress(elsewhere));
}

TEST(ClientEngine, MoveWhileAServerAnswersSlowlyIsMadeFromTheNewPlace) {
    SlowServer world;
    world.fault = World::Fault::silence;
    world.fault_step = world.step + 1;
    world.go(elsewhere);
    world.answer(elsewhere);  // it is asked, and says nothing
    world.pass(2s);
    world.on_connect = nullptr;
    world.go(home);
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(world.engine.binding()->outer.address, IpAddress(home));
}

TEST(ClientEngine, MoveDuringTheFirstAttemptBeginsAnother) {
    for (const bool has_session : {false, true}) {
        World world;
        world.on_connect = [](const Connect&) {};
        world.fault = World::Fault::silence;
        world.fault_step = has_session ? 1 : 0;  // the create
        world.tell(StartRequested{});
        if (has_session) world.tell(SessionOpened{{home, 0}, world.peer});
        world.tell(OuterAddressChanged{home});
        EXPECT_EQ(world.connects.size(), 1U) << "nothing has moved";
        world.on_connect = nullptr;
        world.source = elsewhere;
        world.tell(OuterAddressChanged{elsewhere});
        EXPECT_EQ(world.connects.size(), 2U) << has_session;
        EXPECT_EQ(world.engine.state(), State::up) << has_session;
    }
}

TEST(ClientEngine, AddressThatGoesAndComesBackBeginsTheFirstAttemptAnew) {
    World world;
    world.on_connect = [](const Connect&) {};
    world.tell(StartRequested{});
    world.tell(OuterAddressChanged{std::nullopt});
    EXPECT_EQ(world.connects.size(), 1U) << "there is nowhere to ask from";
    world.on_connect = nullptr;
    world.tell(OuterAddressChanged{home});
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientEngine, SameAddressIsNoMove) {
    World world;
    world.tell(StartRequested{});
    world.tell(OuterAddressChanged{home});
    EXPECT_EQ(world.connects.size(), 1U);
}

TEST(ClientEngine, NewAddressEndsTheWaitForARetry) {
    World world;
    world.reachable = false;
    world.tell(StartRequested{});
    world.pass(5min);
    world.reachable = true;
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientEngine, ReportsThatChangeNothingLeaveTheBackOffAlone) {
    World quiet;
    World chatty;
    for (World* world : {&quiet, &chatty}) {
        world->reachable = false;
        world->tell(StartRequested{});
    }
    for (int second = 0; second < 600; ++second) {
        chatty.tell(OuterAddressChanged{home});
        chatty.pass(1s);
    }
    quiet.pass(600s);
    EXPECT_EQ(chatty.connects.size(), quiet.connects.size());
    EXPECT_LT(chatty.connects.size(), 30U);
}

TEST(ClientEngine, NetworkThatComesBackEndsTheWaitForARetry) {
    World world;
    world.reachable = false;
    world.tell(StartRequested{});
    world.pass(5min);
    world.tell(OuterAddressChanged{std::nullopt});
    world.reachable = true;
    world.tell(OuterAddressChanged{home});
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientEngine, MoveWhileARenewalWaitsForItsRetryIsMadeAtOnce) {
    World world;
    world.tell(StartRequested{});
    world.reachable = false;
    world.pass(2400s);
    ASSERT_EQ(world.engine.state(), State::renewing);
    world.reachable = true;
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_EQ(world.count(What::moved), 1U);
}

TEST(ClientEngine, AnotherEndpointAtARenewalIsAMove) {
    World world;
    world.tell(StartRequested{});
    world.offer = [] {
        auto message = offer_message("192.0.2.7", home, 3600);
        message.server->addresses[1].text = "2001:db8:2::2";
        return message;
    };
    world.tell(RenewRequested{});
    EXPECT_EQ(world.count(What::moved), 1U) << "its path is new";
    EXPECT_EQ(world.count(What::renewed), 0U);
    world.tell(RenewRequested{});
    EXPECT_EQ(world.count(What::renewed), 1U);
}

// --- sleep ---------------------------------------------------------------------------------------

TEST(ClientEngine, SleepPastTheEndOfTheLeaseEndsTheTunnelAtOnceAndAsksAgain) {
    for (const Duration slept_at : {Duration(5s), 30s + 5ms, 1800s + 5ms}) {
        World world;
        world.tell(StartRequested{});
        world.echo_answers = false;
        world.on_connect = [](const Connect&) {};
        world.pass(slept_at);
        world.announced.clear();
        world.now.at += 3600s;
        world.now.wall += 3600s;
        world.tell(TimePassed{});
        EXPECT_TRUE(world.host_is_clean());
        EXPECT_EQ(world.count(What::down), 1U);
        EXPECT_EQ(world.count(What::keepalive_lost), 0U);
        EXPECT_EQ(world.engine.state(), State::connecting);
        world.tell(SessionOpened{{home, 0}, world.peer});
        EXPECT_EQ(world.engine.state(), State::up);
    }
}

TEST(ClientEngine, KeepaliveThatAHostSleptThroughIsNoLossAndTheNextIsSentAtOnce) {
    World world;
    world.tell(StartRequested{});
    world.echo_answers = false;
    world.pass(5min, [&world] { return world.echoes.size() == 3; });
    world.now.at += 10min;
    world.now.wall += 10min;
    world.echo_answers = true;
    world.tell(TimePassed{});
    EXPECT_EQ(world.count(What::keepalive_lost), 0U) << "two lost, one slept through";
    EXPECT_EQ(world.echoes.size(), 4U);
    EXPECT_EQ(world.connects.size(), 1U);
    EXPECT_EQ(world.engine.state(), State::up);
}

// RFC 2131 s4.4.5 has the same rule: what the server counts from must not be later.
TEST(ClientEngine, LeaseIsCountedFromWhenItWasAskedFor) {
    World world;
    world.fault = World::Fault::silence;
    world.fault_step = 2;
    world.tell(StartRequested{});
    const auto asked_at = world.now.at;
    world.pass(8s);
    world.tell(Answered{200, "", offer_message("192.0.2.7", home, 3600), {}});
    EXPECT_EQ(world.engine.binding()->ends_at, asked_at + 3600s);
}

}  // namespace
}  // namespace dstm::client
