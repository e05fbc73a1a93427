// The v6 types in virtual time: what is asked, what is built from the answer, and where a redirect
// leads.
#include <gtest/gtest.h>

#include "client/redirect.hpp"
#include "fake_world.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;
using tsp::RequestType;
using What = Announce::What;

EngineConfig config_of(RequestType type, std::optional<PrefixWish> prefix = std::nullopt) {
    auto config = World::default_config();
    config.wishes.type = type;
    config.wishes.prefix = std::move(prefix);
    return config;
}

struct WorldV6 : World {
    WorldV6(RequestType asked, RequestType answered, std::optional<PrefixWish> prefix = {})
        : World(config_of(asked, std::move(prefix))), answer(answered) {
        source = home_v4;
        peer = peer_v4;
        offer = [this] {
            return offer_message_v6(answer, to_string(source), prefix_text);
        };
    }
    RequestType answer;
    std::string prefix_text;
};

// RFC 5572 s4.7.2 (N9): over IPv4 only the IPv4 address.
TEST(ClientEngineV6, RequestHoldsTheIpv4AddressOnlyAndTheTypeAsAsked) {
    for (const auto type : {RequestType::v6v4, RequestType::v6udpv4, RequestType::v6anyv4}) {
        WorldV6 world(type, type == RequestType::v6anyv4 ? RequestType::v6v4 : type);
        world.tell(StartRequested{});
        const auto& create = world.commands.at(0);
        EXPECT_EQ(create.type, type);
        ASSERT_EQ(create.client->addresses.size(), 1U);
        EXPECT_EQ(create.client->addresses[0].type, tsp::AddressType::ipv4);
        EXPECT_EQ(create.client->addresses[0].text, home_v4.to_string());
        EXPECT_FALSE(create.client->router);
        EXPECT_EQ(world.engine.state(), State::up);
    }
}

// N12 and s5.2.
TEST(ClientEngineV6, RouterAsksForAPrefixAndTheAnswerIsInstalled) {
    WorldV6 world(RequestType::v6v4, RequestType::v6v4,
                  PrefixWish{56, {*parse_ip_address("2001:db8::53"), home_v4}});
    world.prefix_text = "2001:db8:200:100::";
    world.tell(StartRequested{});
    const auto& router = world.commands.at(0).client->router;
    ASSERT_TRUE(router);
    EXPECT_EQ(router->prefix, (tsp::Prefix{56, ""}));
    ASSERT_EQ(router->dns_servers.size(), 2U);
    EXPECT_EQ(router->dns_servers[0].type, tsp::AddressType::ipv6);
    EXPECT_EQ(router->dns_servers[1].type, tsp::AddressType::ipv4);
    EXPECT_EQ(world.spec.inner_prefix, Ipv6Prefix::parse("2001:db8:200:100::/56"));
}

TEST(ClientEngineV6, V6v4IsBuiltBetweenTheIpv4Addresses) {
    WorldV6 world(RequestType::v6v4, RequestType::v6v4);
    world.tell(StartRequested{});
    EXPECT_EQ(world.spec.type, TunnelType::v6v4);
    EXPECT_EQ(to_string(world.spec.inner), "2001:db8:100::7");
    EXPECT_EQ(world.spec.outer_client, (IpEndpoint{home_v4, 0}));
    EXPECT_EQ(to_string(world.spec.outer_server), "192.0.2.99");
}

// s4.5.2 (B5): the ports of the signalling are those of the data.
TEST(ClientEngineV6, V6udpv4IsBuiltOnThePortOfTheSignalling) {
    WorldV6 world(RequestType::v6anyv4, RequestType::v6udpv4);
    world.tell(StartRequested{});
    EXPECT_EQ(world.spec.type, TunnelType::v6udpv4);
    EXPECT_EQ(world.spec.outer_client, (IpEndpoint{home_v4, 40000}));
    EXPECT_EQ(world.spec.outer_server, peer_v4.address);
}

// B7: the address stays when a move into a NAT changes the encapsulation.
TEST(ClientEngineV6, MoveBehindANatChangesTheTypeAndKeepsTheAddress) {
    WorldV6 world(RequestType::v6anyv4, RequestType::v6v4);
    world.tell(StartRequested{});
    world.source = elsewhere_v4;
    world.answer = RequestType::v6udpv4;
    world.tell(OuterAddressChanged{elsewhere_v4});
    EXPECT_EQ(world.commands.at(2).type, RequestType::v6anyv4) << "asked anew what lies between";
    EXPECT_EQ(world.count(What::moved), 1U);
    EXPECT_EQ(world.count(What::down), 0U);
    EXPECT_EQ(world.spec.type, TunnelType::v6udpv4);
}

