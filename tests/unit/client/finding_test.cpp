// Which servers are asked, in virtual time: found anew at each attempt, the last good one first.
#include <gtest/gtest.h>

#include "fake_world.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;
using What = Announce::What;

EngineConfig nothing_configured() {
    auto config = World::default_config();
    config.servers.clear();
    return config;
}

std::vector<std::string> hosts(const World& world) {
    std::vector<std::string> names;
    for (const auto& connect : world.connects) names.push_back(connect.server.host);
    return names;
}

TEST(ClientEngineFinding, ServersAreFoundAndTriedInTheirOrder) {
    World world(nothing_configured());
    world.found = {{"first.example", 3653}, {"second.example", 3700}};
    world.on_connect = [&world](const Connect& connect) {
        if (connect.server.host == "second.example") {
            world.events.push_back(SessionOpened{{home, 0}, world.peer});
        } else {
            world.events.push_back(SessionFailed{SessionFailed::Cause::unreachable, 0, "no", {}});
        }
    };
    world.tell(StartRequested{});
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(hosts(world), (std::vector<std::string>{"first.example", "second.example"}));
    EXPECT_EQ(world.connects.back().server.port, 3700);
    world.pass(1800s);
    EXPECT_EQ(world.count(What::renewed), 1U);
    EXPECT_EQ(world.connects.back().server.host, "second.example") << "it knows the lease";
}

TEST(ClientEngineFinding, EachAttemptLooksAnew) {
    World world(nothing_configured());
    world.found = {{"old.example", 3653}};
    world.reachable = false;
    world.tell(StartRequested{});
    world.found = {{"new.example", 3653}};
    world.reachable = true;
    world.pass(2s);
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(hosts(world), (std::vector<std::string>{"old.example", "new.example"}));
}

TEST(ClientEngineFinding, LastGoodServerIsFirstAlsoAfterTheLeaseHasEnded) {
    World world(nothing_configured());
    world.found = {{"first.example", 3653}, {"second.example", 3653}};
    bool first_works = false;
    world.on_connect = [&](const Connect& connect) {
        if (connect.server.host == "second.example" || first_works) {
            world.events.push_back(SessionOpened{{home, 0}, world.peer});
        } else {
            world.events.push_back(SessionFailed{SessionFailed::Cause::unreachable, 0, "no", {}});
        }
    };
    world.tell(StartRequested{});
    world.tell(StopRequested{});
    ASSERT_EQ(world.engine.state(), State::stopped);
    world.connects.clear();
    first_works = true;
    world.tell(StartRequested{});
    EXPECT_EQ(hosts(world), std::vector<std::string>{"second.example"});
}

TEST(ClientEngineFinding, LastGoodServerOfAnEarlierLifeIsFirstIfItIsStillNamed) {
    for (const bool is_named : {true, false}) {
        auto config = nothing_configured();
        config.last_good = Target{"second.example", 3653};
        World world(config);
        world.found = {{"first.example", 3653}};
        if (is_named) world.found.push_back({"second.example", 3653});
        world.tell(StartRequested{});
        EXPECT_EQ(hosts(world),
                  std::vector<std::string>{is_named ? "second.example" : "first.example"});
    }
}

TEST(ClientEngineFinding, LastGoodServerThatTheDnsNamesNoLongerIsNotAsked) {
    World world(nothing_configured());
    world.found = {{"old.example", 3653}};
    world.tell(StartRequested{});
    world.tell(StopRequested{});
    world.connects.clear();
    world.found = {{"new.example", 3653}};
    world.tell(StartRequested{});
    EXPECT_EQ(hosts(world), std::vector<std::string>{"new.example"});
}

// A DNS that is slow or out of reach after a move keeps nobody waiting.
TEST(ClientEngineFinding, RenewalAndMoveAskWhoeverGaveTheLeaseBeforeTheDns) {
    World world(nothing_configured());
    world.found = {{"first.example", 3653}};
    world.tell(StartRequested{});
    world.is_finding_slow = true;
    world.pass(1800s);
    EXPECT_EQ(world.count(What::renewed), 1U);
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_EQ(world.count(What::moved), 1U);
}

