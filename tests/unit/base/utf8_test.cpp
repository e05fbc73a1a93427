#include "common/base/utf8.hpp"

#include <gtest/gtest.h>

namespace dstm {
namespace {

TEST(Utf8, AcceptsEachLength) {
    for (const auto* text : {"", "alice", "m\xc3\xbcller", "\xe2\x82\xac", "\xf0\x9f\x90\x9f",
                             "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"}) {
        EXPECT_TRUE(is_utf8(text)) << text;
    }
}

TEST(Utf8, RefusesWhatRfc3629Excludes) {
    for (const auto* text :
         {"m\xfcller", "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80",
          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xe2\x82", "\xe2\x28\xa1"}) {
        EXPECT_FALSE(is_utf8(text)) << text;
    }
}

}  // namespace
}  // namespace dstm
