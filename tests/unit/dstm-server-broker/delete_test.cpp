// A delete: off the endpoint, then the lease, then 200 (RFC 5572 s4.7.1).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/broker_world.hpp"

namespace dstm::support {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using tsp::Status;

const char* const home = "2001:db8:1::a";

class BrokerDelete : public testing::Test {
protected:
    BrokerDelete() {
        world.add_endpoint("tep1");
        world.start_server();
        world.scheduler.run_for(std::chrono::seconds(1));
        address = world.set_up("alice", home).value();
    }
    Status remove() {
        const auto dialogue = world.open("alice", home);
        world.ask_delete(dialogue);
        if (!dialogue->is_answered()) world.wait_answer(dialogue);
        return dialogue->status();
    }
    void fail_once(std::string wanted, Fate fate) {
        world.fates = [wanted, fate, done = false](std::string_view operation) mutable {
            return operation == wanted && !std::exchange(done, true) ? fate : Fate{};
        };
    }

    BrokerWorld world;
    IpAddress address;
};

TEST_F(BrokerDelete, TakesTheTunnelOffThenFreesTheLeaseThenAnswers) {
    std::vector<std::string> order;
    world.fates = [&](std::string_view operation) {
        order.emplace_back(operation);
        return Fate{};
    };
    EXPECT_EQ(remove(), Status::success);
    EXPECT_THAT(order, ElementsAre("remove", "release"));
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_THAT(world.endpoints.at("tep1").tunnels, IsEmpty());
    EXPECT_EQ(world.audit.records.back().event, server::AuditRecord::Event::ended);
    EXPECT_EQ(world.audit.records.back().reason, "deleted by client");
}

TEST_F(BrokerDelete, OfNothingIsSuccess) {
    EXPECT_EQ(remove(), Status::success);
    EXPECT_EQ(remove(), Status::success);
    EXPECT_EQ(world.audit.records.size(), 2U);
}

TEST_F(BrokerDelete, SilentEndpointLeavesAllAsItWas) {
    fail_once("remove", Fate{.error = ErrorCode::timed_out});
    EXPECT_EQ(remove(), Status::too_busy);
    world.settle();
    EXPECT_TRUE(world.endpoints.at("tep1").tunnels.contains(address));
    EXPECT_TRUE(world.kea.leases.contains(address));
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerDelete, EndpointThatIsAwayDoesNotKeepTheLease) {
    world.links().disconnect("tep1");
    EXPECT_EQ(remove(), Status::success);
    EXPECT_THAT(world.kea.leases, IsEmpty());
    world.settle();
    EXPECT_THAT(world.endpoints.at("tep1").tunnels, IsEmpty());
}

TEST_F(BrokerDelete, LeaseThatKeaDoesNotTakeIsOwedUntilItDoes) {
    fail_once("release", Fate{.happens = false, .error = ErrorCode::timed_out});
    EXPECT_EQ(remove(), Status::too_busy);
    EXPECT_THAT(world.endpoints.at("tep1").tunnels, IsEmpty());
    EXPECT_EQ(world.broker().status().debts, 1U);
    world.settle();
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_EQ(world.broker().status().debts, 0U);
}

TEST_F(BrokerDelete, OwedLeaseIsTheClientsAgainWhenItAsksAgain) {
    fail_once("release", Fate{.happens = false, .error = ErrorCode::timed_out});
    EXPECT_EQ(remove(), Status::too_busy);
    EXPECT_EQ(world.set_up("alice", home), address);
    world.settle();
    EXPECT_TRUE(world.kea.leases.contains(address));
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerDelete, GoesOnWhenItsSessionEnds) {
    const auto dialogue = world.open("alice", home);
    world.ask_delete(dialogue);
    world.broker().close(dialogue->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_FALSE(dialogue->is_answered());
}

TEST_F(BrokerDelete, WhileACreateRunsIs521) {
    const auto dialogue = world.open("alice", home);
    world.ask_create(dialogue);
    EXPECT_EQ(remove(), Status::in_progress);
}

TEST_F(BrokerDelete, OfAnOfferTakesOfferAndBinding) {
    const auto dialogue = world.open("alice", home);
    world.ask_create(dialogue);
    ASSERT_TRUE(world.wait_answer(dialogue));
    world.ask_delete(dialogue);
    ASSERT_TRUE(world.wait_answer(dialogue));
    EXPECT_EQ(dialogue->status(), Status::success);
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_THAT(world.endpoints.at("tep1").tunnels, IsEmpty());
}

}  // namespace
}  // namespace dstm::support