TEST(ClientEngineFinding, DnsIsAskedInTheSameAttemptWhenThatServerIsGone) {
    World world(nothing_configured());
    world.found = {{"old.example", 3653}};
    world.tell(StartRequested{});
    world.found = {{"old.example", 3653}, {"new.example", 3653}};
    world.on_connect = [&world](const Connect& connect) {
        if (connect.server.host == "new.example") {
            world.events.push_back(SessionOpened{{elsewhere, 0}, world.peer});
        } else {
            world.events.push_back(SessionFailed{SessionFailed::Cause::unreachable, 0, "no", {}});
        }
    };
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_EQ(hosts(world),
              (std::vector<std::string>{"old.example", "old.example", "new.example"}));
    EXPECT_EQ(world.count(What::failed), 0U);
    EXPECT_EQ(world.engine.state(), State::up);
}

// RFC 2131 s4.4.5: from T1 to T2 only who gave the lease. Another may give another address, and the
// connections of this host would end with a tunnel that works.
TEST(ClientEngineFinding, OutageAtARenewalLeavesTheTunnelWithWhoGaveItUntilTheLeaseIsNearlyOver) {
    for (const bool is_configured : {false, true}) {
        const std::vector<Target> servers{{"first.example", 3653}, {"second.example", 3653}};
        auto config = nothing_configured();
        if (is_configured) config.servers = servers;
        World world(config);
        world.found = servers;
        bool first_works = true;
        world.on_connect = [&](const Connect& connect) {
            if (connect.server.host == "second.example" || first_works) {
                world.events.push_back(SessionOpened{{home, 0}, world.peer});
            } else {
                world.events.push_back(
                    SessionFailed{SessionFailed::Cause::unreachable, 0, "no", {}});
            }
        };
        world.tell(StartRequested{});
        first_works = false;
        world.pass(3600s / 8 * 7 - 1s);
        EXPECT_GT(world.connects.size(), 15U) << "it is asked again and again";
        for (const auto& name : hosts(world)) EXPECT_EQ(name, "first.example");
        world.pass(61s, [&world] { return world.count(What::renewed) > 0; });
        EXPECT_EQ(world.connects.back().server.host, "second.example");
        EXPECT_EQ(world.count(What::renewed), 1U);
    }
}

TEST(ClientEngineFinding, TunnelThatCarriesNothingGoesToAnyServerAtOnce) {
    auto config = World::default_config();
    config.servers = {{"first.example", 3653}, {"second.example", 3653}};
    World world(config);
    world.tell(StartRequested{});
    world.on_connect = [&](const Connect& connect) {
        if (connect.server.host == "second.example") {
            world.events.push_back(SessionOpened{{home, 0}, world.peer});
        } else {
            world.events.push_back(SessionFailed{SessionFailed::Cause::unreachable, 0, "no", {}});
        }
    };
    world.echo_answers = false;
    world.pass(5min, [&world] { return world.count(What::keepalive_lost) == 1; });
    EXPECT_EQ(world.connects.back().server.host, "second.example");
    EXPECT_EQ(world.count(What::renewed), 1U);
}

TEST(ClientEngineFinding, RefusalOfTheOnlyServerThatIsFoundKeepsItsStatus) {
    World world(nothing_configured());
    world.found = {{"first.example", 3653}};
    world.tell(StartRequested{});
    world.create_status = 303;
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    ASSERT_NE(world.last(What::refused), nullptr);
    EXPECT_EQ(world.last(What::refused)->status, 303);
    EXPECT_TRUE(world.last(What::refused)->permanent);
    EXPECT_EQ(world.count(What::failed), 0U);
}

// --- the other addresses of one server -----------------------------------------------------------

