// Lines out of bytes, however they are cut.
#include "kea-hook/connection.hpp"

#include <gtest/gtest.h>

namespace dstm::kea {
namespace {

TEST(KeaLineBuffer, LinesComeOutHoweverTheyAreCut) {
    const std::string stream = "one\n\ntwo words\nrest";
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        LineBuffer buffer;
        std::vector<std::string> lines;
        for (const auto& part : {stream.substr(0, cut), stream.substr(cut)}) {
            buffer.append(part);
            while (auto line = buffer.take()) lines.push_back(*line);
        }
        EXPECT_EQ(lines, (std::vector<std::string>{"one", "", "two words"})) << cut;
        EXPECT_EQ(buffer.size(), 4U);
        EXPECT_FALSE(buffer.has_line());
    }
}

TEST(KeaLineBuffer, ALineOfExactlyTheLimitIsGoodOneMoreIsNot) {
    LineBuffer good;
    good.append(std::string(line_size_max - 1, 'x'));
    EXPECT_FALSE(good.too_long());
    good.append("\n");
    EXPECT_FALSE(good.too_long());
    EXPECT_EQ(good.take()->size(), line_size_max - 1);

    LineBuffer bad;
    bad.append(std::string(line_size_max, 'x'));
    EXPECT_TRUE(bad.too_long());  // before its end arrives
    bad.append("\n");
    EXPECT_TRUE(bad.too_long());
}

TEST(KeaLineBuffer, ManyLinesDoNotPileUp) {
    LineBuffer buffer;
    for (int i = 0; i < 100000; ++i) {
        buffer.append("0123456789\nab");
        ASSERT_TRUE(buffer.take());
        buffer.append("\n");
        ASSERT_EQ(buffer.take(), "ab");
        ASSERT_EQ(buffer.size(), 0U);
    }
}

TEST(KeaOutputBuffer, WhatWasSentIsGoneWhatWasNotWaits) {
    OutputBuffer buffer;
    std::string expected;
    for (int i = 0; i < 30000; ++i) {
        buffer.append("abcdefg");
        expected += "abcdefg";
        buffer.sent(3);
        expected.erase(0, 3);
        if (i % 1000 == 0) {
            ASSERT_EQ(buffer.waiting(), expected);
        }
    }
    EXPECT_EQ(buffer.size(), expected.size());
}

}  // namespace
}  // namespace dstm::kea
