// Tunnels of IPv6 in IPv4: which type comes of a request, what is leased and installed, what the
// answer says, and what stays when a client moves (RFC 5572 s2.1, s2.3, s4.5.2, s5.1, s5.2, s5.4).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/tsp/tunnel_xml.hpp"
#include "support/broker_world.hpp"

namespace dstm::support {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using tsp::AddressType;
using tsp::Status;

const char* const direct = "203.0.113.7";
const char* const nat = "203.0.113.200";

class BrokerV6 : public testing::Test {
protected:
    BrokerV6() {
        world.add_endpoint("tep1");
        world.start_server();
        world.scheduler.run_for(std::chrono::seconds(1));
    }
    std::shared_ptr<Dialogue> ask(const std::shared_ptr<Dialogue>& dialogue,
                                  const tsp::TunnelMessage& message) {
        world.ask(dialogue, message);
        if (!dialogue->is_answered()) world.wait_answer(dialogue);
        return dialogue;
    }
    std::shared_ptr<Dialogue> create(const std::string& user, const std::string& source,
                                     const std::string& relay = {}, std::uint16_t port = 40000) {
        const auto dialogue = world.open(user, source, relay, port);
        return ask(dialogue, BrokerWorld::create_message(*dialogue));
    }
    std::shared_ptr<Dialogue> create_router(const std::string& user, std::uint32_t length) {
        return ask(world.open(user, direct),
                   BrokerWorld::with_router(BrokerWorld::create_message(direct), length));
    }
    void accept(const std::shared_ptr<Dialogue>& dialogue) {
        ASSERT_EQ(dialogue->status(), Status::success);
        world.broker().accept(dialogue->session);
        world.broker().close(dialogue->session);
    }
    [[nodiscard]] const std::map<IpAddress, TunnelSpec>& tunnels(const std::string& name = "tep1") {
        return world.endpoints.at(name).tunnels;
    }
    [[nodiscard]] const TunnelSpec& tunnel() { return tunnels().begin()->second; }
    [[nodiscard]] static const tsp::TunnelMessage& info(const std::shared_ptr<Dialogue>& dialogue) {
        return *dialogue->answers.back().message;
    }
    [[nodiscard]] static std::string text(const std::optional<tsp::Party>& party,
                                          AddressType type) {
        const auto* address = party->find(type);
        return address == nullptr ? "" : address->text;
    }

