#include "common/config/reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dstm::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Document parsed(std::string_view text) {
    auto document = Document::parse(text, "x.conf");
    EXPECT_TRUE(document) << (document ? "" : to_string(document.error()));
    return std::move(document).value();
}

TEST(ConfigReader, ReadsEachTypeAndIgnoresTheThreeKindsOfComment) {
    auto document = parsed(R"(// one
{ # two "
  "name": "a // b # c", /* three
  */ "port": 3653,
  "on": true, "list": ["a", "b"], "at": "192.0.2.1", "six": "2001:db8::1",
  "mode": "tun", "inner": {"depth": 2}, "servers": [{"host": "h"}] })");
    auto root = document.root();
    EXPECT_EQ(root.string("name"), "a // b # c");
    EXPECT_EQ(root.integer("port", 1, 65535), 3653);
    EXPECT_TRUE(root.boolean("on", false));
    EXPECT_THAT(root.strings("list", {}), ElementsAre("a", "b"));
    EXPECT_EQ(root.ipv4("at"), *Ipv4Address::parse("192.0.2.1"));
    EXPECT_EQ(root.ipv6("six"), *Ipv6Address::parse("2001:db8::1"));
    EXPECT_EQ(root.choice("mode", {"bpf", "tun"}, 0), 1U);
    EXPECT_EQ(root.object("inner").integer("depth", 0, 9), 2);
    EXPECT_EQ(root.objects("servers").at(0).string("host"), "h");
    EXPECT_THAT(document.finish(), IsEmpty());
}

TEST(ConfigReader, AbsentKeysTakeTheirFallbacks) {
    auto document = parsed("{}");
    auto root = document.root();
    EXPECT_EQ(root.string("name", "x"), "x");
    EXPECT_EQ(root.object("tsp").integer("port", 1, 65535, 3653), 3653);
    EXPECT_THAT(root.objects("servers"), IsEmpty());
    EXPECT_THAT(document.finish(), IsEmpty());
}

TEST(ConfigReader, ReportsEveryMistakeWithItsLineAndPath) {
    auto document = parsed(R"({
  "tsp": {
    "port": 70000,
    "wrong": 1
  },
  "mode": "fast",
  "name": 5,
  "listen": [ { "at": "192.0.2.256" }, 7 ],
  "name": "again"
})");
    auto root = document.root();
    root.object("tsp").integer("port", 1, 65535, 3653);
    root.choice("mode", {"bpf", "tun"}, std::nullopt);
    root.string("name");
    root.objects("listen").at(0).ipv4("at");
    root.string("key");
    EXPECT_THAT(document.finish(),
                ElementsAre("x.conf:1: key: missing; it must be a text",
                            "x.conf:3: tsp.port: 70000 is not an integer from 1 to 65535",
                            "x.conf:4: tsp.wrong: unknown key; known are port",
                            "x.conf:6: mode: \"fast\" is not one of bpf tun",
                            "x.conf:7: name: is an integer; it must be a text",
                            "x.conf:8: listen: holds an integer; it must be a list of objects",
                            "x.conf:8: listen[0].at: \"192.0.2.256\" is not an IPv4 address such "
                            "as 192.0.2.1",
                            "x.conf:9: name: given twice; it stands in line 7 already"));
}

TEST(ConfigReader, AnUnknownKeyThatIsNearlyAKnownOneNamesIt) {
    auto document = parsed(R"({"prot": 1, "user-name": 2, "list": [{"adress": "::"}], "x": 3})");
    auto root = document.root();
    root.integer("port", 0, 9, 0);
    static_cast<void>(root.has("user_name"));
    root.objects("list").at(0).string("address", "");
    EXPECT_THAT(document.finish(),
                ElementsAre("x.conf:1: prot: unknown key; it must be \"port\"",
                            "x.conf:1: user-name: unknown key; it must be \"user_name\"",
                            "x.conf:1: list[0].adress: unknown key; it must be \"address\"",
                            "x.conf:1: x: unknown key; known are list, port, user_name"));
}

TEST(ConfigReader, ARepeatedKeyIsNamedWithItsPath) {
    auto document = parsed("{\"a\": [{\"b\": 1,\n\"b\": {\"c\": 2}}]}");
    document.root().objects("a").at(0).integer("b", 0, 9);
    EXPECT_THAT(document.finish(),
                ElementsAre("x.conf:2: a[0].b: given twice; it stands in line 1 already"));
}

TEST(ConfigReader, AnIntegerBeyondTheRangeOfTheTypeIsRefused) {
    auto document = parsed(R"({"a": 18446744073709551615, "b": -1, "c": 1.5})");
    auto root = document.root();
    root.integer("a", 0, 10);
    root.integer("b", 0, 10);
    root.integer("c", 0, 10);
    EXPECT_EQ(document.finish().size(), 3U);
}

TEST(ConfigDocument, BrokenJsonNamesTheLine) {
    for (const auto* text :
         {"{\n\"a\": }", "{\n\"a\": 1", "{\n/* open", "\n\"text", "[]", "", "{} x"}) {
        const auto document = Document::parse(text, "x.conf");
        ASSERT_FALSE(document) << text;
        EXPECT_EQ(document.error().code, ErrorCode::invalid);
        EXPECT_THAT(document.error().context, HasSubstr("x.conf:")) << text;
    }
    EXPECT_THAT(Document::parse("{\n\"a\": }", "x.conf").error().context, HasSubstr("x.conf:2"));
}

TEST(ConfigDocument, RefusesDeepNesting) {
    EXPECT_FALSE(
        Document::parse("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}", "x"));
}

TEST(ConfigDocument, EveryPrefixOfAnExampleIsRefusedWithoutACrash) {
    const std::string text = R"({"a": [1, "b\"", {"c": true}], /* x */ "d": null} )";
    for (std::size_t size = 0; size + 1 < text.size(); ++size) {
        EXPECT_FALSE(Document::parse(text.substr(0, size), "x")) << size;
    }
}

TEST(ConfigDocument, MissingFileSaysSo) {
    const auto document = Document::load("/nonexistent/x.conf");
    ASSERT_FALSE(document);
    EXPECT_EQ(document.error().code, ErrorCode::not_found);
}

TEST(ConfigDocument, TheShippedExamplesAreValidJson) {
    for (const auto* name : {"dstm-server.conf", "dstm-tep.conf", "dstm-client.conf"}) {
        EXPECT_TRUE(Document::load(std::string(EXAMPLES) + '/' + name)) << name;
    }
}

}  // namespace
}  // namespace dstm::config
