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
