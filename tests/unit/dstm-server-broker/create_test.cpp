// A create and its answer, and what is held until accept (RFC 5572 s4.7.1, s5.3).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/broker_world.hpp"

namespace dstm::support {
namespace {

using server::AuditRecord;
using testing::ElementsAre;
using testing::IsEmpty;
using tsp::Status;

const char* const alice_at = "2001:db8:1::a";
const char* const alice_then = "2001:db8:9::a";
const char* const bob_at = "2001:db8:1::b";

class BrokerCreate : public testing::Test {
protected:
    BrokerCreate() {
        world.add_endpoint("tep1");
        world.start_server();
        world.scheduler.run_for(std::chrono::seconds(1));
    }
    [[nodiscard]] const std::map<IpAddress, TunnelSpec>& tunnels() const {
        return world.endpoints.at("tep1").tunnels;
    }
    // Asks and waits; the status of the answer.
    Status ask_create(const std::shared_ptr<Dialogue>& dialogue) {
        world.ask_create(dialogue);
        if (!dialogue->is_answered()) world.wait_answer(dialogue);
        return dialogue->status();
    }
    Status create(const std::string& user, const std::string& source) {
        return ask_create(world.open(user, source));
    }

    BrokerWorld world;
};

TEST_F(BrokerCreate, SuccessIsSaidAfterLeaseAndInstall) {
    const auto dialogue = world.open("alice", alice_at);
    world.ask_create(dialogue);
    while (!dialogue->is_answered()) {
        ASSERT_TRUE(world.scheduler.run_one());
        if (dialogue->is_answered()) break;
    }
    EXPECT_EQ(dialogue->status(), Status::success);
    EXPECT_EQ(world.kea.leases.size(), 1U);
    EXPECT_EQ(tunnels().size(), 1U);
}

TEST_F(BrokerCreate, NoAnswerWhileTheEndpointIsSilent) {
    world.fates = [](std::string_view operation) {
        Fate fate;
        if (operation == "install") fate.answer_after = std::chrono::seconds(3);
        return fate;
    };
    const auto dialogue = world.open("alice", alice_at);
    world.ask_create(dialogue);
    world.scheduler.run_for(std::chrono::milliseconds(2900));
    EXPECT_FALSE(dialogue->is_answered());
    EXPECT_EQ(tunnels().size(), 1U);
    EXPECT_TRUE(world.wait_answer(dialogue));
}

TEST_F(BrokerCreate, InfoNamesAllFourAddressesLifetimeAndKeepalive) {
    const auto dialogue = world.open("alice", alice_at);
    ASSERT_EQ(ask_create(dialogue), Status::success);
    const auto& message = dialogue->answers.back().message.value();
    EXPECT_EQ(message.action, tsp::Action::info);
    EXPECT_EQ(message.type, tsp::RequestType::v4v6);
    EXPECT_EQ(message.server->find(tsp::AddressType::ipv4)->text, "192.0.2.1");
    EXPECT_EQ(message.server->find(tsp::AddressType::ipv6)->text, "2001:db8:2::1");
    EXPECT_EQ(message.client->find(tsp::AddressType::ipv4)->text, "192.0.2.10");
    EXPECT_EQ(message.client->find(tsp::AddressType::ipv6)->text, alice_at);
    EXPECT_EQ(message.lease_seconds, 3600U);
    EXPECT_EQ(message.lifetime_min, 60U);
    ASSERT_TRUE(message.client->keepalive);
    EXPECT_EQ(message.client->keepalive->interval_s, 30U);
    EXPECT_EQ(message.client->keepalive->address->text, "192.0.2.1");
}

TEST_F(BrokerCreate, KeepaliveWishIsBroughtIntoRangeAndItsAddressIsNotEchoed) {
    struct Row {
        std::uint32_t wish, answer;
    };
    for (const Row row : {Row{1, 5}, Row{60, 60}, Row{100000, 3600}, Row{0, 30}}) {
        const auto dialogue = world.open("alice", alice_at);
        auto message = BrokerWorld::create_message(alice_at);
        message.client->keepalive =
            tsp::Keepalive{row.wish, tsp::Address{tsp::AddressType::ipv4, "127.0.0.1", {}}};
        world.ask(dialogue, message);
        ASSERT_TRUE(world.wait_answer(dialogue));
        const auto& keepalive = dialogue->answers.back().message->client->keepalive;
        EXPECT_EQ(keepalive->interval_s, row.answer);
        EXPECT_EQ(keepalive->address->text, "192.0.2.1");
    }
}

TEST_F(BrokerCreate, AcceptedTunnelOutlivesItsSession) {
    const auto address = world.set_up("alice", alice_at);
    ASSERT_TRUE(address);
    world.scheduler.run_for(std::chrono::minutes(30));
    EXPECT_TRUE(tunnels().contains(*address));
    EXPECT_EQ(world.broker().status().bindings, 1U);
    EXPECT_EQ(world.broker().status().sessions, 0U);
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerCreate, AuditLineSaysWhoHasWhat) {
    const auto address = world.set_up("alice", alice_at);
    ASSERT_EQ(world.audit.records.size(), 1U);
    const AuditRecord& line = world.audit.records.front();
    EXPECT_EQ(line.event, AuditRecord::Event::started);
    EXPECT_EQ(line.user, "alice");
    EXPECT_EQ(line.inner, *address);
    EXPECT_EQ(to_string(line.outer_client.address), alice_at);
    EXPECT_EQ(line.endpoint, "tep1");
    EXPECT_EQ(line.expires_at, world.kea.leases.at(*address).expires_at);
}

// --- refusals ------------------------------------------------------------------------------------

TEST_F(BrokerCreate, EmptyPoolIs301) {
    BrokerWorld small(1);
    small.add_endpoint("tep1");
    small.start_server();
    small.scheduler.run_for(std::chrono::seconds(1));
    ASSERT_TRUE(small.set_up("alice", alice_at));
    const auto dialogue = small.open("bob", bob_at);
    small.ask_create(dialogue);
    ASSERT_TRUE(small.wait_answer(dialogue));
    EXPECT_EQ(dialogue->status(), Status::no_more_tunnels);
    EXPECT_EQ(small.kea.leases.size(), 1U);
}

TEST_F(BrokerCreate, KeaDownIs530AndNothingIsOwed) {
    world.kea.stop();
    EXPECT_EQ(create("alice", alice_at), Status::too_busy);
    EXPECT_EQ(world.broker().status().debts, 0U);
}

TEST_F(BrokerCreate, NoEndpointIs530AndNothingIsLeased) {
    world.links().disconnect("tep1");
    EXPECT_EQ(create("alice", alice_at), Status::too_busy);
    EXPECT_THAT(world.kea.leases, IsEmpty());
}

TEST_F(BrokerCreate, OtherSourceIs502) {
    const auto dialogue = world.open("alice", bob_at);
    world.ask(dialogue, BrokerWorld::create_message(alice_at));
    EXPECT_EQ(dialogue->status(), Status::invalid_ipv6_address);
    EXPECT_THAT(world.kea.leases, IsEmpty());
}

TEST_F(BrokerCreate, SecondCreateWhileTheFirstRunsIs521OnAnySession) {
    const auto first = world.open("alice", alice_at);
    const auto second = world.open("alice", alice_then);
    world.ask_create(first);
    world.ask_create(second);
    ASSERT_TRUE(second->is_answered());
    EXPECT_EQ(second->status(), Status::in_progress);
    ASSERT_TRUE(world.wait_answer(first));
    EXPECT_EQ(first->status(), Status::success);
}

TEST_F(BrokerCreate, CreateElsewhereWithdrawsAnOfferThatWaitsForAccept) {
    const auto lost = world.open("alice", alice_at);
    ASSERT_EQ(ask_create(lost), Status::success);
    const auto again = world.open("alice", alice_then);
    ASSERT_EQ(ask_create(again), Status::success);
    world.broker().accept(lost->session);  // too late: nothing happens
    EXPECT_EQ(world.broker().status().bindings, 0U);
    world.broker().accept(again->session);
    ASSERT_EQ(tunnels().size(), 1U);
    EXPECT_EQ(to_string(tunnels().begin()->second.outer_client.address), alice_then);
    world.settle();
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerCreate, LimitOfTunnelsPerUserIs301ButAnUpdateIsNot) {
    world.config.tunnels_per_user = 2;
    world.broker().reconfigure(world.config);
    const auto on_host = [&](const std::string& host, const std::string& source) {
        const auto dialogue = world.open("alice", source);
        auto message = BrokerWorld::create_message(source);
        message.host_id = host;
        world.ask(dialogue, message);
        if (!dialogue->is_answered()) world.wait_answer(dialogue);
        if (dialogue->status() == Status::success) world.broker().accept(dialogue->session);
        return dialogue->status();
    };
    EXPECT_EQ(on_host("one", "2001:db8:1::1"), Status::success);
    EXPECT_EQ(on_host("two", "2001:db8:1::2"), Status::success);
    EXPECT_EQ(on_host("three", "2001:db8:1::3"), Status::no_more_tunnels);
    EXPECT_EQ(on_host("two", "2001:db8:1::4"), Status::success);
    EXPECT_EQ(create("bob", bob_at), Status::success);
}

TEST_F(BrokerCreate, LimitOfTunnelsPerAddressIs301) {
    world.config.tunnels_per_address = 1;
    world.broker().reconfigure(world.config);
    EXPECT_TRUE(world.set_up("alice", alice_at));
    EXPECT_EQ(create("bob", alice_at), Status::no_more_tunnels);
    EXPECT_EQ(create("bob", bob_at), Status::success);
}

// --- not accepted --------------------------------------------------------------------------------

TEST_F(BrokerCreate, RejectGivesEverythingBackEndpointFirst) {
    std::vector<std::string> order;
    world.fates = [&](std::string_view operation) {
        order.emplace_back(operation);
        return Fate{};
    };
    const auto dialogue = world.open("alice", alice_at);
    ASSERT_EQ(ask_create(dialogue), Status::success);
    world.broker().reject(dialogue->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(order, ElementsAre("allocate", "install", "remove", "release"));
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_THAT(tunnels(), IsEmpty());
    EXPECT_EQ(world.broker().status().exchanges, 0U);
    ASSERT_EQ(world.audit.records.size(), 2U);
    EXPECT_EQ(world.audit.records.back().reason, "not accepted");
    EXPECT_EQ(dialogue->answers.size(), 1U);
}

TEST_F(BrokerCreate, DisconnectBeforeKeaAnswersGivesTheLateLeaseBack) {
    world.fates = [](std::string_view operation) {
        Fate fate;
        if (operation == "allocate") fate.answer_after = std::chrono::seconds(4);
        return fate;
    };
    const auto dialogue = world.open("alice", alice_at);
    world.ask_create(dialogue);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(world.kea.leases.size(), 1U);
    world.broker().close(dialogue->session);
    world.scheduler.run_for(std::chrono::seconds(5));
    EXPECT_THAT(world.kea.leases, IsEmpty());
    EXPECT_THAT(tunnels(), IsEmpty());
    EXPECT_FALSE(dialogue->is_answered());
}

TEST_F(BrokerCreate, ReconnectWhileTheLastTryIsGivenBackIsServed) {
    const auto lost = world.open("alice", alice_at);
    world.ask_create(lost);
    world.broker().close(lost->session);
    EXPECT_EQ(create("alice", alice_at), Status::success);
}

// --- endpoints -----------------------------------------------------------------------------------

TEST_F(BrokerCreate, LeastLoadedEndpointIsChosen) {
    world.add_endpoint("tep2");
    for (int i = 1; i <= 4; ++i) {
        const std::string n = std::to_string(i);
        ASSERT_TRUE(world.set_up("user" + n, "2001:db8:1::" + n));
    }
    EXPECT_EQ(world.endpoints.at("tep1").tunnels.size(), 2U);
    EXPECT_EQ(world.endpoints.at("tep2").tunnels.size(), 2U);
}

TEST_F(BrokerCreate, EndpointWithoutTheLeasedAddressIsReplacedAndTheLeaseSaysSo) {
    world.links().disconnect("tep1");
    auto& other = world.add_endpoint("tep0");  // first by name, same load
    world.links().disconnect("tep0");
    other.info.pools = {*Ipv4Prefix::parse("198.51.100.0/24")};
    world.links().connect(other);
    world.links().connect(world.endpoints.at("tep1"));
    const auto address = world.set_up("alice", alice_at);
    ASSERT_TRUE(address);
    EXPECT_EQ(world.kea.leases.at(*address).context.endpoint, "tep1");
    EXPECT_TRUE(tunnels().contains(*address));
    EXPECT_THAT(other.tunnels, IsEmpty());
    world.settle();
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerCreate, FailedEndpointIsReplacedByAnother) {
    world.add_endpoint("tep2");
    int installs = 0;
    world.fates = [&](std::string_view operation) {
        Fate fate;
        if (operation == "install" && ++installs == 1) fate.error = ErrorCode::timed_out;
        return fate;
    };
    const auto address = world.set_up("alice", alice_at);
    ASSERT_TRUE(address);
    EXPECT_FALSE(tunnels().contains(*address));
    EXPECT_TRUE(world.endpoints.at("tep2").tunnels.contains(*address));
    world.settle();
    EXPECT_THAT(world.problems(), IsEmpty());
}

}  // namespace
}  // namespace dstm::support
