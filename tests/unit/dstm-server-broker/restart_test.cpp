// The server dies, Kea dies, an endpoint dies: what must hold afterwards (design: when things die).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/broker_world.hpp"

namespace dstm::support {
namespace {

using testing::Contains;
using testing::Each;
using testing::IsEmpty;
using testing::Not;
using tsp::Status;

const char* const home = "2001:db8:1::a";

class BrokerRestart : public testing::Test {
protected:
    BrokerRestart() {
        world.add_endpoint("tep1");
        world.start_server();
        world.scheduler.run_for(std::chrono::seconds(1));
        for (int i = 1; i <= 3; ++i) {
            const std::string n = std::to_string(i);
            addresses.push_back(world.set_up("user" + n, "2001:db8:1::" + n).value());
        }
        tunnels = &world.endpoints.at("tep1").tunnels;
        before = *tunnels;
    }
    BrokerWorld world;
    std::vector<IpAddress> addresses;
    std::map<IpAddress, TunnelSpec>* tunnels = nullptr;
    std::map<IpAddress, TunnelSpec> before;
};

TEST_F(BrokerRestart, ServerKnowsEveryTunnelAgainAndTouchesNone) {
    world.kill_server();
    world.start_server();
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(world.broker().status().bindings, 3U);
    EXPECT_EQ(*tunnels, before);
    EXPECT_THAT(world.problems(), IsEmpty());
    EXPECT_EQ(world.audit.records.size(), 3U);
}

TEST_F(BrokerRestart, EndpointIsNotSyncedBeforeKeaWasRead) {
    world.kill_server();
    world.kea.stop();
    world.kea6.stop();
    world.start_server();
    world.scheduler.run_for(std::chrono::minutes(1));
    EXPECT_EQ(*tunnels, before);
    EXPECT_FALSE(world.broker().endpoints().front().in_sync);
    world.kea.start();
    world.kea6.start();
    world.connect_all();
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(*tunnels, before);
    EXPECT_TRUE(world.broker().endpoints().front().in_sync);
}

TEST_F(BrokerRestart, RequestsBeforeTheFirstListAre530) {
    world.kill_server();
    world.kea.stop();
    world.start_server();
    const auto dialogue = world.open("user1", "2001:db8:1::1");
    world.ask_create(dialogue);
    world.ask_info(dialogue);
    world.ask_delete(dialogue);
    ASSERT_EQ(dialogue->answers.size(), 3U);
    for (const auto& answer : dialogue->answers) EXPECT_EQ(answer.status, Status::too_busy);
}

TEST_F(BrokerRestart, GenerationsGrowOverRestartsAndAClockSetBack) {
    Generation highest = 0;
    for (auto& [address, lease] : world.kea.leases) {
        lease.context.generation += 3'600'000'000;  // given by a server whose clock was ahead
        tunnels->at(address).generation = lease.context.generation;
        highest = std::max(highest, lease.context.generation);
    }
    world.kill_server();
    world.start_server();
    world.scheduler.run_for(std::chrono::seconds(1));
    ASSERT_EQ(world.set_up("user1", "2001:db8:7::1"), addresses[0]);
    EXPECT_GT(tunnels->at(addresses[0]).generation, highest);
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerRestart, KeaThatComesBackWithoutALeaseEndsItsTunnel) {
    world.kea.stop();
    world.kea.leases.erase(addresses[1]);
    world.scheduler.run_for(std::chrono::seconds(5));
    EXPECT_EQ(*tunnels, before);
    world.kea.start();
    world.lease_store().connect();
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_FALSE(tunnels->contains(addresses[1]));
    EXPECT_EQ(tunnels->size(), 2U);
    EXPECT_EQ(world.audit.records.back().reason, "lease gone");
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerRestart, EndpointThatLostEverythingGetsItAgain) {
    world.links().disconnect("tep1");
    tunnels->clear();
    world.links().connect(world.endpoints.at("tep1"));
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(*tunnels, before);
}

TEST_F(BrokerRestart, EndpointLosesWhatEndedWhileItWasAway) {
    world.links().disconnect("tep1");
    world.kea.end(addresses[0], server::LeaseEnd::deleted);
    world.scheduler.run_for(std::chrono::seconds(1));
    world.links().connect(world.endpoints.at("tep1"));
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_FALSE(tunnels->contains(addresses[0]));
    EXPECT_EQ(tunnels->size(), 2U);
}

TEST_F(BrokerRestart, FailedSyncIsTriedAgain) {
    int syncs = 0;
    world.fates = [&](std::string_view operation) {
        Fate fate;
        if (operation == "sync" && ++syncs == 1) {
            fate.happens = false;
            fate.error = ErrorCode::timed_out;
        }
        return fate;
    };
    world.links().disconnect("tep1");
    tunnels->clear();
    world.links().connect(world.endpoints.at("tep1"));
    world.scheduler.run_for(std::chrono::seconds(20));
    EXPECT_EQ(syncs, 2);
    EXPECT_EQ(*tunnels, before);
}

TEST_F(BrokerRestart, FailedListIsTriedAgain) {
    int lists = 0;
    world.fates = [&](std::string_view operation) {
        Fate fate;
        if (operation == "list" && ++lists <= 2) fate.error = ErrorCode::timed_out;
        return fate;
    };
    world.kill_server();
    world.start_server();
    world.scheduler.run_for(std::chrono::seconds(20));
    EXPECT_EQ(lists, 4);  // both of Kea's servers, twice
    EXPECT_EQ(world.broker().status().bindings, 3U);
    EXPECT_EQ(*tunnels, before);
}

TEST_F(BrokerRestart, CompletionsAfterTheServersEndAreDropped) {
    const auto dialogue = world.open("alice", home);
    world.ask_create(dialogue);
    world.kill_server();
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_FALSE(dialogue->is_answered());
    // What was never accepted is a binding to the next server, and ends with its lease.
    world.start_server();
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(world.problems(), IsEmpty());
    world.scheduler.run_for(std::chrono::minutes(61));
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_THAT(*tunnels, IsEmpty());
}

TEST_F(BrokerRestart, AThousandTunnelsComeAndGoAndLeaveNothing) {
    for (const IpAddress& address : addresses) world.kea.end(address, server::LeaseEnd::deleted);
    world.scheduler.run_for(std::chrono::seconds(1));
    for (int i = 0; i < 1000; ++i) {
        const std::string user = "visitor" + std::to_string(i);
        ASSERT_TRUE(world.set_up(user, home)) << i;
        const auto dialogue = world.open(user, home);
        world.ask_delete(dialogue);
        ASSERT_TRUE(world.wait_answer(dialogue));
        ASSERT_EQ(dialogue->status(), Status::success);
        world.broker().close(dialogue->session);
    }
    const auto status = world.broker().status();
    EXPECT_EQ(status.bindings + status.exchanges + status.debts + status.sessions, 0U);
    EXPECT_EQ(world.broker().endpoints().front().bindings, 0U);
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_THAT(*tunnels, IsEmpty());
}

}  // namespace
}  // namespace dstm::support
