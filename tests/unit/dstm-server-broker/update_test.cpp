// A repeated create is an update (RFC 5572 s4.7.1, s2.3): same address, in one step, and back to
// what stood when it is not accepted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/broker_world.hpp"

namespace dstm::support {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using tsp::Status;

const char* const home = "2001:db8:1::a";
const char* const away = "2001:db8:9::a";

class BrokerUpdate : public testing::Test {
protected:
    BrokerUpdate() {
        world.add_endpoint("tep1");
        world.start_server();
        world.scheduler.run_for(std::chrono::seconds(1));
        address = world.set_up("alice", home).value();
        world.scheduler.run_for(std::chrono::minutes(10));
        world.fates = [this](std::string_view operation) {
            operations.emplace_back(operation);
            return Fate{};
        };
    }
    std::shared_ptr<Dialogue> create(const std::string& source) {
        auto dialogue = world.open("alice", source);
        world.ask_create(dialogue);
        if (!dialogue->is_answered()) world.wait_answer(dialogue);
        return dialogue;
    }
    [[nodiscard]] const TunnelSpec& tunnel() {
        return world.endpoints.at("tep1").tunnels.at(address);
    }
    [[nodiscard]] std::string outer() { return to_string(tunnel().outer_client.address); }

    BrokerWorld world;
    IpAddress address;
    std::vector<std::string> operations;
};

TEST_F(BrokerUpdate, RenewalKeepsTheAddressAndTellsTheEndpointTheNewEnd) {
    const TunnelSpec before = tunnel();
    const auto dialogue = create(home);
    ASSERT_EQ(dialogue->status(), Status::success);
    world.broker().accept(dialogue->session);
    EXPECT_EQ(tunnel().outer_client, before.outer_client);
    EXPECT_GT(tunnel().expires_at, before.expires_at);
    EXPECT_GT(tunnel().generation, before.generation);
    EXPECT_EQ(tunnel().expires_at, world.kea.leases.at(address).expires_at);
    EXPECT_EQ(world.kea.leases.size(), 1U);
    EXPECT_EQ(world.audit.records.back().reason, "renewed");
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerUpdate, MoveSwitchesTheEndpointWithoutARemove) {
    const auto dialogue = create(away);
    ASSERT_EQ(dialogue->status(), Status::success);
    EXPECT_EQ(outer(), away);
    world.broker().accept(dialogue->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(operations, Not(Contains("remove")));
    EXPECT_EQ(world.audit.records.back().event, server::AuditRecord::Event::changed);
    EXPECT_EQ(world.audit.records.back().reason, "moved");
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerUpdate, RejectedMovePutsThePreviousBindingBack) {
    const auto dialogue = create(away);
    const Generation offered = tunnel().generation;
    world.broker().reject(dialogue->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(outer(), home);
    EXPECT_GT(tunnel().generation, offered);
    EXPECT_EQ(to_string(world.kea.leases.at(address).context.outer_client.address), home);
    EXPECT_THAT(operations, Not(Contains("remove")));
    EXPECT_THAT(operations, Not(Contains("release")));
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerUpdate, DisconnectDuringAMovePutsThePreviousBindingBack) {
    const auto dialogue = world.open("alice", away);
    world.ask_create(dialogue);
    world.broker().close(dialogue->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(outer(), home);
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerUpdate, EndpointGoneMovesTheTunnelToAnotherAndOffTheOldWhenItReturns) {
    world.add_endpoint("tep2");
    world.links().disconnect("tep1");
    const auto dialogue = create(home);
    ASSERT_EQ(dialogue->status(), Status::success);
    world.broker().accept(dialogue->session);
    EXPECT_TRUE(world.endpoints.at("tep2").tunnels.contains(address));
    EXPECT_EQ(world.kea.leases.at(address).context.endpoint, "tep2");
    world.links().connect(world.endpoints.at("tep1"));
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(world.endpoints.at("tep1").tunnels, IsEmpty());
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerUpdate, LeavingAnEndpointThatFailsTakesTheTunnelOffItOnceAccepted) {
    world.add_endpoint("tep2");
    bool failed = false;
    world.fates = [&](std::string_view operation) {
        Fate fate;
        if (operation == "install" && !std::exchange(failed, true)) {
            fate.error = ErrorCode::exhausted;
        }
        return fate;
    };
    const auto dialogue = create(away);
    ASSERT_EQ(dialogue->status(), Status::success);
    world.broker().accept(dialogue->session);
    world.scheduler.run_for(std::chrono::seconds(10));
    EXPECT_THAT(world.endpoints.at("tep1").tunnels, IsEmpty());
    EXPECT_TRUE(world.endpoints.at("tep2").tunnels.contains(address));
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerUpdate, AnonymousHostIsKnownByItsHostIdWhereverItIs) {
    const auto create_as = [&](const std::string& source, std::optional<std::string> host) {
        const auto dialogue = world.open("", source);
        auto message = BrokerWorld::create_message(source);
        message.host_id = std::move(host);
        world.ask(dialogue, message);
        world.wait_answer(dialogue);
        world.broker().accept(dialogue->session);
        return dialogue->answers.back().message->client->find(tsp::AddressType::ipv4)->text;
    };
    EXPECT_EQ(create_as(home, "lab-7"), create_as(away, "lab-7"));
    EXPECT_NE(create_as(home, std::nullopt), create_as(away, std::nullopt));
    EXPECT_EQ(create_as(home, std::nullopt), create_as(home, std::nullopt));
}

TEST_F(BrokerUpdate, InfoShowsTheBindingAndWhatIsLeftOfIt) {
    const auto dialogue = world.open("alice", away);
    world.ask_info(dialogue);
    ASSERT_EQ(dialogue->status(), Status::success);
    const auto& message = *dialogue->answers.back().message;
    EXPECT_EQ(message.client->find(tsp::AddressType::ipv4)->text, to_string(address));
    EXPECT_EQ(message.client->find(tsp::AddressType::ipv6)->text, home);
    const auto left = world.kea.leases.at(address).expires_at - world.scheduler.clock.wall();
    EXPECT_EQ(message.lease_seconds, left.count());
    EXPECT_EQ(message.lifetime_min, left.count() / 60);
}

TEST_F(BrokerUpdate, InfoOfAnotherUserIs310) {
    const auto dialogue = world.open("bob", home);
    world.ask_info(dialogue);
    EXPECT_EQ(dialogue->status(), Status::server_error);
}

}  // namespace
}  // namespace dstm::support
