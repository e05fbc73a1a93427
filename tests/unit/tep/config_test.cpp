// The configuration of dstm-tep: the example is good, and each mistake is told.
#include "tep/config.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tep/back_off.hpp"

namespace dstm::tep {
namespace {

std::string example() {
    std::ifstream file(std::string(DSTM_SOURCE_DIR) + "/docs/examples/dstm-tep.conf");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string with(const std::string& what, const std::string& instead) {
    std::string text = example();
    const auto at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return text.replace(at, what.size(), instead);
}

std::vector<std::string> mistakes_in(const std::string& text) {
    auto document = config::Document::parse(text, "tep.conf");
    EXPECT_TRUE(document) << to_string(document.error());
    if (!document) return {};
    (void)read_config(*document);
    return document->finish();
}

TEST(TepConfig, ExampleIsRead) {
    auto document = config::Document::parse(example(), "dstm-tep.conf");
    ASSERT_TRUE(document);
    const auto config = read_config(*document);
    EXPECT_EQ(document->finish(), std::vector<std::string>{});
    EXPECT_EQ(config.name, "tep1");
    EXPECT_EQ(config.group, "campus");
    EXPECT_EQ(config.outer_ipv6.to_string(), "2001:db8:2::1");
    EXPECT_EQ(config.inner_ipv4.to_string(), "192.0.2.1");
    ASSERT_EQ(config.pools.size(), 1u);
    EXPECT_EQ(config.pools[0].to_string(), "192.0.2.0/24");
    ASSERT_EQ(config.servers.size(), 1u);
    EXPECT_EQ(to_string(config.servers[0]), "/run/dstm/endpoints.sock");
    EXPECT_EQ(config.outer_ipv4.value().to_string(), "198.51.100.1");
    EXPECT_EQ(config.inner_ipv6.value().to_string(), "2001:db8:100::1");
    ASSERT_EQ(config.pools_ipv6.size(), 1u);
    EXPECT_EQ(config.pools_ipv6[0].to_string(), "2001:db8:100::/40");
    EXPECT_EQ(config.udp_port, 3653);
    EXPECT_EQ(config.device, "dstm0");
    EXPECT_EQ(config.admin_socket, "/run/dstm-tep/admin.sock");
}

TEST(TepConfig, TlsServerIsRead) {
    auto document = config::Document::parse(
        with(R"({ "unix-socket": "/run/dstm/endpoints.sock" })",
             R"({ "host": "dstm1.example", "certificate": "a", "key": "b", "ca": "c" })"),
        "dstm-tep.conf");
    ASSERT_TRUE(document);
    const auto config = read_config(*document);
    EXPECT_EQ(document->finish(), std::vector<std::string>{});
    ASSERT_EQ(config.servers.size(), 1u);
    EXPECT_EQ(to_string(config.servers[0]), "dstm1.example:3654");
    EXPECT_EQ(std::get<TlsServer>(config.servers[0]).tls.ca, "c");
}

TEST(TepConfig, EachMistakeIsToldWithItsKey) {
    const std::vector<std::array<std::string, 3>> table{
        {R"("name": "tep1",)", "", "name"},
        {R"("name": "tep1")", R"("name": "tep 1")", "name"},
        {R"("group": "campus")", R"("group": "")", "group"},
        {R"("log-level": "info")", R"("log-level": "loud")", "log-level"},
        {R"({ "unix-socket": "/run/dstm/endpoints.sock" })", "", "servers"},
        {R"({ "unix-socket": "/run/dstm/endpoints.sock" })", R"({ "host": "a" })", "certificate"},
        {R"("outer-ipv6": "2001:db8:2::1",)", "", "outer-ipv6"},
        {R"("2001:db8:2::1")", R"("fe80::1")", "outer-ipv6"},
        {R"("192.0.2.1")", R"("127.0.0.1")", "inner-ipv4"},
        {R"([ "192.0.2.0/24" ])", "[]", "pools"},
        {R"("192.0.2.0/24")", R"("192.0.2.1/24")", "pools"},
        {R"("192.0.2.0/24")", R"("0.0.0.0/0")", "pools"},
        {R"("192.0.2.0/24")", R"("192.0.2.0/24", "192.0.2.128/25")", "overlaps"},
        {R"("192.0.2.0/24")", R"("127.0.0.0/8")", "127.0.0.0/8 has no addresses of hosts"},
        {R"("192.0.2.0/24")", R"("224.0.0.0/8")", "224.0.0.0/8 has no addresses of hosts"},
        {R"("192.0.2.0/24")", R"("0.0.0.0/8")", "0.0.0.0/8 has no addresses of hosts"},
        {R"("192.0.2.0/24")", R"("198.51.100.0/24")", "198.51.100.1 is in the pool"},
        {R"("inner-ipv4": "192.0.2.1")", R"("inner-ipv4": "198.51.100.1")", "is outer-ipv4"},
        {R"("outer-ipv4": "198.51.100.1",)", "", "only with outer-ipv4"},
        {R"("198.51.100.1")", R"("127.0.0.1")", "outer-ipv4"},
        {R"("inner-ipv6": "2001:db8:100::1",)", "", "inner-ipv6"},
        {R"("2001:db8:100::1")", R"("ff02::1")", "inner-ipv6"},
        {R"([ "2001:db8:100::/40" ])", "[]", "pools-ipv6"},
        {R"("2001:db8:100::/40")", R"("2001:db8:100::1/40")", "pools-ipv6"},
        {R"("2001:db8:100::/40")", R"("2000::/15")", "larger than a /16"},
        {R"("2001:db8:100::/40")", R"("2001:db8:100::/40", "2001:db8::/32")", "overlaps"},
        {R"("2001:db8:100::/40")", R"("fe80::/16")", "fe80::/16 has no addresses of hosts"},
        {R"("2001:db8:100::/40")", R"("2001:db8::/32")", "2001:db8:2::1 is in the pool"},
        {R"("inner-ipv6": "2001:db8:100::1")", R"("inner-ipv6": "2001:db8:2::1")", "is outer-ipv6"},
        {R"("udp-port": 3653)", R"("udp-port": 65536)", "udp-port"},
        {R"("dstm0")", R"("a-name-that-is-too-long")", "device"},
        {R"("data-plane": "auto")", R"("data-plane": "pigeon")", "there is: auto, bpf, "},
        {R"("data-plane": "auto")", R"("data-plane": "kernel")", "udp-port"},
        {R"("shortcut": "auto")",
         R"("interfaces": [{ "name": "e0", "shortcut": "tc" }, { "name": "e0" }])",
         "e0 is in the list already"},
        {R"("idle-timeout": 0)", R"("idle-timeout": -1)", "idle-timeout"},
        {R"("hairpin": true)", R"("hairpin": "yes")", "hairpin"},
        {R"("hairpin": true)", R"("hair-pin": true)", "hair-pin"},
    };
    for (const auto& [what, instead, told] : table) {
        const auto mistakes = mistakes_in(with(what, instead));
        ASSERT_FALSE(mistakes.empty()) << instead;
        EXPECT_NE(mistakes.front().find(told), std::string::npos) << mistakes.front();
    }
}

// Of the pools of "auto" another data plane can have more.
TEST(TepConfig, PoolsAreBoundedWhereTheDataPlaneBoundsThem) {
    std::string nine = R"([ "10.0.0.0/24")";
    for (int i = 1; i < 9; ++i) nine += R"(, "10.0.)" + std::to_string(i) + R"(.0/24")";
    const std::vector<std::array<std::string, 2>> table{
        {nine + " ]", "at most 8 pools"},
        {R"([ "10.0.0.0/9" ])", "10.0.0.0/9 is larger than a /10"},
    };
    const std::string plane = R"("data-plane": "auto")";
    for (const auto& [pools, told] : table) {
        auto text = with(R"([ "192.0.2.0/24" ])", pools);
        EXPECT_EQ(mistakes_in(text), std::vector<std::string>{});
        text.replace(text.find(plane), plane.size(), R"("data-plane": "bpf")");
        const auto mistakes = mistakes_in(text);
        ASSERT_EQ(mistakes.size(), 1u);
        EXPECT_NE(mistakes.front().find(told), std::string::npos) << mistakes.front();
    }
    auto text = with(R"([ "192.0.2.0/24" ])", R"([ "10.0.0.0/10" ])");
    text.replace(text.find(plane), plane.size(), R"("data-plane": "bpf")");
    EXPECT_EQ(mistakes_in(text), std::vector<std::string>{});
}

TEST(TepConfig, AllMistakesAreToldAtOnce) {
    const auto mistakes = mistakes_in(R"({ "dstm-tep": {} })");
    EXPECT_GE(mistakes.size(), 4u);  // name, servers, outer-ipv6, inner-ipv4, pools
}

TEST(TepBackOff, DoublesFromATenthOfASecondToFiveWithHalfOfItLeftToChance) {
    BackOff back_off(7);
    for (const int whole : {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000}) {
        const auto wait = back_off.next().count();
        EXPECT_GE(wait, whole / 2);
        EXPECT_LE(wait, whole);
    }
    back_off.reset();
    EXPECT_LE(back_off.next().count(), 100);
}

}  // namespace
}  // namespace dstm::tep
