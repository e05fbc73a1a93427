// Lines of the stream socket: what goes in comes out, and what would hurt Kea's reader stays out.
#include "kea-hook/json_line.hpp"

#include <gtest/gtest.h>

namespace dstm::kea {
namespace {

std::string echo(std::string_view line) {
    const auto value = read_json_line(line);
    if (!value) return "refused: " + value.error().context;
    std::string out;
    append_json(out, *value);
    return out;
}

TEST(KeaJsonLine, ValuesComeBackAsTheyWere) {
    EXPECT_EQ(echo(R"({"a":1793714401123456,"b":[true,null,"x"],"c":{}})"),
              R"({"a": 1793714401123456, "b": [true, null, "x"], "c": {}})");
}

TEST(KeaJsonLine, Utf8IsKeptRawOrEscaped) {
    EXPECT_EQ(echo("[\"al\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"]"),
              "[\"al\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"]");
    EXPECT_EQ(echo(R"(["\u00e9\u20ac\uD83D\uDE00"])"),
              "[\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"]");
}

TEST(KeaJsonLine, ControlCharactersAndQuotesAreEscaped) {
    EXPECT_EQ(echo(R"(["a\n\"\\\u0001"])"), R"(["a\u000a\"\\\u0001"])");
}

TEST(KeaJsonLine, BytesThatAreNoUtf8AreEscapedOneByOne) {
    for (const char* bytes : {"\xff", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                              "\xf4\x90\x80\x80", "\xe2\x82"}) {
        std::string expected = "[\"";
        for (const char* byte = bytes; *byte != '\0'; ++byte) {
            char escape[8];
            std::snprintf(escape, sizeof(escape), "\\u00%02x", static_cast<unsigned char>(*byte));
            expected += escape;
        }
        EXPECT_EQ(echo("[\"" + std::string(bytes) + "\"]"), expected + "\"]");
    }
}

TEST(KeaJsonLine, DepthIsBounded) {
    const auto nested = [](std::size_t depth) {
        return std::string(depth, '[') + std::string(depth, ']');
    };
    EXPECT_EQ(echo(nested(json_depth_max)), nested(json_depth_max));
    EXPECT_EQ(echo(nested(json_depth_max + 1)), "refused: nested too deeply");
    EXPECT_FALSE(read_json_line(std::string(900000, '[')));
    EXPECT_EQ(echo("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]").substr(0, 3), "[\"[");
}

TEST(KeaJsonLine, MalformedIsRefused) {
    for (const char* line :
         {"", "{", "{} x", "{\"a\" 1}", "[\"\\u12\"]", "[\"\\uD83D\"]", "[\"\\uDE00\"]", "[\"open",
          "nul", "99999999999999999999999", "\"\\"}) {
        EXPECT_FALSE(read_json_line(line)) << line;
    }
}

}  // namespace
}  // namespace dstm::kea
