// Names of clients, and reverse zones that go to their name servers (RFC 5572 s4.7.2, s5.2). DNS
// never holds up a tunnel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dstm-server/broker/host_name.hpp"
#include "dstm-server/broker/name_servers.hpp"
#include "support/broker_world.hpp"

namespace dstm::support {
namespace {

using server::make_host_name;
using server::read_name_servers;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using tsp::AddressType;
using tsp::Status;

// --- names ---------------------------------------------------------------------------------------

TEST(HostName, IsHostAndUserUnderTheSuffix) {
    EXPECT_EQ(make_host_name("dstm.example", "alice", "lab-7"), "lab-7.alice.dstm.example");
    EXPECT_EQ(make_host_name("dstm.example", "alice", ""), "alice.dstm.example");
}

TEST(HostName, IsNoneWithoutASuffixOrAUser) {
    EXPECT_EQ(make_host_name("", "alice", "lab-7"), "");
    EXPECT_EQ(make_host_name("dstm.example", "", "2001:db8::1"), "");
}

// printf 'Alice' | sha256sum
TEST(HostName, WhatIsNoLabelIsMadeOneThatNobodyElseHas) {
    EXPECT_EQ(make_host_name("x", "Alice", ""), "alice-3bc51062.x");
    const std::set<std::string> names = {
        make_host_name("x", "a.b", ""),  make_host_name("x", "a-b", ""),
        make_host_name("x", "a@b", ""),  make_host_name("x", "A-B", ""),
        make_host_name("x", "-a-b", ""), make_host_name("x", std::string("a\0b", 3), "")};
    EXPECT_EQ(names.size(), 6U);
    for (const std::string& name : names) {
        EXPECT_NE(name.front(), '-');
        EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-."),
                  std::string::npos);
    }
}

TEST(HostName, LabelsAndNamesAreNoLongerThanDnsHasThem) {
    const std::string name = make_host_name("x", std::string(300, 'u'), std::string(64, 'h'));
    EXPECT_EQ(name.find('.'), 63U);
    EXPECT_EQ(name.size(), 63U + 1 + 63 + 2);
    EXPECT_EQ(make_host_name(std::string(250, 's'), "alice", ""), "");
}

TEST(NameServers, AreReadFromBothPlacesEachOnce) {
    tsp::Party client;
    client.dns_servers = {{AddressType::dn, "ns1.example.net", {}}};
    client.router.emplace();
    client.router->dns_servers = {{AddressType::ipv6, "2001:DB8:0::5", {}},
                                  {AddressType::ipv4, "192.0.2.5", {}},
                                  {AddressType::dn, "ns1.example.net", {}}};
    EXPECT_THAT(read_name_servers(client).value(),
                ElementsAre("ns1.example.net", "2001:db8::5", "192.0.2.5"));
}

TEST(NameServers, ThatAreNoneAreRefused) {
    const std::vector<tsp::Address> bad = {
        {AddressType::ipv4, "192.0.2", {}},     {AddressType::ipv4, "127.0.0.1", {}},
        {AddressType::ipv6, "fe80::1", {}},     {AddressType::ipv6, "192.0.2.1", {}},
        {AddressType::dn, "", {}},              {AddressType::dn, "ns1", {}},
        {AddressType::dn, "-ns.example", {}},   {AddressType::dn, "ns..example", {}},
        {AddressType::dn, "ns1.example;", {}},  {AddressType::dn, "ns1.example\nkey", {}},
        {AddressType::dn, "192.0.2.300", {}},   {AddressType::dn, std::string(64, 'a') + ".b", {}}};
    for (const tsp::Address& server : bad) {
        tsp::Party client;
        client.dns_servers = {server};
        EXPECT_FALSE(read_name_servers(client)) << server.text;
    }
    tsp::Party many;
    for (int i = 1; i <= 9; ++i) {
        many.dns_servers.push_back({AddressType::ipv4, "192.0.2." + std::to_string(i), {}});
    }
    EXPECT_FALSE(read_name_servers(many));
    many.dns_servers.pop_back();
    EXPECT_TRUE(read_name_servers(many));
}

// --- delegations ---------------------------------------------------------------------------------

const char* const direct = "203.0.113.7";
const auto prefix = *Ipv6Prefix::parse("2001:db8:f00::/56");

class BrokerDns : public testing::Test {
protected:
    BrokerDns() {
        world.config.delegates_reverse_zones = true;
        world.config.dns_suffix = "dstm.example";
        world.add_endpoint("tep1");
        world.start_server();
        world.scheduler.run_for(std::chrono::seconds(1));
    }
    std::shared_ptr<Dialogue> create(const std::vector<std::string>& servers,
                                     std::uint32_t length = 56) {
        const auto dialogue = world.open("alice", direct);
        auto message = BrokerWorld::with_router(BrokerWorld::create_message(direct), length);
        for (const std::string& name : servers) {
            message.client->router->dns_servers.push_back(server::to_address(name));
        }
        world.ask(dialogue, message);
        if (!dialogue->is_answered()) world.wait_answer(dialogue);
        return dialogue;
    }
    void set_up(const std::vector<std::string>& servers, std::uint32_t length = 56) {
        const auto dialogue = create(servers, length);
        ASSERT_EQ(dialogue->status(), Status::success);
        world.broker().accept(dialogue->session);
        wait();
    }
    void wait() { world.scheduler.run_for(std::chrono::seconds(1)); }

