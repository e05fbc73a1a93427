// When a path counts as a black hole for large packets, and when not.
#include <gtest/gtest.h>

#include "client/path_probe.hpp"

namespace dstm::client {
namespace {

class ClientPathProbe : public testing::Test {
protected:
    // One round; the echoes that a path which carries what `carries` says would answer.
    std::optional<PathProbe::Verdict> round(bool carries_large, bool carries_small) {
        std::optional<PathProbe::Verdict> verdict;
        for (const auto& echo : probe_.next(now_)) {
            const bool arrives = echo.is_large ? carries_large : carries_small;
            if (!arrives) continue;
            if (const auto said = probe_.answered(echo.sequence)) verdict = said;
        }
        now_ += PathProbe::round_time;
        if (!verdict) verdict = probe_.verdict(now_);
        return verdict;
    }

    PathProbe probe_;
    Instant now_{std::chrono::hours(1)};
};

using Verdict = PathProbe::Verdict;

TEST_F(ClientPathProbe, OneLargeEchoIsEnough) {
    probe_.begin(now_);
    EXPECT_EQ(round(true, false), Verdict::good);
    EXPECT_FALSE(probe_.due());
    EXPECT_TRUE(probe_.next(now_).empty());
}

TEST_F(ClientPathProbe, SmallOnesThatArriveWhereNoLargeOneDoesAreABlackHole) {
    probe_.begin(now_);
    EXPECT_FALSE(round(false, true));
    EXPECT_FALSE(round(false, false));
    EXPECT_EQ(round(false, true), Verdict::black_hole);
    EXPECT_FALSE(probe_.due());
}

TEST_F(ClientPathProbe, LossOfAFewLargeOnesIsNot) {
    probe_.begin(now_);
    EXPECT_FALSE(round(false, true));
    EXPECT_FALSE(round(false, true));
    EXPECT_EQ(round(true, true), Verdict::good);
}

TEST_F(ClientPathProbe, APathThatIsDeadHasNoVerdict) {
    probe_.begin(now_);
    for (unsigned i = 0; i < PathProbe::rounds; ++i) EXPECT_FALSE(round(false, false));
    EXPECT_FALSE(probe_.due());
    EXPECT_FALSE(probe_.verdict(now_ + std::chrono::hours(1)));
}

TEST_F(ClientPathProbe, AnswersFromBeforeAMoveDoNotCount) {
    probe_.begin(now_);
    const auto before = probe_.next(now_);
    ASSERT_EQ(before.size(), 2u);
    probe_.begin(now_);
    EXPECT_FALSE(probe_.answered(before[0].sequence));
    EXPECT_FALSE(probe_.answered(before[1].sequence));
    for (unsigned i = 0; i < PathProbe::rounds; ++i) EXPECT_FALSE(round(false, false));
}

TEST_F(ClientPathProbe, SequencesWrap) {
    for (int i = 0; i < 40000; ++i) {
        probe_.begin(now_);
        ASSERT_EQ(round(true, true), Verdict::good) << i;
    }
}

TEST_F(ClientPathProbe, StoppedItAsksForNothing) {
    probe_.begin(now_);
    probe_.stop();
    EXPECT_FALSE(probe_.due());
    EXPECT_TRUE(probe_.next(now_).empty());
}

}  // namespace
}  // namespace dstm::client
