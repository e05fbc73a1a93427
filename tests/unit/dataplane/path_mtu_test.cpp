#include "common/dataplane/path_mtu.hpp"

#include <gtest/gtest.h>

#include "common/dataplane/rate_limit.hpp"

namespace dstm::dataplane {
namespace {

const Instant start(std::chrono::hours(5));

TEST(PathMtu, IsTheLinksUntilAPacketWasTooBig) {
    PathMtu path(1500);
    EXPECT_EQ(path.value(start), 1500u);
    EXPECT_TRUE(path.lower(1400, start));
    EXPECT_EQ(path.value(start), 1400u);
    EXPECT_TRUE(path.lower(1300, start));
    EXPECT_FALSE(path.lower(1350, start)) << "never raised by a message";
    EXPECT_EQ(path.value(start), 1300u);
}

TEST(PathMtu, IsNewsAlsoWhenTheKernelsRoutingKnewItFirst) {
    PathMtu path(1500);
    path.set_link(1400);
    EXPECT_TRUE(path.lower(1400, start));
    EXPECT_FALSE(path.lower(1400, start));
}

TEST(PathMtu, ForgetsAfterTenMinutesWithoutNews) {
    PathMtu path(1500);
    ASSERT_TRUE(path.lower(1400, start));
    EXPECT_EQ(path.value(start + path_mtu_lifetime - Duration(1)), 1400u);
    EXPECT_EQ(path.value(start + path_mtu_lifetime), 1500u);
    EXPECT_TRUE(path.lower(1400, start + path_mtu_lifetime)) << "and may learn it again";
}

TEST(PathMtu, SameNewsAgainRenewsTheTime) {
    PathMtu path(1500);
    ASSERT_TRUE(path.lower(1400, start));
    EXPECT_TRUE(path.lower(1400, start + std::chrono::minutes(9)));
    EXPECT_EQ(path.value(start + std::chrono::minutes(15)), 1400u);
}

// Whoever was told, and forgets as late as this, is told again as soon as it is heard again.
TEST(PathMtu, SameNewsInABurstIsToldOnce) {
    PathMtu path(1500);
    auto now = start;
    ASSERT_TRUE(path.lower(1400, now));
    auto told = now;
    for (int i = 0; i < 2000; ++i) {
        now += std::chrono::seconds(1);
        if (!path.lower(1400, now)) continue;
        EXPECT_EQ(now - told, std::chrono::minutes(1));
        told = now;
    }
    EXPECT_LT(now - told, path_mtu_lifetime);
}

TEST(PathMtu, NeverGoesBelowTheMinimumOfIpv6) {
    PathMtu path(576);
    EXPECT_EQ(path.value(start), 1280u);
    path.set_link(1500);
    EXPECT_FALSE(path.lower(1279, start));
    EXPECT_FALSE(path.lower(0, start));
    EXPECT_EQ(path.value(start), 1500u);
    EXPECT_TRUE(path.lower(1280, start));
}

TEST(PathMtu, OfIpv4NeverGoesBelowWhatIpv6NeedsInside) {
    PathMtu path(1500, path_mtu_floor(TunnelType::v6udpv4));
    EXPECT_FALSE(path.lower(1307, start));
    EXPECT_TRUE(path.lower(1308, start));
    path.set_link(576);
    EXPECT_EQ(path.value(start), 1308u);
}

TEST(RateLimit, AllowsABurstAndThenTheRate) {
    RateLimit limit(10, 3);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.allows_one(start));
    EXPECT_FALSE(limit.allows_one(start));
    EXPECT_FALSE(limit.allows_one(start + Duration(99)));
    EXPECT_TRUE(limit.allows_one(start + Duration(100)));
    EXPECT_FALSE(limit.allows_one(start + Duration(100)));
    const auto much_later = start + std::chrono::hours(24 * 365);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.allows_one(much_later));
    EXPECT_FALSE(limit.allows_one(much_later)) << "a pause fills the bucket, not more";
}

}  // namespace
}  // namespace dstm::dataplane