    BrokerWorld world;
};

TEST_F(BrokerDns, NameIsAskedOfKeaAndReturned) {
    const auto dialogue = create({});
    EXPECT_EQ(dialogue->answers.back().message->client->find(AddressType::dn)->text,
              "alice.dstm.example");
    const auto v4 = world.open("alice", "2001:db8:1::a");
    world.ask_create(v4);
    world.wait_answer(v4);
    EXPECT_EQ(v4->answers.back().message->client->find(AddressType::dn)->text,
              "alice.dstm.example");
    const auto anonymous = world.open("", "2001:db8:1::b");
    world.ask_create(anonymous);
    world.wait_answer(anonymous);
    EXPECT_EQ(anonymous->answers.back().message->client->find(AddressType::dn), nullptr);
}

TEST_F(BrokerDns, PrefixIsDelegatedOnceAcceptedAndNotBefore) {
    const auto dialogue = create({"ns1.example.net", "2001:db8::5"});
    wait();
    EXPECT_EQ(world.dns.updates, 0U);
    world.broker().accept(dialogue->session);
    wait();
    EXPECT_THAT(world.dns.zones,
                ElementsAre(Pair(prefix, ElementsAre("ns1.example.net", "2001:db8::5"))));
}

TEST_F(BrokerDns, EveryEndOfABindingWithdrawsTheDelegation) {
    const std::vector<std::function<void()>> ends = {
        [&] {
            const auto dialogue = world.open("alice", direct);
            world.ask_delete(dialogue);
        },
        [&] {
            const IpAddress address = world.kea6.leases.begin()->first;
            world.kea6.end(address, server::LeaseEnd::deleted);
        },
        [&] { world.scheduler.run_for(std::chrono::minutes(61)); },
    };
    for (const auto& end : ends) {
        set_up({"ns1.example.net"});
        ASSERT_EQ(world.dns.zones.size(), 1U);
        end();
        wait();
        EXPECT_THAT(world.dns.zones, IsEmpty());
    }
}

TEST_F(BrokerDns, EndAfterARestartWithdrawsTheDelegationToo) {
    set_up({"ns1.example.net"});
    world.kill_server();
    world.start_server();
    wait();
    EXPECT_EQ(world.kea6.leases.begin()->second.context.name_servers.size(), 1U);
    const auto dialogue = world.open("alice", direct);
    world.ask_delete(dialogue);
    wait();
    EXPECT_THAT(world.dns.zones, IsEmpty());
}

TEST_F(BrokerDns, RenewalAsksDnsForNothingButAfterARestart) {
    set_up({"ns1.example.net"});
    EXPECT_EQ(world.dns.updates, 1U);
    set_up({"ns1.example.net"});
    EXPECT_EQ(world.dns.updates, 1U);
    world.kill_server();
    world.start_server();
    wait();
    world.dns.zones.clear();
    set_up({"ns1.example.net"});
    EXPECT_EQ(world.dns.zones.size(), 1U);
}

TEST_F(BrokerDns, ChangedNameServersReplaceTheOldAndNoneWithdraws) {
    set_up({"ns1.example.net"});
    set_up({"ns2.example.net"});
    EXPECT_THAT(world.dns.zones, ElementsAre(Pair(prefix, ElementsAre("ns2.example.net"))));
    set_up({});
    EXPECT_THAT(world.dns.zones, IsEmpty());
}

TEST_F(BrokerDns, AnotherPrefixTakesTheDelegationWithIt) {
    set_up({"ns1.example.net"});
    set_up({"ns1.example.net"}, 60);
    EXPECT_THAT(world.dns.zones, ElementsAre(Pair(world.kea6.leases.begin()->second.prefix.value(),
                                                  ElementsAre("ns1.example.net"))));
    EXPECT_EQ(world.dns.zones.begin()->first.length, 60);
}

TEST_F(BrokerDns, NewOwnerOfAPrefixDoesNotInheritADelegation) {
    world.dns.zones[prefix] = {"ns.of.someone.gone"};
    set_up({});
    EXPECT_THAT(world.dns.zones, IsEmpty());
}

TEST_F(BrokerDns, FailureOfDnsLeavesTheTunnelAndIsTriedAgain) {
    world.dns.error = ErrorCode::unavailable;
    set_up({"ns1.example.net"});
    EXPECT_EQ(world.endpoints.at("tep1").tunnels.size(), 1U);
    EXPECT_EQ(world.broker().status().bindings, 1U);
    EXPECT_EQ(world.dns.updates, 1U);
    world.scheduler.run_for(std::chrono::minutes(3));
    EXPECT_GT(world.dns.updates, 1U);
    EXPECT_LE(world.dns.updates, 5U);
    world.dns.error.reset();
    world.scheduler.run_for(std::chrono::minutes(2));
    EXPECT_EQ(world.dns.zones.size(), 1U);

    world.dns.error = ErrorCode::timed_out;
    const auto dialogue = world.open("alice", direct);
    world.ask_delete(dialogue);
    wait();
    EXPECT_EQ(dialogue->status(), Status::success);
    world.dns.error.reset();
    world.scheduler.run_for(std::chrono::minutes(2));
    EXPECT_THAT(world.dns.zones, IsEmpty());
}

TEST_F(BrokerDns, WhatDnsCanNeverDoIsNotTriedAgain) {
    world.dns.error = ErrorCode::invalid;
    set_up({"ns1.example.net"});
    world.scheduler.run_for(std::chrono::minutes(30));
    EXPECT_EQ(world.dns.updates, 1U);
}

TEST_F(BrokerDns, BadNameServerIs500) {
    EXPECT_EQ(create({"not a name"})->status(), Status::invalid_format);
    EXPECT_THAT(world.kea6.leases, IsEmpty());
}

TEST_F(BrokerDns, NothingIsDelegatedOrKeptUnlessConfigured) {
    world.config.delegates_reverse_zones = false;
    world.broker().reconfigure(world.config);
    set_up({"ns1.example.net"});
    EXPECT_TRUE(world.kea6.leases.begin()->second.context.name_servers.empty());
    EXPECT_THAT(world.dns.zones, IsEmpty());
}

}  // namespace
}  // namespace dstm::support
