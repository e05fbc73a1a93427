#include "common/tsp/reply.hpp"

#include <gtest/gtest.h>

#include "common/tsp/status.hpp"

namespace dstm::tsp {
namespace {

// RFC 5572 Appendix B.
TEST(TspStatus, TitlesAreThoseOfTheRfc) {
    EXPECT_EQ(title(200), "Success");
    EXPECT_EQ(title(300), "Authentication failed");
    EXPECT_EQ(title(301), "No more tunnels available");
    EXPECT_EQ(title(302), "Unsupported client version");
    EXPECT_EQ(title(303), "Unsupported tunnel type");
    EXPECT_EQ(title(310), "Server side error");
    EXPECT_EQ(title(500), "Invalid request format or specified length");
    EXPECT_EQ(title(501), "Invalid IPv4 address");
    EXPECT_EQ(title(502), "Invalid IPv6 address");
    EXPECT_EQ(title(506), "IPv4 address already used for existing tunnel");
    EXPECT_EQ(title(507), "Requested prefix length cannot be assigned");
    EXPECT_EQ(title(521), "Request already in progress");
    EXPECT_EQ(title(530), "Server too busy");
    EXPECT_EQ(title(299), "Unknown status");
}

TEST(TspStatus, OnlyInProgressAndTooBusyAreTemporary) {
    for (std::uint16_t code = 0; code < 2000; ++code) {
        EXPECT_EQ(is_temporary(code), code == 521 || code == 530) << code;
    }
}

TEST(TspReply, StatusLineHasCodeTitleAndCrLf) {
    EXPECT_EQ(format_status_line(200), "200 Success\r\n");
    EXPECT_EQ(format_status_line(1302), "1302 Unsupported client version\r\n");
}

TEST(TspReply, DetailCannotBreakTheLine) {
    EXPECT_EQ(format_status_line(530, "no endpoint"), "530 no endpoint\r\n");
    EXPECT_EQ(format_status_line(530, "a\r\n200 b\xff"), "530 a  200 b \r\n");
    EXPECT_EQ(format_status_line(530, std::string(1000, 'x')).size(), 4 + 200 + 2);
}

TEST(TspReply, FrameCountsEveryByteAfterItsLine) {
    EXPECT_EQ(frame("<tunnel action=\"accept\"></tunnel>\r\n"),
              "Content-length: 35\r\n<tunnel action=\"accept\"></tunnel>\r\n");
}

TEST(TspReply, StatusLineOfThePeerIsReadByItsNumber) {
    EXPECT_EQ(parse_status_line("200 OK"), (StatusLine{200, "OK"}));
    EXPECT_EQ(parse_status_line("200"), (StatusLine{200, ""}));
    EXPECT_EQ(parse_status_line("1302 Unsupported"), (StatusLine{1302, "Unsupported"}));
    EXPECT_EQ(parse_status_line("500 a\x1b[2Jb"), (StatusLine{500, "a?[2Jb"}));
    for (const auto* bad : {"", "20", "20 OK", "0200 OK", "099 x", "1600 x", "2000", "12345 x",
                            "2OO OK", "-200 x", " 200 OK", "OK"}) {
        EXPECT_FALSE(parse_status_line(bad)) << bad;
    }
}

}  // namespace
}  // namespace dstm::tsp
