#include "common/dataplane/tunnel_table.hpp"

#include "tests/unit/dataplane/carrier_world.hpp"

namespace dstm::dataplane::testing {
namespace {

class Table : public ::testing::Test {
protected:
    void put(const TunnelSpec& spec) {
        ASSERT_TRUE(table.check_put(spec));
        table.put(spec, std::get<Ipv6Address>(spec.outer_client.address), PathMtu(1500),
                  start.instant);
    }
    TunnelTable table{2};
    const Ipv6Address outer = v6("2001:db8:1::5");
    const Ipv6Address other_outer = v6("2001:db8:1::6");
};

TEST_F(Table, NewerReplacesAndTheCountersLiveOn) {
    put(make_spec("192.0.2.7", "2001:db8:1::5", 5));
    table.find(v4("192.0.2.7"))->counters.packets_up = 42;
    put(make_spec("192.0.2.7", "2001:db8:1::6", 6));
    ASSERT_EQ(table.size(), 1u);
    EXPECT_EQ(table.list().at(0).counters.packets_up, 42u);
    EXPECT_EQ(table.find(v4("192.0.2.7"))->far_end->address, other_outer);
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

}  // namespace
}  // namespace dstm::dataplane::testing
