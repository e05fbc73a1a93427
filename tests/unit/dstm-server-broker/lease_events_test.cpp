// Leases that end without our asking: the endpoint is told, and never more than it should be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/broker_world.hpp"

namespace dstm::support {
namespace {

using server::Lease;
using server::LeaseEnd;
using testing::IsEmpty;
using tsp::Status;

const char* const home = "2001:db8:1::a";

class BrokerLeaseEvents : public testing::Test {
protected:
    BrokerLeaseEvents() {
        world.add_endpoint("tep1");
        world.start_server();
        world.scheduler.run_for(std::chrono::seconds(1));
        address = world.set_up("alice", home).value();
    }
    // Of the lease that was given after ours.
    [[nodiscard]] IpAddress next_address() const {
        return Ipv4Address(std::get<Ipv4Address>(address).host_order() + 1);
    }

    BrokerWorld world;
    IpAddress address;
};

TEST_F(BrokerLeaseEvents, EachWayToEndTakesTheTunnelDownAndSaysWhy) {
    struct Row {
        LeaseEnd why;
        const char* reason;
    };
    for (const Row row :
         {Row{LeaseEnd::expired, "expired"}, Row{LeaseEnd::released, "released by DHCP"},
          Row{LeaseEnd::declined, "declined by DHCP"},
          Row{LeaseEnd::deleted, "deleted by operator"}}) {
        address = world.set_up("alice", home).value();
        world.kea.end(address, row.why);
        world.scheduler.run_for(std::chrono::seconds(1));
        EXPECT_THAT(world.endpoints.at("tep1").tunnels, IsEmpty()) << row.reason;
        EXPECT_EQ(world.broker().status().bindings, 0U);
        EXPECT_EQ(world.audit.records.back().event, server::AuditRecord::Event::ended);
        EXPECT_EQ(world.audit.records.back().reason, row.reason);
    }
}

TEST_F(BrokerLeaseEvents, LateEventDoesNotTouchANewerBinding) {
    const Lease old = world.kea.leases.at(address);
    ASSERT_EQ(world.set_up("alice", home), address);
    const std::size_t lines = world.audit.records.size();
    world.kea.announce(old, LeaseEnd::expired);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_TRUE(world.endpoints.at("tep1").tunnels.contains(address));
    EXPECT_EQ(world.broker().status().bindings, 1U);
    EXPECT_EQ(world.audit.records.size(), lines);
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerLeaseEvents, LeaseEndsByTime) {
    world.scheduler.run_for(std::chrono::minutes(61));
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_EQ(world.broker().status().bindings, 0U);
    EXPECT_EQ(world.audit.records.back().reason, "expired");
}

TEST_F(BrokerLeaseEvents, OfferWhoseLeaseIsDeletedIsTakenDown) {
    const auto dialogue = world.open("bob", home);
    world.ask_create(dialogue);
    ASSERT_TRUE(world.wait_answer(dialogue));
    world.kea.end(next_address(), LeaseEnd::deleted);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(world.endpoints.at("tep1").tunnels.size(), 1U);
    world.broker().accept(dialogue->session);
    EXPECT_EQ(world.broker().status().bindings, 1U);
    EXPECT_EQ(world.audit.records.back().reason, "lease ended before accept");
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerLeaseEvents, LeaseDeletedDuringInstallIsNotOffered) {
    world.fates = [](std::string_view operation) {
        Fate fate;
        if (operation == "install") fate.answer_after = std::chrono::seconds(3);
        return fate;
    };
    const auto dialogue = world.open("bob", home);
    world.ask_create(dialogue);
    world.scheduler.run_for(std::chrono::seconds(1));
    world.kea.end(next_address(), LeaseEnd::deleted);
    ASSERT_TRUE(world.wait_answer(dialogue));
    EXPECT_EQ(dialogue->status(), Status::too_busy);
    world.settle();
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerLeaseEvents, UpdateWhoseBindingEndsMeanwhileBecomesANewBinding) {
    world.fates = [](std::string_view operation) {
        Fate fate;
        if (operation == "allocate") fate.effect_after = std::chrono::seconds(3);
        return fate;
    };
    const auto dialogue = world.open("alice", home);
    world.ask_create(dialogue);
    world.kea.end(address, LeaseEnd::deleted);
    ASSERT_TRUE(world.wait_answer(dialogue));
    ASSERT_EQ(dialogue->status(), Status::success);
    world.broker().accept(dialogue->session);
    world.settle();
    EXPECT_EQ(world.broker().status().bindings, 1U);
    EXPECT_THAT(world.problems(), IsEmpty());
}

}  // namespace
}  // namespace dstm::support