// B6: the same address and another mapping show as lost keepalives, to the inner IPv6 address.
TEST(ClientEngineV6, LostEchoesOfIpv6SignalAgain) {
    WorldV6 world(RequestType::v6udpv4, RequestType::v6udpv4);
    world.tell(StartRequested{});
    world.echo_answers = false;
    world.pass(10min, [&world] { return world.count(What::keepalive_lost) == 1; });
    ASSERT_FALSE(world.echoes.empty());
    EXPECT_EQ(to_string(world.echoes[0].from), "2001:db8:100::7");
    EXPECT_EQ(to_string(world.echoes[0].to), "2001:db8:100::1");
    EXPECT_EQ(world.count(What::renewed), 1U);
}

TEST(ClientEngineV6, DeleteNamesTheTypeThatWasGiven) {
    WorldV6 world(RequestType::v6anyv4, RequestType::v6v4);
    world.tell(StartRequested{});
    world.tell(StopRequested{});
    EXPECT_EQ(world.commands.back().action, tsp::Action::delete_tunnel);
    EXPECT_EQ(world.commands.back().type, RequestType::v6v4);
    EXPECT_TRUE(world.host_is_clean());
}

TEST(ClientEngineV6, AnswerOfAnotherTypeIsRejected) {
    WorldV6 world(RequestType::v6v4, RequestType::v6udpv4);
    world.tell(StartRequested{});
    EXPECT_EQ(world.commands.back().action, tsp::Action::reject);
    EXPECT_TRUE(world.host_is_clean());
}

// The way to an endpoint's relay: 1303 with the endpoint's IPv4 address.
TEST(ClientEngineV6, RedirectLeadsToTheIpv4AddressAndStaysThere) {
    WorldV6 world(RequestType::v6anyv4, RequestType::v6udpv4);
    world.create_status = 303;
    world.create_brokers = {
        {{{tsp::AddressType::ipv6, "2001:db8:2::1", std::nullopt},
          {tsp::AddressType::ipv4, "192.0.2.99", std::nullopt}}}};
    world.on_connect = [&world](const Connect& connect) {
        if (connect.server.host == "192.0.2.99") world.create_status = 200;
        world.events.push_back(SessionOpened{{home_v4, 40000}, peer_v4});
    };
    world.tell(StartRequested{});
    ASSERT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(world.engine.binding()->server, (Target{"192.0.2.99", 3653}));
}

// --- broker lists --------------------------------------------------------------------------------

tsp::Broker broker(std::vector<tsp::Address> addresses) { return {std::move(addresses)}; }

TEST(ClientRedirect, OneUsableAddressOfEachBrokerInOneSpelling) {
    using tsp::AddressType;
    const std::vector<tsp::Broker> list{
        broker({{AddressType::ipv4, "192.0.2.1", {}}, {AddressType::ipv6, "2001:DB8:0::1", {}}}),
        broker({{AddressType::dn, "TS1.isp1.example.", {}}}),
        broker({{AddressType::ipv6, "2001:db8::1", {}}}),  // the first one again
        broker({{AddressType::dn, "2001:db8::2", {}}}),    // an address for a name
        broker({{AddressType::dn, "", {}}}),
        broker({}),
    };
    const auto v6 = read_redirect(list, {Family::ipv6, 3700, 16});
    ASSERT_EQ(v6.size(), 3U);
    EXPECT_EQ(v6[0], (Target{"2001:db8::1", 3700}));
    EXPECT_EQ(v6[1], (Target{"ts1.isp1.example", 3700}));
    EXPECT_EQ(v6[2], (Target{"2001:db8::2", 3700}));
    const auto v4 = read_redirect(list, {Family::ipv4, 3653, 16});
    ASSERT_EQ(v4.size(), 2U);
    EXPECT_EQ(v4[0].host, "192.0.2.1");
    EXPECT_EQ(read_redirect(list, {Family::ipv6, 3653, 1}).size(), 1U);
}

TEST(ClientRedirect, ServersThatTheListDoesNotNameAreTriedAfterIt) {
    auto config = World::default_config();
    config.servers.push_back({"second.example", 3653});
    World world(config);
    world.on_connect = [&world](const Connect& connect) {
        if (connect.server.host == "second.example") {
            world.events.push_back(SessionOpened{{home, 0}, world.peer});
        } else if (connect.server.host == "dstm.example") {
            world.events.push_back(
                SessionFailed{SessionFailed::Cause::refused, 301, "full",
                              {broker({{tsp::AddressType::dn, "gone.example", {}}})}});
        } else {
            world.events.push_back(SessionFailed{SessionFailed::Cause::unreachable, 0, "no", {}});
        }
    };
    world.tell(StartRequested{});
    ASSERT_EQ(world.connects.size(), 3U);
    EXPECT_EQ(world.connects[1].server.host, "gone.example");
    EXPECT_EQ(world.engine.state(), State::up);
}

}  // namespace
}  // namespace dstm::client