TEST(ClientEngineAddresses, NextOneIsAskedForWhateverOneMachineCannotDo) {
    for (const auto cause : {SessionFailed::Cause::unreachable, SessionFailed::Cause::lost,
                             SessionFailed::Cause::local, SessionFailed::Cause::refused}) {
        World world;
        world.on_connect = [&](const Connect& connect) {
            if (connect.is_elsewhere) {
                world.events.push_back(SessionOpened{{home, 0}, world.peer});
            } else {
                SessionFailed failed{cause, 530, "no", {}};
                failed.has_others = true;
                world.events.push_back(failed);
            }
        };
        world.tell(StartRequested{});
        EXPECT_EQ(world.connects.size(), 2U);
        EXPECT_EQ(world.connects.back().server.host, "dstm.example");
        EXPECT_EQ(world.engine.state(), State::up);
        EXPECT_EQ(world.count(What::retrying), 0U) << "in one attempt";
    }
}

TEST(ClientEngineAddresses, CreateThatIsRefusedByOneMachineGoesToTheNext) {
    for (const auto status : std::vector<std::uint16_t>{310, 521, 530, 300, 301, 303, 507}) {
        World world;
        world.create_status = status;
        world.on_connect = [&](const Connect& connect) {
            if (connect.is_elsewhere) world.create_status = 200;
            world.events.push_back(SessionOpened{{home, 0}, world.peer, !connect.is_elsewhere});
        };
        world.tell(StartRequested{});
        const bool is_of_one_machine = status == 310 || status == 521 || status == 530;
        EXPECT_EQ(world.connects.size(), is_of_one_machine ? 2U : 1U) << status;
        EXPECT_EQ(world.engine.state(), is_of_one_machine ? State::up : State::waiting) << status;
    }
}

TEST(ClientEngineAddresses, EachHasItsTimeAndTheLastOneEndsTheAttempt) {
    World world;
    unsigned number = 0;
    world.on_connect = [&](const Connect&) { ++number; };
    world.tell(StartRequested{});
    for (unsigned i = 0; i < 3; ++i) {
        world.pass(40s);
        EXPECT_EQ(world.count(What::failed), 0U) << i;
        SessionFailed failed{SessionFailed::Cause::lost, 0, "silent", {}};
        failed.has_others = i < 2;
        world.tell(failed);
    }
    EXPECT_EQ(number, 3U);
    EXPECT_EQ(world.count(What::failed), 1U);
    EXPECT_EQ(world.engine.state(), State::waiting);
}

// --- what is found -------------------------------------------------------------------------------

TEST(ClientEngineFinding, NothingFoundIsSaidAndTriedAgain) {
    World world(nothing_configured());
    world.tell(StartRequested{});
    EXPECT_EQ(world.engine.state(), State::waiting);
    EXPECT_EQ(world.engine.last_error(), "the DNS names none");
    world.found = {{"late.example", 3653}};
    world.pass(2s);
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientEngineFinding, WhatWasFoundOnceServesWhileTheDnsDoesNot) {
    World world(nothing_configured());
    world.found = {{"first.example", 3653}};
    world.tell(StartRequested{});
    world.found.clear();
    world.pass(1800s);
    EXPECT_EQ(world.count(What::renewed), 1U);
}

TEST(ClientEngineFinding, StopAndLateAnswersDuringTheSearchDoNoHarm) {
    World world(nothing_configured());
    world.is_finding_slow = true;
    world.tell(StartRequested{});
    EXPECT_EQ(world.engine.state(), State::connecting);
    world.tell(StopRequested{});
    EXPECT_EQ(world.engine.state(), State::stopped);
    world.tell(ServersFound{{{"late.example", 3653}}, {}});
    EXPECT_EQ(world.engine.state(), State::stopped);
    EXPECT_TRUE(world.connects.empty());
}

TEST(ClientEngineFinding, SearchThatNeverEndsIsGivenUp) {
    World world(nothing_configured());
    world.is_finding_slow = true;
    world.tell(StartRequested{});
    world.pass(60s);
    EXPECT_EQ(world.engine.state(), State::waiting);
}

}  // namespace
}  // namespace dstm::client
