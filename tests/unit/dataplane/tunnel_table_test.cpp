#include "common/dataplane/tunnel_table.hpp"

#include "tests/unit/dataplane/carrier_world.hpp"

namespace dstm::dataplane::testing {
namespace {

class Table : public ::testing::Test {
protected:
    void put(const TunnelSpec& spec) {
        ASSERT_TRUE(table.check_put(spec));
        table.put(spec, {spec.type, spec.outer_client}, PathMtu(1500));
    }
    TunnelTable table{2};
    const Peer outer{TunnelType::v4v6, {v6("2001:db8:1::5"), 0}};
    const Peer other_outer{TunnelType::v4v6, {v6("2001:db8:1::6"), 0}};
};

TEST_F(Table, NewerReplacesAndTheCountersLiveOn) {
    put(make_spec("192.0.2.7", "2001:db8:1::5", 5));
    table.find(v4("192.0.2.7"))->counters.packets_up = 42;
    put(make_spec("192.0.2.7", "2001:db8:1::6", 6));
    ASSERT_EQ(table.size(), 1u);
    EXPECT_EQ(table.list().at(0).counters.packets_up, 42u);
    EXPECT_EQ(table.find(v4("192.0.2.7"))->far_end->peer, other_outer);
    EXPECT_EQ(table.find_far_end(outer), nullptr) << "nothing leads there any more";
}

TEST_F(Table, OlderIsAConflictAndTheSameIsNot) {
    put(make_spec("192.0.2.7", "2001:db8:1::5", 5));
    EXPECT_TRUE(table.check_put(make_spec("192.0.2.7", "2001:db8:1::5", 5)));
    const auto older = table.check_put(make_spec("192.0.2.7", "2001:db8:1::6", 4));
    EXPECT_EQ(older.error().code, ErrorCode::conflict);
}

TEST_F(Table, LateRemovalIsAConflict) {
    put(make_spec("192.0.2.7", "2001:db8:1::5", 5));
    EXPECT_EQ(table.remove(v4("192.0.2.7"), 4).error().code, ErrorCode::conflict);
    EXPECT_TRUE(table.remove(v4("192.0.2.7"), 5));
    EXPECT_EQ(table.remove(v4("192.0.2.7"), 5).error().code, ErrorCode::not_found);
    EXPECT_EQ(table.size(), 0u);
    EXPECT_EQ(table.find_far_end(outer), nullptr);
}

TEST_F(Table, FarEndStaysWhileATunnelLeadsThere) {
    put(make_spec("192.0.2.7", "2001:db8:1::5"));
    put(make_spec("192.0.2.8", "2001:db8:1::5"));
    ASSERT_TRUE(table.find(v4("192.0.2.7"))->far_end->path_mtu.lower(1300, start.instant));
    EXPECT_EQ(table.find(v4("192.0.2.8"))->far_end->path_mtu.value(start.instant), 1300u);
    ASSERT_TRUE(table.remove(v4("192.0.2.7"), 1));
    EXPECT_NE(table.find_far_end(outer), nullptr);
    put(make_spec("192.0.2.8", "2001:db8:1::5", 2));
    EXPECT_EQ(table.find_far_end(outer)->tunnels, 1u) << "replaced, not counted twice";
}

TEST_F(Table, FullRefusesNewOnesAndReplacesOldOnes) {
    put(make_spec("192.0.2.7", "2001:db8:1::5"));
    put(make_spec("192.0.2.8", "2001:db8:1::6"));
    const auto third = make_spec("192.0.2.9", "2001:db8:1::7");
    EXPECT_EQ(table.check_put(third).error().code, ErrorCode::exhausted);
    put(make_spec("192.0.2.8", "2001:db8:1::5", 2));
    ASSERT_TRUE(table.remove(v4("192.0.2.7"), 1));
    put(third);
}

TunnelSpec with_prefix(const std::string& inner, const std::string& prefix,
                       Generation generation = 1) {
    auto spec = make_v6_spec(inner, "192.0.2.99", 0, generation);
    if (!prefix.empty()) spec.inner_prefix = Ipv6Prefix::parse(prefix).value();
    return spec;
}

TEST_F(Table, HolderIsFoundByItsAddressElseByTheLongestPrefix) {
    put(with_prefix("2001:db8:100::7", "2001:db8:200::/48"));
    put(with_prefix("2001:db8:200::8", "2001:db8:200:ab00::/56"));
    const auto holder = [&](const std::string& address) -> std::string {
        const auto* found = table.holder_of(v6(address));
        return found == nullptr ? "nobody" : to_string(found->spec.inner);
    };
    EXPECT_EQ(holder("2001:db8:100::7"), "2001:db8:100::7");
    EXPECT_EQ(holder("2001:db8:100::8"), "nobody");
    EXPECT_EQ(holder("2001:db8:200::1"), "2001:db8:100::7");
    EXPECT_EQ(holder("2001:db8:200:ffff:ffff:ffff:ffff:ffff"), "2001:db8:100::7");
    EXPECT_EQ(holder("2001:db8:201::"), "nobody");
    EXPECT_EQ(holder("2001:db8:200:abff::1"), "2001:db8:200::8");
    EXPECT_EQ(holder("2001:db8:200:ac00::1"), "2001:db8:100::7");
    EXPECT_EQ(holder("2001:db8:200::8"), "2001:db8:200::8") << "an address before any prefix";
    EXPECT_EQ(table.holder_of(v4("192.0.2.7")), nullptr);
}

TEST_F(Table, PrefixGoesWithItsTunnelAndToWhomItIsGivenLast) {
    put(with_prefix("2001:db8:100::7", "2001:db8:200::/48"));
    put(with_prefix("2001:db8:100::7", "2001:db8:201::/48", 2));
    EXPECT_EQ(table.holder_of(v6("2001:db8:200::1")), nullptr) << "it has another one now";
    put(with_prefix("2001:db8:100::8", "2001:db8:201::/48", 3));
    const auto* second = table.find(v6("2001:db8:100::8"));
    EXPECT_EQ(table.holder_of(v6("2001:db8:201::1")), second);
    ASSERT_TRUE(table.remove(v6("2001:db8:100::7"), 2));
    EXPECT_EQ(table.holder_of(v6("2001:db8:201::1")), second) << "it was not the first one's";
    ASSERT_TRUE(table.remove(v6("2001:db8:100::8"), 3));
    EXPECT_EQ(table.holder_of(v6("2001:db8:201::1")), nullptr);
}

TEST_F(Table, FarEndsOfTwoEncapsulationsAreTwo) {
    put(make_v6_spec("2001:db8:100::7", "192.0.2.99"));
    put(make_v6_spec("2001:db8:100::8", "192.0.2.99", 40000));
    const IpEndpoint with_port{v4("192.0.2.99"), 40000};
    EXPECT_NE(table.find_far_end({TunnelType::v6udpv4, with_port}), nullptr);
    EXPECT_EQ(table.find_far_end({TunnelType::v6v4, with_port}), nullptr);
    EXPECT_EQ(table.find_far_end({TunnelType::v6udpv4, {v4("192.0.2.99"), 40001}}), nullptr);
}

}  // namespace
}  // namespace dstm::dataplane::testing
