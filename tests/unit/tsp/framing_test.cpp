#include "common/tsp/framing.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace dstm::tsp {
namespace {

using namespace std::string_literals;

constexpr FramingLimits small{16, 32};

Framing filled(std::string_view bytes, FramingLimits limits = small) {
    Framing framing(limits);
    framing.append(bytes);
    return framing;
}

// "error: ...", "more", or the piece in quotes.
std::string shown(const Result<std::optional<std::string>>& piece) {
    if (!piece) return "error: " + piece.error().context;
    return piece->has_value() ? '"' + **piece + '"' : "more";
}

TEST(TspFraming, LinesEndWithCrLfOrLf) {
    auto framing = filled("one\r\ntwo\n\r\n\nlast");
    for (const auto* expected : {"\"one\"", "\"two\"", "\"\"", "\"\"", "more"}) {
        EXPECT_EQ(shown(framing.next_line()), expected);
    }
    EXPECT_TRUE(framing.has_partial());
}

TEST(TspFraming, CarriageReturnWithinALineStays) {
    EXPECT_EQ(shown(filled("a\rb\r\n").next_line()), "\"a\rb\"");
}

TEST(TspFraming, LineOfTheLimitPassesAndOneMoreByteIsAnErrorBeforeItsEnd) {
    const std::string limit(small.line_size_max, 'x');
    EXPECT_EQ(shown(filled(limit + "\r\n").next_line()), '"' + limit + '"');
    EXPECT_EQ(shown(filled(limit + "\r").next_line()), "more");
    for (const auto& bad : {limit + "x", limit + "x\r\n", limit + "\rx", limit + "x\n"}) {
        EXPECT_EQ(shown(filled(bad).next_line()), "error: line is longer than 16 bytes");
    }
}

TEST(TspFraming, BodyIsWhatContentLengthCounts) {
    auto framing = filled("Content-length: 5\r\nhello\r\nContent-length: 7\r\nworld\r\n", {64, 64});
    EXPECT_EQ(shown(framing.next_body()), "\"hello\"");
    EXPECT_EQ(shown(framing.next_body()), "\"world\r\n\"") << "CR LF before the line is skipped";
    EXPECT_FALSE(framing.has_partial());
}

TEST(TspFraming, HeaderIsReadLiberally) {
    for (const auto* header : {"Content-length:2", "content-length: 2", "CONTENT-LENGTH :\t2",
                               "  Content-Length: 02  "}) {
        EXPECT_EQ(shown(filled(header + "\nhi"s, {64, 64}).next_body()), "\"hi\"") << header;
    }
}

TEST(TspFraming, LengthOverLimitIsAnErrorBeforeTheBodyArrives) {
    EXPECT_EQ(shown(filled("Content-length: 32\n", {64, 32}).next_body()), "more");
    for (const auto* length :
         {"33", "4294967296", "18446744073709551616", "99999999999999999999"}) {
        EXPECT_EQ(shown(filled("Content-length: "s + length + "\n", {64, 32}).next_body()),
                  "error: Content-length is over the limit of 32")
            << length;
    }
}

TEST(TspFraming, LengthThatIsNoPlainNumberIsAnError) {
    for (const auto* length : {"", "-1", "+1", "0x10", "1 2", "1.5", "12a", "\xd9\xa1"}) {
        EXPECT_EQ(shown(filled("Content-length: "s + length + "\n", {64, 32}).next_body()),
                  "error: Content-length is not a number")
            << length;
    }
}

TEST(TspFraming, OtherLinesAreAnErrorWhereABodyIsExpected) {
    for (const auto* line :
         {"<tunnel action=\"create\">", "Content-type: 3", "Content-length 3", ":"}) {
        EXPECT_EQ(shown(filled(line + "\r\n"s, {64, 64}).next_body()),
                  "error: expected a Content-length line")
            << line;
    }
}

TEST(TspFraming, EmptyLinesBeforeAHeaderAreBounded) {
    Framing framing({64, 64});
    for (int i = 0; i < 8; ++i) {
        framing.append("\r\n");
        EXPECT_EQ(shown(framing.next_body()), "more");
    }
    framing.append("\r\n");
    EXPECT_EQ(shown(framing.next_body()), "error: nothing but empty lines");
}

TEST(TspFraming, OneToleratedNulIsDroppedOnceAndOnlyInFront) {
    auto framing = filled("\0\0x\r\n"s);
    framing.tolerate_nul();
    EXPECT_EQ(shown(framing.next_line()), "\"\0x\""s);

    auto without = filled("x\r\n\0y\r\n"s);
    without.tolerate_nul();
    EXPECT_EQ(shown(without.next_line()), "\"x\"");
    EXPECT_EQ(shown(without.next_line()), "\"\0y\""s);
}

TEST(TspFraming, ToleratedNulMayComeLate) {
    Framing framing(small);
    framing.tolerate_nul();
    EXPECT_EQ(shown(framing.next_line()), "more");
    framing.append("\0"s);
    EXPECT_EQ(shown(framing.next_line()), "more");
    EXPECT_FALSE(framing.has_partial());
    framing.append("x\n");
    EXPECT_EQ(shown(framing.next_line()), "\"x\"");
}

TEST(TspFraming, UncountedPieceEndsWithItsMarkAndIsBounded) {
    auto framing = filled("<a></a>rest");
    EXPECT_EQ(shown(framing.next_until("</a>")), "\"<a></a>\"");
    EXPECT_EQ(shown(framing.next_until("</a>")), "more");
    EXPECT_EQ(shown(filled(std::string(33, 'x')).next_until("</a>")),
              "error: message is longer than 32 bytes");
}

TEST(TspFraming, PiecesAreTheSameInWhateverPortionsTheyCome) {
    const auto stream = "first\r\nContent-length: 6\r\n\r\nbody\r\n\r\nContent-length: 0\n"s;
    for (std::size_t portion = 1; portion <= stream.size(); ++portion) {
        Framing framing({64, 64});
        std::vector<std::string> pieces;
        for (std::size_t at = 0; at < stream.size(); at += portion) {
            framing.append(std::string_view(stream).substr(at, portion));
            while (true) {
                auto piece = pieces.empty() ? framing.next_line() : framing.next_body();
                ASSERT_TRUE(piece) << piece.error().context;
                if (!piece->has_value()) break;
                pieces.push_back(**piece);
            }
        }
        EXPECT_EQ(pieces, (std::vector<std::string>{"first", "\r\nbody", ""})) << portion;
    }
}

}  // namespace
}  // namespace dstm::tsp