    BrokerWorld world;
};

// --- which type ----------------------------------------------------------------------------------

TEST_F(BrokerV6, WithoutNatV6anyv4BecomesV6v4) {
    const auto dialogue = world.open("alice", direct);
    auto message = BrokerWorld::create_message(direct);
    message.type = tsp::RequestType::v6anyv4;
    ask(dialogue, message);
    ASSERT_EQ(dialogue->status(), Status::success);
    EXPECT_EQ(info(dialogue).type, tsp::RequestType::v6v4);
    ASSERT_EQ(tunnels().size(), 1U);
    EXPECT_EQ(tunnel().type, TunnelType::v6v4);
    EXPECT_EQ(tunnel().outer_client, (IpEndpoint{*parse_ip_address(direct), 0}));
    EXPECT_EQ(to_string(tunnel().outer_server), "198.51.100.1");
}

TEST_F(BrokerV6, BehindANatV6anyv4BecomesV6udpv4OverTheMappingOfTheSignalling) {
    const auto dialogue = create("alice", nat, "tep1", 41234);
    ASSERT_EQ(dialogue->status(), Status::success);
    EXPECT_EQ(info(dialogue).type, tsp::RequestType::v6udpv4);
    ASSERT_EQ(tunnels().size(), 1U);
    EXPECT_EQ(tunnel().type, TunnelType::v6udpv4);
    EXPECT_EQ(tunnel().outer_client, (IpEndpoint{*parse_ip_address(nat), 41234}));
}

TEST_F(BrokerV6, TheEndpointThatRelaysCarriesTheTunnelHoweverLoadedItIs) {
    world.add_endpoint("tep2");
    for (std::uint16_t port = 1; port <= 3; ++port) {
        accept(create("user" + std::to_string(port), nat, "tep2", port));
    }
    EXPECT_EQ(tunnels("tep2").size(), 3U);
    EXPECT_THAT(tunnels("tep1"), IsEmpty());
}

TEST_F(BrokerV6, V6udpv4AskedOfTheServerItselfIs1303WithTheEndpointsByLoad) {
    world.add_endpoint("tep2");
    accept(create("alice", nat, "tep1"));
    const auto dialogue = world.open("bob", direct);
    auto message = BrokerWorld::create_message(direct);
    message.type = tsp::RequestType::v6udpv4;
    ask(dialogue, message);
    EXPECT_EQ(dialogue->status(), Status::unsupported_tunnel_type);
    std::vector<std::string> named;
    for (const tsp::Broker& broker : dialogue->answers.back().brokers) {
        ASSERT_EQ(broker.addresses.size(), 1U);
        EXPECT_EQ(broker.addresses[0].type, AddressType::ipv4);
        named.push_back(broker.addresses[0].text);
    }
    EXPECT_THAT(named, ElementsAre("198.51.100.2", "198.51.100.1"));
    EXPECT_EQ(world.kea6.leases.size(), 1U);
}

TEST_F(BrokerV6, V6anyv4BehindANatAtTheServerItselfIsSentToAnEndpointToo) {
    const auto dialogue = world.open("alice", nat);
    auto message = BrokerWorld::create_message(BrokerWorld::behind_nat);
    message.type = tsp::RequestType::v6anyv4;
    ask(dialogue, message);
    EXPECT_EQ(dialogue->status(), Status::unsupported_tunnel_type);
    EXPECT_EQ(dialogue->answers.back().brokers.size(), 1U);
}

TEST_F(BrokerV6, V6udpv4IsA303WithoutAnEndpointThatCarriesIt) {
    world.links().disconnect("tep1");
    world.endpoints.at("tep1").info.types = {TunnelType::v4v6, TunnelType::v6v4};
    world.links().connect(world.endpoints.at("tep1"));
    const auto dialogue = create("alice", nat, "tep1");
    EXPECT_EQ(dialogue->status(), Status::unsupported_tunnel_type);
    EXPECT_THAT(dialogue->answers.back().brokers, IsEmpty());
}

TEST_F(BrokerV6, EndpointOfIpv4OnlyTunnelsIsNotChosen) {
    world.links().disconnect("tep1");
    auto& old = world.endpoints.at("tep1").info;
    old.types = {TunnelType::v4v6};
    old.outer_ipv4.reset();
    world.links().connect(world.endpoints.at("tep1"));
    EXPECT_EQ(create("alice", direct)->status(), Status::too_busy);
    EXPECT_EQ(create("alice", "2001:db8:1::a")->status(), Status::success);
}

// --- refusals ------------------------------------------------------------------------------------

TEST_F(BrokerV6, V6v4FromAnotherAddressThanNamedIs501) {
    const auto dialogue = world.open("alice", nat);
    ask(dialogue, BrokerWorld::create_message(direct));
    EXPECT_EQ(dialogue->status(), Status::invalid_ipv4_address);
    EXPECT_THAT(world.kea6.leases, IsEmpty());
}

TEST_F(BrokerV6, V6v4OfAnotherClientAtThisAddressIs506) {
    accept(create("alice", direct));
    EXPECT_EQ(create("bob", direct)->status(), Status::ipv4_address_in_use);
    EXPECT_EQ(create("alice", direct)->status(), Status::success);  // its own: an update
    EXPECT_EQ(create("bob", nat, "tep1")->status(), Status::success);
}

TEST_F(BrokerV6, AnAddressIsTakenFromTheOfferOnAndFreeAfterADelete) {
    const auto offered = create("alice", direct);
    EXPECT_EQ(create("bob", direct)->status(), Status::ipv4_address_in_use);
    world.broker().reject(offered->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    accept(create("bob", direct));
    EXPECT_EQ(create("alice", direct)->status(), Status::ipv4_address_in_use);
    const auto dialogue = world.open("bob", direct);
    world.ask_delete(dialogue);
    world.wait_answer(dialogue);
    EXPECT_EQ(create("alice", direct)->status(), Status::success);
}

TEST_F(BrokerV6, PrefixLengthThatKeaDoesNotHaveIs507AndNothingIsLeased) {
    world.kea6.prefix_lengths = {56};
    EXPECT_EQ(create_router("alice", 60)->status(), Status::prefix_length_unavailable);
    EXPECT_THAT(world.kea6.leases, IsEmpty());
    EXPECT_EQ(world.broker().status().exchanges, 0U);
}

TEST_F(BrokerV6, PrefixLengthThatKeaDoesNotHaveLeavesTheBindingAsItWas) {
    accept(create_router("alice", 56));
    const TunnelSpec before = tunnel();
    EXPECT_EQ(create_router("alice", 57)->status(), Status::prefix_length_unavailable);
    world.settle();
    EXPECT_EQ(tunnel(), before);
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerV6, EmptyPoolIs301) {
    BrokerWorld small(1);
    small.add_endpoint("tep1");
    small.start_server();
    small.scheduler.run_for(std::chrono::seconds(1));
    ASSERT_TRUE(small.set_up("alice", direct));
    const auto dialogue = small.open("bob", nat, "tep1");
    small.ask_create(dialogue);
    small.wait_answer(dialogue);
    EXPECT_EQ(dialogue->status(), Status::no_more_tunnels);
}

// --- the answer ----------------------------------------------------------------------------------

TEST_F(BrokerV6, InfoNamesAllFourAddressesAndAKeepaliveInsideTheTunnel) {
    const auto dialogue = create("alice", direct);
    EXPECT_EQ(text(info(dialogue).server, AddressType::ipv4), "198.51.100.1");
    EXPECT_EQ(text(info(dialogue).server, AddressType::ipv6),
              "2001:0db8:0100:0000:0000:0000:0000:0001");
    EXPECT_EQ(text(info(dialogue).client, AddressType::ipv4), direct);
    EXPECT_EQ(text(info(dialogue).client, AddressType::ipv6),
              "2001:0db8:0100:0000:0000:0000:0000:000a");
    EXPECT_FALSE(info(dialogue).client->router);
    const auto& keepalive = info(dialogue).client->keepalive;
    ASSERT_TRUE(keepalive);
    EXPECT_EQ(keepalive->address->type, AddressType::ipv6);
    EXPECT_EQ(keepalive->address->text, "2001:0db8:0100:0000:0000:0000:0000:0001");
}

TEST_F(BrokerV6, RouterGetsAPrefixWithAllItsDigitsAndTheEndpointHearsOfIt) {
    const auto dialogue = create_router("alice", 56);
    ASSERT_EQ(dialogue->status(), Status::success);
    const auto& router = info(dialogue).client->router;
    ASSERT_TRUE(router && router->prefix);
    EXPECT_EQ(router->prefix->length, 56U);
    EXPECT_EQ(router->prefix->text, "2001:0db8:0f00:0000:0000:0000:0000:0000");
    EXPECT_EQ(tunnel().inner_prefix, Ipv6Prefix::parse("2001:db8:f00::/56"));
    accept(dialogue);
    EXPECT_EQ(world.audit.records.back().prefix, tunnel().inner_prefix);
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerV6, RouterThatNamesNoLengthGetsTheConfiguredOne) {
    const auto dialogue = world.open("alice", direct);
    auto message = BrokerWorld::create_message(direct);
    message.client->router.emplace();
    ask(dialogue, message);
    EXPECT_EQ(info(dialogue).client->router->prefix->length, 64U);
}

TEST_F(BrokerV6, TheWholeAnswerIsWrittenForNaiveParsers) {
    world.config.dns_suffix = "dstm.example";
    world.config.delegates_reverse_zones = true;
    world.broker().reconfigure(world.config);
    const auto dialogue = world.open("alice", direct);
    auto message = BrokerWorld::with_router(BrokerWorld::create_message(direct), 48);
    message.client->router->dns_servers = {{AddressType::ipv4, "192.0.2.5", {}},
                                           {AddressType::ipv6, "2001:DB8::1", {}}};
    ask(dialogue, message);
    ASSERT_EQ(dialogue->status(), Status::success);
    const std::string xml = tsp::write_tunnel_xml(info(dialogue));
    EXPECT_EQ(xml,
              "<tunnel action=\"info\" type=\"v6v4\" lifetime=\"60\">\r\n"
              "  <server>\r\n"
              "    <address type=\"ipv4\">198.51.100.1</address>\r\n"
              "    <address type=\"ipv6\">2001:0db8:0100:0000:0000:0000:0000:0001</address>\r\n"
              "  </server>\r\n"
              "  <client>\r\n"
              "    <address type=\"ipv4\">203.0.113.7</address>\r\n"
              "    <address type=\"ipv6\">2001:0db8:0100:0000:0000:0000:0000:000a</address>\r\n"
              "    <address type=\"dn\">alice.dstm.example</address>\r\n"
              "    <router>\r\n"
              "      <prefix length=\"48\">2001:0db8:0f00:0000:0000:0000:0000:0000</prefix>\r\n"
              "      <dns_server>\r\n"
              "        <address type=\"ipv4\">192.0.2.5</address>\r\n"
              "        <address type=\"ipv6\">2001:db8::1</address>\r\n"
              "      </dns_server>\r\n"
              "    </router>\r\n"
              "    <keepalive interval=\"30\">\r\n"
              "      <address type=\"ipv6\">2001:0db8:0100:0000:0000:0000:0000:0001</address>\r\n"
              "    </keepalive>\r\n"
              "  </client>\r\n"
              "  <lease seconds=\"3600\"></lease>\r\n"
              "</tunnel>\r\n");
}

TEST_F(BrokerV6, InfoShowsTheTunnelThatTheFamilyOfTheSignallingSays) {
    const auto v6 = world.set_up("alice", direct).value();
    const auto v4 = world.set_up("alice", "2001:db8:1::a").value();
    const auto inner_from = [&](const std::string& source,
                                std::optional<tsp::RequestType> type = std::nullopt) {
        const auto dialogue = world.open("alice", source);
        tsp::TunnelMessage message;
        message.action = tsp::Action::info;
        message.type = type;
        return BrokerWorld::inner_of(info(ask(dialogue, message)));
    };
    EXPECT_EQ(inner_from(direct), v6);
    EXPECT_EQ(inner_from("2001:db8:1::a"), v4);
    EXPECT_EQ(inner_from("2001:db8:1::a", tsp::RequestType::v6anyv4), v6);
    EXPECT_EQ(inner_from(direct, tsp::RequestType::v4v6), v4);
}

TEST_F(BrokerV6, DeleteTakesOneFamilyOnly) {
    world.set_up("alice", direct);
    world.set_up("alice", "2001:db8:1::a");
    ASSERT_EQ(tunnels().size(), 2U);
    const auto dialogue = world.open("alice", direct);
    world.ask_delete(dialogue);
    world.wait_answer(dialogue);
    EXPECT_EQ(dialogue->status(), Status::success);
    EXPECT_THAT(world.kea6.leases, IsEmpty());
    EXPECT_EQ(world.kea.leases.size(), 1U);
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerV6, RejectGivesAddressAndPrefixBack) {
    const auto dialogue = create_router("alice", 56);
    world.broker().reject(dialogue->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(world.kea6.leases, IsEmpty());
    EXPECT_THAT(tunnels(), IsEmpty());
}

// --- what stays ----------------------------------------------------------------------------------

TEST_F(BrokerV6, AddressAndPrefixStayWhenTheEncapsulationChangesAndBack) {
    accept(create_router("alice", 56));
    const IpAddress address = tunnel().inner;
    const auto prefix = tunnel().inner_prefix;

    const auto behind = world.open("alice", nat, "tep1", 41000);
    ask(behind, BrokerWorld::with_router(BrokerWorld::create_message(*behind), 56));
    EXPECT_EQ(info(behind).type, tsp::RequestType::v6udpv4);
    accept(behind);
    ASSERT_EQ(tunnels().size(), 1U);
    EXPECT_EQ(tunnel().inner, address);
    EXPECT_EQ(tunnel().inner_prefix, prefix);
    EXPECT_EQ(tunnel().type, TunnelType::v6udpv4);
    EXPECT_EQ(world.audit.records.back().reason, "moved");

    accept(create_router("alice", 56));
    EXPECT_EQ(tunnel().inner, address);
    EXPECT_EQ(tunnel().inner_prefix, prefix);
    EXPECT_EQ(tunnel().type, TunnelType::v6v4);
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerV6, MoveToTheRelayOfAnotherEndpointTakesTheTunnelThere) {
    world.add_endpoint("tep2");
    accept(create("alice", nat, "tep1"));
    const IpAddress address = tunnel().inner;
    accept(create("alice", nat, "tep2"));
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(tunnels("tep1"), IsEmpty());
    EXPECT_TRUE(tunnels("tep2").contains(address));
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerV6, PrefixThatIsExchangedOrGivenUpIsAChange) {
    accept(create_router("alice", 56));
    accept(create_router("alice", 60));
    EXPECT_EQ(tunnel().inner_prefix->length, 60);
    EXPECT_EQ(world.audit.records.back().reason, "prefix changed");
    accept(create("alice", direct));
    EXPECT_EQ(tunnel().inner_prefix, std::nullopt);
    EXPECT_EQ(world.audit.records.back().reason, "prefix changed");
}

TEST_F(BrokerV6, ChangeOfThePrefixThatIsNotAcceptedIsUndone) {
    accept(create("bob", nat, "tep1"));
    accept(create_router("alice", 48));
    const auto address = world.audit.records.back().inner;
    const auto before = tunnels().at(address).inner_prefix;
    const auto back = [&](const std::shared_ptr<Dialogue>& offered, bool rejects) {
        ASSERT_EQ(offered->status(), Status::success);
        EXPECT_NE(tunnels().at(address).inner_prefix, before);
        EXPECT_NE(world.audit.records.back().prefix, before);
        if (rejects) world.broker().reject(offered->session);
        else world.broker().close(offered->session);
        world.scheduler.run_for(std::chrono::seconds(1));
        EXPECT_EQ(tunnels().at(address).inner_prefix, before);
        EXPECT_EQ(world.kea6.leases.at(address).prefix, before);
        EXPECT_EQ(world.audit.records.back().prefix, before);
        EXPECT_EQ(world.audit.records.back().reason, "restored, change not accepted");
        };
    back(create_router("alice", 56), true);
    back(create_router("alice", 56), false);
    back(create("alice", direct), true);
    back(create("alice", direct), false);
}

TEST_F(BrokerV6, PrefixThatCannotBeHadAgainIsToldAsItIs) {
    accept(create_router("alice", 48));
    const auto before = tunnel().inner_prefix;
    const auto rejected = create_router("alice", 56);
    accept(ask(world.open("bob", nat, "tep1"),
               BrokerWorld::with_router(
                   BrokerWorld::create_message(*world.open("bob", nat, "tep1")), 48)));
    ASSERT_EQ(world.audit.records.back().prefix, before);
    world.broker().reject(rejected->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    const auto& last = world.audit.records.back();
    EXPECT_EQ(last.reason, "restored with another prefix");
    EXPECT_NE(last.prefix, before);
    EXPECT_EQ(last.prefix->length, 48);
    EXPECT_EQ(tunnels().at(last.inner).inner_prefix, last.prefix);
}

TEST_F(BrokerV6, WayBackThatKeaDoesNotAnswerIsToldWhenItIsDone) {
    accept(create_router("alice", 48));
    const auto before = tunnel().inner_prefix;
    const auto rejected = create_router("alice", 56);
    const std::size_t told = world.audit.records.size();
    world.kea6.stop();
    world.broker().reject(rejected->session);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(world.audit.records.size(), told);
    world.kea6.start();
    world.settle();
    EXPECT_EQ(tunnel().inner_prefix, before);
    ASSERT_EQ(world.audit.records.size(), told + 1);
    EXPECT_EQ(world.audit.records.back().prefix, before);
}

TEST_F(BrokerV6, ReSignallingThroughTheSameMappingReplacesTheTunnelOfTheSameClient) {
    accept(create("", nat, "tep1", 5));
    const IpAddress address = tunnel().inner;
    accept(create("", nat, "tep1", 5));
    ASSERT_EQ(tunnels().size(), 1U);
    EXPECT_EQ(tunnel().inner, address);
}

TEST_F(BrokerV6, ReSignallingThroughTheSameMappingDropsTheTunnelOfAnotherClientFirst) {
    accept(create("alice", nat, "tep1", 5));
    accept(create("carol", nat, "tep1", 6));
    std::vector<std::string> order;
    world.fates = [&](std::string_view operation) {
        order.emplace_back(operation);
        return Fate{};
    };
    accept(create("bob", nat, "tep1", 5));
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(order, ElementsAre("remove", "allocate", "release", "install"));
    EXPECT_EQ(world.broker().status().bindings, 2U);
    EXPECT_EQ(world.kea6.leases.size(), 2U);
    EXPECT_EQ(tunnels().size(), 2U);
    std::vector<std::string> reasons;
    for (const auto& record : world.audit.records) {
        if (record.event == server::AuditRecord::Event::ended) reasons.push_back(record.reason);
    }
    EXPECT_THAT(reasons, ElementsAre("its NAT mapping is another client's now"));
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerV6, OfferThroughTheSameMappingIsWithdrawnAndTheNextTryServed) {
    const auto lost = create("alice", nat, "tep1", 5);
    EXPECT_EQ(create("bob", nat, "tep1", 5)->status(), Status::in_progress);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(create("bob", nat, "tep1", 5)->status(), Status::success);
    world.settle();
    EXPECT_EQ(tunnels().size(), 1U);
}

TEST_F(BrokerV6, AnonymousClientsBehindOneNatAreDifferentHosts) {
    accept(create("", nat, "tep1", 1));
    accept(create("", nat, "tep1", 2));
    EXPECT_EQ(tunnels().size(), 2U);
    const auto dialogue = world.open("", nat, "tep1", 1);
    world.ask_delete(dialogue);
    world.wait_answer(dialogue);
    EXPECT_EQ(dialogue->status(), Status::success);
    ASSERT_EQ(tunnels().size(), 1U);
    EXPECT_EQ(tunnel().outer_client.port, 2);
}

TEST_F(BrokerV6, AnonymousV6anyv4ThroughARelayIsFoundWithoutItsType) {
    for (const auto type : {std::optional(tsp::RequestType::v6anyv4),
                            std::optional<tsp::RequestType>()}) {
        const auto dialogue = world.open("", direct, "tep1");
        auto message = BrokerWorld::create_message(direct);
        message.type = tsp::RequestType::v6anyv4;
        accept(ask(dialogue, message));
        ASSERT_EQ(tunnel().type, TunnelType::v6v4);
        accept(create("", nat, "tep1"));  // somebody else's
        tsp::TunnelMessage asked;
        asked.type = type;
        asked.action = tsp::Action::info;
        EXPECT_EQ(ask(world.open("", direct, "tep1"), asked)->status(), Status::success);
        asked.action = tsp::Action::delete_tunnel;
        EXPECT_EQ(ask(world.open("", direct, "tep1"), asked)->status(), Status::success);
        ASSERT_EQ(tunnels().size(), 1U);
        EXPECT_EQ(tunnel().type, TunnelType::v6udpv4);
        asked.type = tsp::RequestType::v6udpv4;
        EXPECT_EQ(ask(world.open("", nat, "tep1"), asked)->status(), Status::success);
        EXPECT_THAT(tunnels(), IsEmpty());
    }
}

// --- one of Kea's servers is away ----------------------------------------------------------------

TEST_F(BrokerV6, EachFamilyIsServedWhileTheOthersKeaIsAway) {
    world.kea6.stop();
    EXPECT_EQ(create("alice", direct)->status(), Status::too_busy);
    EXPECT_EQ(create("alice", "2001:db8:1::a")->status(), Status::success);
    world.kea6.start();
    world.connect_all();
    world.kea.stop();
    world.scheduler.run_for(std::chrono::seconds(10));
    EXPECT_EQ(create("bob", direct)->status(), Status::success);
    EXPECT_EQ(create("bob", "2001:db8:1::b")->status(), Status::too_busy);
}

TEST_F(BrokerV6, ListOfOneFamilyLeavesTheBindingsOfTheOther) {
    world.set_up("alice", direct);
    world.set_up("alice", "2001:db8:1::a");
    for (int i = 0; i < 2; ++i) {
        MemoryKea& kea = i == 0 ? world.kea : world.kea6;
        kea.stop();
        world.scheduler.run_for(std::chrono::seconds(1));
        kea.start();
        world.connect_all();
        world.scheduler.run_for(std::chrono::seconds(10));
        EXPECT_EQ(world.broker().status().bindings, 2U);
        EXPECT_THAT(world.problems(), IsEmpty());
    }
}

TEST_F(BrokerV6, ServerThatStartsWhileOneKeaIsAwayServesTheOtherAndTakesNothingDown) {
    world.set_up("alice", direct);
    const auto lost = world.set_up("bob", "2001:db8:1::b").value();
    const auto before = tunnels();
    world.kill_server();
    world.kea6.stop();
    world.endpoints.at("tep1").tunnels.erase(lost);
    world.start_server();
    world.scheduler.run_for(std::chrono::seconds(10));
    EXPECT_EQ(tunnels(), before);  // what Kea knows was put back, the rest stayed
    EXPECT_EQ(create("carol", "2001:db8:1::c")->status(), Status::success);
    EXPECT_EQ(create("dave", nat, "tep1")->status(), Status::too_busy);
    world.kea6.start();
    world.connect_all();
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(world.broker().status().bindings, 2U);
    EXPECT_EQ(create("dave", nat, "tep1")->status(), Status::success);
    world.settle();
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerV6, WhatEndedMeanwhileIsTakenDownOnceAllLeasesAreKnown) {
    const auto ended = world.set_up("alice", direct).value();
    const auto stale = world.set_up("bob", "2001:db8:1::b").value();
    world.kill_server();
    world.kea6.stop();
    world.kea6.leases.erase(ended);
    world.kea.leases.erase(stale);
    world.start_server();
    world.scheduler.run_for(std::chrono::seconds(10));
    EXPECT_EQ(tunnels().size(), 2U);
    world.kea6.start();
    world.connect_all();
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(tunnels(), IsEmpty());
}

// --- idle tunnels --------------------------------------------------------------------------------

TEST_F(BrokerV6, IdleTunnelsStayUnlessTheOperatorWantsThemRemoved) {
    const auto address = world.set_up("alice", direct).value();
    const auto other = world.set_up("bob", "2001:db8:1::b").value();
    world.links().report_idle("tep1", {address});
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_EQ(tunnels().size(), 2U);

    world.config.idle_tunnels = server::IdleTunnels::remove;
    world.broker().reconfigure(world.config);
    world.links().report_idle("tep1", {address, *parse_ip_address("2001:db8:100::99")});
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_THAT(world.kea6.leases, IsEmpty());
    EXPECT_FALSE(tunnels().contains(address));
    EXPECT_TRUE(tunnels().contains(other));
    EXPECT_EQ(world.audit.records.back().event, server::AuditRecord::Event::ended);
    EXPECT_EQ(world.audit.records.back().reason, "idle");
    EXPECT_THAT(world.problems(), IsEmpty());
}

TEST_F(BrokerV6, TunnelWhoseClientSignalsIsNotIdle) {
    world.config.idle_tunnels = server::IdleTunnels::remove;
    world.broker().reconfigure(world.config);
    const auto address = world.set_up("alice", direct).value();
    const auto dialogue = create("alice", direct);
    world.links().report_idle("tep1", {address});
    accept(dialogue);
    world.scheduler.run_for(std::chrono::seconds(1));
    EXPECT_TRUE(tunnels().contains(address));
}

TEST_F(BrokerV6, ClientOfAnIdleTunnelThatAsksAgainIsServed) {
    world.config.idle_tunnels = server::IdleTunnels::remove;
    world.broker().reconfigure(world.config);
    const auto address = world.set_up("alice", direct).value();
    world.links().report_idle("tep1", {address});
    const auto dialogue = create("alice", direct);  // while it is taken down
    EXPECT_EQ(dialogue->status(), Status::success);
    accept(dialogue);
    world.settle();
    EXPECT_EQ(tunnels().size(), 1U);
    EXPECT_THAT(world.problems(), IsEmpty());
}

}  // namespace
}  // namespace dstm::support
