#include "common/base/rate_table.hpp"

#include <gtest/gtest.h>

namespace dstm {
namespace {

using namespace std::chrono_literals;

IpAddress address(const char* text) { return *parse_ip_address(text); }

TEST(RateTable, LetsABurstThroughAndThenSoManyASecond) {
    RateTable table({10, 20}, 1);
    Instant now{};
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(table.take("alice", now));
    EXPECT_FALSE(table.take("alice", now));
    now += 1s;
    EXPECT_TRUE(table.has(address("192.0.2.1"), now));
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(table.take("alice", now));
    EXPECT_FALSE(table.take("alice", now));
    now += 1h;
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(table.take("alice", now));
    EXPECT_FALSE(table.take("alice", now)) << "never more than the burst";
}

TEST(RateTable, TimeThatGoesBackGivesNothing) {
    RateTable table({10, 1}, 1);
    const Instant now{10s};
    EXPECT_TRUE(table.take("alice", now));
    EXPECT_FALSE(table.take("alice", now - 5s));
    EXPECT_FALSE(table.take("alice", now));
}

TEST(RateTable, EachNameAndAddressHasItsOwnShare) {
    RateTable table({1, 1}, 7);
    const Instant now{};
    int admitted = 0;
    for (int i = 0; i < 64; ++i) {
        admitted += table.take("user" + std::to_string(i), now) ? 1 : 0;
        admitted += table.take(address(("2001:db8::" + std::to_string(i)).c_str()), now) ? 1 : 0;
        admitted += table.take(address(("192.0.2." + std::to_string(i)).c_str()), now) ? 1 : 0;
    }
    EXPECT_GE(admitted, 180) << "192 names in 4096 buckets hardly ever meet";
}

TEST(RateTable, LookingTakesNothing) {
    RateTable table({1, 1}, 1);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(table.has(address("192.0.2.1"), Instant{}));
    EXPECT_TRUE(table.take(address("192.0.2.1"), Instant{}));
    EXPECT_FALSE(table.has(address("192.0.2.1"), Instant{}));
}

TEST(RateTable, TheKeyDecidesWhoMeetsWhom) {
    const auto meets = [](std::uint64_t key) {
        RateTable table({1, 1}, key, 4);
        EXPECT_TRUE(table.take("alice", Instant{}));
        return !table.take("mallory", Instant{});
    };
    int met = 0;
    for (std::uint64_t key = 0; key < 64; ++key) met += meets(key) ? 1 : 0;
    EXPECT_GT(met, 4);
    EXPECT_LT(met, 40);
}

TEST(SourcePrefix, IsA24OrA64) {
    EXPECT_EQ(source_prefix(address("192.0.2.77")), address("192.0.2.0"));
    EXPECT_EQ(source_prefix(address("2001:db8:1:2:3:4:5:6")), address("2001:db8:1:2::"));
}

}  // namespace
}  // namespace dstm
