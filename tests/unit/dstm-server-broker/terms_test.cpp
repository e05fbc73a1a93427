// What a create may ask, as a table; and who a client is to Kea.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "dstm-server/broker/client_id.hpp"
#include "dstm-server/broker/terms.hpp"
#include "support/broker_world.hpp"

namespace dstm::server {
namespace {

using support::BrokerWorld;
using tsp::Status;
using tsp::TunnelMessage;

const char* const source = "2001:db8:1::a";

struct Row {
    const char* name;
    Status status;  // success: accepted
    std::function<void(TunnelMessage&)> change;
};

class Terms : public testing::TestWithParam<Row> {};

TEST_P(Terms, CreateIsAnsweredAsTheTableSays) {
    TunnelMessage message = BrokerWorld::create_message(source);
    GetParam().change(message);
    const Asker asker{"alice", {*parse_ip_address(source), 40000}};
    const auto terms = read_create(BrokerConfig{}, asker, message);
    EXPECT_EQ(terms ? Status::success : terms.error().status, GetParam().status);
}

void name_address(TunnelMessage& message, std::string text) {
    message.client->addresses.front().text = std::move(text);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Terms,
    testing::Values(
        Row{"Plain", Status::success, [](TunnelMessage&) {}},
        Row{"SameAddressOtherSpelling", Status::success,
            [](auto& m) { name_address(m, "2001:0DB8:0001:0000:0000:0000:0000:000A"); }},
        Row{"UnknownType", Status::unsupported_tunnel_type,
            [](auto& m) { m.type.reset(), m.unknown_type = "v4v5"; }},
        Row{"TypeNotOffered", Status::unsupported_tunnel_type,
            [](auto& m) { m.type = tsp::RequestType::v6v4; }},
        Row{"AnyType", Status::unsupported_tunnel_type,
            [](auto& m) { m.type = tsp::RequestType::v6anyv4; }},
        Row{"TypeMissing", Status::invalid_format, [](auto& m) { m.type.reset(); }},
        Row{"ClientMissing", Status::invalid_format, [](auto& m) { m.client.reset(); }},
        Row{"OnlyIpv4", Status::invalid_format,
            [](auto& m) {
                m.client->addresses = {{tsp::AddressType::ipv4, "192.0.2.1", {}}};
            }},
        Row{"NotAnAddress", Status::invalid_ipv6_address,
            [](auto& m) { name_address(m, "2001:db8:c18:ffff::0000:0000:0000:0001"); }},
        Row{"LinkLocal", Status::invalid_ipv6_address, [](auto& m) { name_address(m, "fe80::1"); }},
        Row{"NotTheSource", Status::invalid_ipv6_address,
            [](auto& m) { name_address(m, "2001:db8:1::b"); }},
        Row{"Prefix", Status::prefix_length_unavailable,
            [](auto& m) {
                m.client->router = tsp::Router{tsp::Prefix{24, ""}, {}};
            }},
        Row{"HostId", Status::success, [](auto& m) { m.host_id = "lab-7_A"; }},
        Row{"HostIdEmpty", Status::invalid_format, [](auto& m) { m.host_id = ""; }},
        Row{"HostIdTooLong", Status::invalid_format,
            [](auto& m) { m.host_id = std::string(65, 'a'); }},
        Row{"HostIdWithNul", Status::invalid_format,
            [](auto& m) { m.host_id = std::string("a\0b", 3); }}),
    [](const auto& row) { return std::string(row.param.name); });

// --- v6 types ------------------------------------------------------------------------------------

const char* const source_v4 = "203.0.113.7";

struct V6Row {
    const char* name;
    Status status;    // success: accepted
    TunnelType type;  // what it comes to then
    tsp::RequestType asked;
    std::string relay;
    std::function<void(TunnelMessage&)> change = [](TunnelMessage&) {};
    std::vector<TunnelType> offered = {TunnelType::v6v4, TunnelType::v6udpv4};
};

class TermsV6 : public testing::TestWithParam<V6Row> {};

// The packets come from 203.0.113.7 port 40000, and so the client says, unless the row changes it.
TEST_P(TermsV6, CreateIsAnsweredAsTheTableSays) {
    TunnelMessage message = BrokerWorld::create_message(source_v4);
    message.type = GetParam().asked;
    GetParam().change(message);
    BrokerConfig config;
    config.tunnel_types = GetParam().offered;
    const Asker asker{"alice", {*parse_ip_address(source_v4), 40000}, GetParam().relay};
    const auto terms = read_create(config, asker, message);
    ASSERT_EQ(terms ? Status::success : terms.error().status, GetParam().status);
    if (!terms) return;
    EXPECT_EQ(terms->context.type, GetParam().type);
    const std::uint16_t port = GetParam().type == TunnelType::v6udpv4 ? 40000 : 0;
    EXPECT_EQ(terms->context.outer_client, (IpEndpoint{*parse_ip_address(source_v4), port}));
    EXPECT_EQ(terms->client_id, make_client_id(Family::v6, "alice", ""));
}

constexpr auto any = tsp::RequestType::v6anyv4;
constexpr auto v6v4 = tsp::RequestType::v6v4;
constexpr auto v6udpv4 = tsp::RequestType::v6udpv4;
constexpr auto by_41 = TunnelType::v6v4;
constexpr auto by_udp = TunnelType::v6udpv4;

void translate(TunnelMessage& message) { name_address(message, "10.0.0.5"); }
template <std::uint32_t length>
void ask_prefix(TunnelMessage& message) {
    message.client->router = tsp::Router{tsp::Prefix{length, ""}, {}};
}

INSTANTIATE_TEST_SUITE_P(
    Table, TermsV6,
    testing::Values(
        V6Row{"V6v4", Status::success, by_41, v6v4, ""},
        V6Row{"V6v4ThroughARelay", Status::success, by_41, v6v4, "tep1"},
        V6Row{"V6v4Translated", Status::invalid_ipv4_address, by_41, v6v4, "", translate},
        V6Row{"V6udpv4", Status::success, by_udp, v6udpv4, "tep1"},
        V6Row{"V6udpv4Translated", Status::success, by_udp, v6udpv4, "tep1", translate},
        V6Row{"Any", Status::success, by_41, any, "tep1"},
        V6Row{"AnyTranslated", Status::success, by_udp, any, "tep1", translate},
        V6Row{"AnyWithoutV6v4", Status::success, by_udp, any, "tep1", [](auto&) {}, {by_udp}},
        V6Row{"AnyTranslatedWithoutUdp", Status::unsupported_tunnel_type, by_udp, any, "tep1",
              translate, {by_41}},
        V6Row{"V6v4NotOffered", Status::unsupported_tunnel_type, by_41, v6v4, "", [](auto&) {},
              {TunnelType::v4v6, by_udp}},
        V6Row{"AnyNotOffered", Status::unsupported_tunnel_type, by_41, any, "", [](auto&) {},
              {TunnelType::v4v6}},
        V6Row{"V4v6NotOffered", Status::unsupported_tunnel_type, by_41, tsp::RequestType::v4v6,
              ""},
        V6Row{"BrokerIsNoType", Status::unsupported_tunnel_type, by_41, tsp::RequestType::broker,
              ""},
        V6Row{"OnlyIpv6", Status::invalid_format, by_41, v6v4, "",
              [](auto& m) {
                  m.client->addresses = {{tsp::AddressType::ipv6, "2001:db8::1", {}}};
              }},
        V6Row{"BothAddresses", Status::success, by_41, v6v4, "",
              [](auto& m) {
                  m.client->addresses.push_back({tsp::AddressType::ipv6, "2001:db8::1", {}});
              }},
        V6Row{"NotAnAddress", Status::invalid_ipv4_address, by_41, v6v4, "",
              [](auto& m) { name_address(m, "203.0.113"); }},
        V6Row{"NotAnAddressBehindNat", Status::invalid_ipv4_address, by_udp, any, "tep1",
              [](auto& m) { name_address(m, "10.0.0.500"); }},
        V6Row{"Loopback", Status::invalid_ipv4_address, by_udp, v6udpv4, "tep1",
              [](auto& m) { name_address(m, "127.0.0.1"); }},
        V6Row{"Prefix47", Status::prefix_length_unavailable, by_41, v6v4, "", ask_prefix<47>},
        V6Row{"Prefix48", Status::success, by_41, v6v4, "", ask_prefix<48>},
        V6Row{"Prefix64", Status::success, by_41, v6v4, "", ask_prefix<64>},
        V6Row{"Prefix65", Status::prefix_length_unavailable, by_41, v6v4, "", ask_prefix<65>},
        V6Row{"Prefix0", Status::prefix_length_unavailable, by_41, v6v4, "", ask_prefix<0>},
        V6Row{"Prefix304", Status::prefix_length_unavailable, by_41, v6v4, "",
              ask_prefix<304>}),  // 48 in eight bits
    [](const auto& row) { return std::string(row.param.name); });

TEST(TermsFamily, ClientWithoutATypeIsKnownByHowItSignals) {
    BrokerConfig config;
    config.tunnel_types = {TunnelType::v4v6, by_41, by_udp};
    const Asker v4{"alice", {*parse_ip_address(source_v4), 40000}};
    const Asker v6{"alice", {*parse_ip_address(source), 40000}};
    TunnelMessage message;
    message.action = tsp::Action::info;
    EXPECT_EQ(read_client(config, v4, message)->family, Family::v6);
    EXPECT_EQ(read_client(config, v6, message)->family, Family::v4);
    EXPECT_EQ(read_client(config, v4, message)->id, make_client_id(Family::v6, "alice", ""));
    config.tunnel_types = {TunnelType::v4v6};
    EXPECT_EQ(read_client(config, v4, message)->family, Family::v4);
    message.unknown_type = "v4v5";
    EXPECT_EQ(read_client(config, v4, message).error().status, Status::unsupported_tunnel_type);
}

TEST(TermsFamily, AnonymousClientIsKnownByItsAddressOrItsMapping) {
    BrokerConfig config;
    config.tunnel_types = {by_41, by_udp};
    const Asker relayed{"", {*parse_ip_address(source_v4), 40000}, "tep1"};
    auto message = BrokerWorld::create_message("10.0.0.5");
    message.type = any;
    const auto mapping = make_client_id(Family::v6, "", "203.0.113.7:40000");
    EXPECT_EQ(read_create(config, relayed, message)->client_id, mapping);
    message.action = tsp::Action::delete_tunnel;
    EXPECT_EQ(read_client(config, relayed, message)->id, mapping);
    message.client.reset();
    EXPECT_EQ(read_client(config, relayed, message)->id, mapping);
    message.type = v6v4;
    EXPECT_EQ(read_client(config, relayed, message)->id,
              make_client_id(Family::v6, "", "203.0.113.7"));
}

TEST(TermsFamily, AnonymousClientOfARelayIsBothUnlessItSaysWhich) {
    BrokerConfig config;
    config.tunnel_types = {by_41, by_udp};
    const auto mapping = make_client_id(Family::v6, "", "203.0.113.7:40000");
    const auto address = make_client_id(Family::v6, "", "203.0.113.7");
    const auto other = [&](const char* given, std::optional<tsp::RequestType> type,
                           const char* relay = "tep1") {
        const Asker asker{"", {*parse_ip_address(source_v4), 40000}, relay};
        TunnelMessage message = BrokerWorld::create_message(given ? given : source_v4);
        if (given == nullptr) message.client.reset();
        message.type = type;
        return read_client(config, asker, message)->otherwise;
    };
    EXPECT_EQ(other(nullptr, std::nullopt), address);
    EXPECT_EQ(other(nullptr, any), address);
    EXPECT_EQ(other(source_v4, std::nullopt), mapping);
    EXPECT_EQ(other(source_v4, any), std::nullopt);
    EXPECT_EQ(other("10.0.0.5", std::nullopt), std::nullopt);
    EXPECT_EQ(other("10.0.0.5", any), std::nullopt);
    EXPECT_EQ(other(nullptr, v6v4), std::nullopt);
    EXPECT_EQ(other(nullptr, v6udpv4), std::nullopt);
    EXPECT_EQ(other(nullptr, any, ""), std::nullopt);
}

TEST(TermsSource, OtherSourceIsAcceptedWhereTheOperatorAllowsIt) {
    BrokerConfig config;
    config.allow_other_source = true;
    const Asker asker{"alice", {*parse_ip_address("192.0.2.99"), 40000}};
    EXPECT_TRUE(read_create(config, asker, BrokerWorld::create_message(source)));
    config.allow_other_source = false;
    EXPECT_FALSE(read_create(config, asker, BrokerWorld::create_message(source)));
}

// printf 'dstm\0alice\0lab-7' | sha256sum
TEST(ClientIdTest, IsTheStartOfTheDigest) {
    const ClientId id = make_client_id(Family::v4, "alice", "lab-7");
    ASSERT_EQ(id.size(), 20U);
    EXPECT_EQ(id[0], 0);
    EXPECT_EQ(id, make_client_id(Family::v4, "alice", "lab-7"));
    const ClientId expected{0x00, 0x3d, 0xa3, 0x3b, 0x72, 0x16, 0x19, 0x65, 0xa3, 0x55,
                            0xec, 0x91, 0x94, 0xa6, 0x0e, 0xa2, 0x0b, 0x27, 0xda, 0x04};
    EXPECT_EQ(id, expected);
}

// printf 'dstm6\0alice\0lab-7' | sha256sum
TEST(ClientIdTest, OfFamily6IsADuidOfAUuid) {
    const ClientId expected{0x00, 0x04, 0xd3, 0xe7, 0xc1, 0xac, 0x58, 0x1b, 0xac, 0x72, 0xf2, 0x3e,
                            0xfe, 0x87, 0x2c, 0xa7, 0xa4, 0x9c};
    EXPECT_EQ(make_client_id(Family::v6, "alice", "lab-7"), expected);
}

TEST(ClientIdTest, NoTwoPairsAreOne) {
    using std::string;
    const std::vector<std::pair<string, string>> pairs = {
        {"alice", ""},           {"", "alice"},       {"alice", "lab"}, {"alicelab", ""},
        {string("a\0b", 3), ""}, {"a", "b"},          {"", ""},         {string(1, '\0'), ""},
        {string("a\0", 2), "b"}, {"", "2001:db8::1"}, {"bob", "lab"},   {"bo", "blab"}};
    std::set<ClientId> ids;
    for (const auto& [user, host] : pairs) {
        ids.insert(make_client_id(Family::v4, user, host));
        ids.insert(make_client_id(Family::v6, user, host));
    }
    EXPECT_EQ(ids.size(), 2 * pairs.size());
}

}  // namespace
}  // namespace dstm::server
