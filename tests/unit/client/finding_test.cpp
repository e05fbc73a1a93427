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
