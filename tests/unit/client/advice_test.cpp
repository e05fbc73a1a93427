// Every number of RFC 5572 Appendix B has words for the user.
#include "client/advice.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace dstm::client {
namespace {

// RFC 5572 Appendix B, all of it, and what deployed brokers add.
constexpr std::uint16_t known_codes[] = {300, 301, 302, 303, 310, 500, 501, 502,
                                         506, 507, 509, 518, 520, 521, 522, 530};

TEST(ClientAdvice, EveryKnownCodeHasAMeaningAndARemedy) {
    for (const auto code : known_codes) {
        const auto* advice = find_advice(code);
        ASSERT_NE(advice, nullptr) << code;
        EXPECT_FALSE(advice->meaning.empty()) << code;
        EXPECT_FALSE(advice->remedy.empty()) << code;
        const auto text = explain(code, "the broker's words");
        EXPECT_NE(text.find(std::to_string(code)), std::string::npos);
        EXPECT_NE(text.find("\"the broker's words\""), std::string::npos) << text;
        EXPECT_NE(text.find(advice->meaning), std::string::npos);
        EXPECT_NE(text.find(advice->remedy), std::string::npos);
    }
}

TEST(ClientAdvice, TemporaryCodesOfTheRfcAreNotPermanent) {
    EXPECT_FALSE(is_permanent(521));
    EXPECT_FALSE(is_permanent(530));
    for (const auto code : std::vector<std::uint16_t>{300, 302, 303, 501, 502}) {
        EXPECT_TRUE(is_permanent(code)) << code;
    }
}

TEST(ClientAdvice, UnknownCodeIsSaidToBeUnknownAndMayPass) {
    EXPECT_EQ(find_advice(399), nullptr);
    EXPECT_FALSE(is_permanent(399));
    EXPECT_NE(explain(399, "").find("399"), std::string::npos);
}

TEST(ClientAdvice, BrokersTextCannotForgeALogLine) {
    const auto text = explain(530, "busy\n2026-01-01 CLIENT_UP user=root");
    EXPECT_EQ(text.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace dstm::client
