// Which records delegate a prefix, and that nothing else gets into them.
#include "dstm-server/dns/delegation_plan.hpp"

#include <gtest/gtest.h>

namespace dstm::server {
namespace {

Ipv6Prefix prefix(const char* text) { return Ipv6Prefix::parse(text).value(); }

ReverseDelegationConfig config() {
    ReverseDelegationConfig result;
    result.server = {*parse_ip_address("2001:db8::53"), 5353};
    result.zones = {"8.b.d.0.1.0.0.2.ip6.arpa", "0.0.2.0.8.B.D.0.1.0.0.2.IP6.ARPA."};
    result.ttl_s = 600;
    return result;
}

std::string adds(const Result<std::string>& script) {
    std::string result;
    std::size_t start = 0;
    while (script && start < script->size()) {
        const std::size_t end = script->find('\n', start);
        const std::string line = script->substr(start, end - start + 1);
        if (line.starts_with("update add")) result += line;
        start = end + 1;
    }
    return result;
}

TEST(DelegationPlan, AZoneForEachNibbleBoundaryPrefix) {
    EXPECT_EQ(reverse_zones(prefix("2001:db8:200::/48")),
              std::vector<std::string>{"0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa"});
    EXPECT_EQ(reverse_zones(prefix("2001:db8:200:ab00::/56")),
              std::vector<std::string>{"b.a.0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa"});
    EXPECT_EQ(reverse_zones(prefix("2001:db8:200:abcd::/64")),
              std::vector<std::string>{"d.c.b.a.0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa"});
    EXPECT_EQ(reverse_zones(prefix("2001:db8:200:abcd:e000::/68")),
              std::vector<std::string>{"e.d.c.b.a.0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa"});
}

TEST(DelegationPlan, OtherLengthsHaveSeveralZones) {
    const std::string rest = ".0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa";
    const auto digits = [&](const char* text) {
        std::string result;
        for (const auto& zone : reverse_zones(prefix(text))) {
            EXPECT_EQ(zone.substr(1), rest) << text;
            result += zone[0];
        }
        return result;
    };
    EXPECT_EQ(digits("2001:db8:200::/49"), "01234567");
    EXPECT_EQ(digits("2001:db8:200:8000::/49"), "89abcdef");
    EXPECT_EQ(digits("2001:db8:200:4000::/50"), "4567");
    EXPECT_EQ(digits("2001:db8:200:e000::/51"), "ef");
    EXPECT_EQ(digits("2001:db8:200:e000::/52"), "e");
}

TEST(DelegationPlan, NamesAreUsedAsTheyAre) {
    const auto script = delegation_script(config(), prefix("2001:db8:200:ab00::/56"),
                                          {"NS.Example.org", "ns2.example.net."});
    ASSERT_TRUE(script);
    EXPECT_TRUE(
        script->starts_with("server 2001:db8::53 5353\n"
                            "zone 0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa.\n"
                            "update delete b.a.0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa. NS\n"))
        << *script;
    EXPECT_EQ(adds(script),
              "update add b.a.0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 NS ns.example.org.\n"
              "update add b.a.0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 NS ns2.example.net.\n");
    EXPECT_TRUE(script->ends_with("\nsend\n"));
}

TEST(DelegationPlan, AddressesGetNamesWithGlueInEachZone) {
    EXPECT_EQ(adds(delegation_script(config(), prefix("2001:db8:300:e000::/51"),
                                     {"192.0.2.53", "2001:db8:300::53"})),
              "update add e.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 NS "
              "ns1.e.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa.\n"
              "update add ns1.e.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 A 192.0.2.53\n"
              "update add e.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 NS "
              "ns2.e.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa.\n"
              "update add ns2.e.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 AAAA 2001:db8:300::53\n"
              "update add f.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 NS "
              "ns1.f.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa.\n"
              "update add ns1.f.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 A 192.0.2.53\n"
              "update add f.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 NS "
              "ns2.f.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa.\n"
              "update add ns2.f.0.0.3.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 AAAA 2001:db8:300::53\n");
}

TEST(DelegationPlan, AWithdrawalDeletesWhatADelegationAdds) {
    const auto script = withdrawal_script(config(), prefix("2001:db8:200:ab00::/56"));
    ASSERT_TRUE(script);
    EXPECT_EQ(adds(script), "");
    EXPECT_NE(script->find("update delete b.a.0.0.2.0.8.b.d.0.1.0.0.2.ip6.arpa. NS\n"),
              std::string::npos);
    for (std::size_t i = 1; i <= name_servers_max; ++i) {
        EXPECT_NE(script->find("update delete ns" + std::to_string(i) + ".b.a.0.0.2.0.8.b.d."),
                  std::string::npos);
    }
}

TEST(DelegationPlan, WhatIsNoNameAndNoAddressIsRefused) {
    const std::string label(64, 'a');
    for (const std::string& bad :
         {std::string(), std::string("ns"), std::string("ns.example.org\nsend"),
          std::string("ns.example.org 1"), std::string("ns..example"), std::string("-a.example"),
          std::string("a-.example"), std::string(".example.org"), std::string("a_b.example"),
          std::string("b\xc3\xbc.example"), label + ".example", std::string("ns.example\0x", 12),
          std::string("127.0.0.1"), std::string("::1"), std::string("fe80::1"),
          std::string("ff02::1"), std::string("ns;.example"), std::string("ns.example.."),
          std::string(250, 'a') + ".org"}) {
        const auto script =
            delegation_script(config(), prefix("2001:db8:200:ab00::/56"), {"ns.example.org", bad});
        ASSERT_FALSE(script) << bad;
        EXPECT_EQ(script.error().code, ErrorCode::invalid);
        EXPECT_EQ(script.error().context.find('\n'), std::string::npos) << "is logged";
    }
    const std::vector<std::string> many(name_servers_max + 1, "ns.example.org");
    EXPECT_FALSE(delegation_script(config(), prefix("2001:db8:200:ab00::/56"), many));
    EXPECT_FALSE(delegation_script(config(), prefix("2001:db8:200:ab00::/56"), {}));
}

TEST(DelegationPlan, APrefixOutsideTheZonesOrAsLargeAsOneIsRefused) {
    for (const char* outside : {"2001:db9::/56", "2001:db8::/32", "2001::/16", "::/0"}) {
        EXPECT_FALSE(delegation_script(config(), prefix(outside), {"ns.example.org"})) << outside;
        EXPECT_FALSE(withdrawal_script(config(), prefix(outside))) << outside;
    }
    const auto apex = delegation_script(config(), prefix("2001:db8:200::/48"), {"ns.example.org"});
    ASSERT_TRUE(apex) << "not in the zone that it is, but in the one above";
    EXPECT_NE(apex->find("zone 8.b.d.0.1.0.0.2.ip6.arpa.\n"), std::string::npos);
}

TEST(DelegationPlan, ReverseZonesHaveOneDigitALabel) {
    for (const char* good : {"8.b.d.0.1.0.0.2.ip6.arpa", "2.ip6.arpa.", "A.IP6.ARPA"}) {
        EXPECT_TRUE(is_reverse_zone(good)) << good;
    }
    for (const char* bad : {"ip6.arpa", "example.org", "10.in-addr.arpa", "ab.ip6.arpa",
                            "g.ip6.arpa", ".ip6.arpa", "1..ip6.arpa", "xip6.arpa", ""}) {
        EXPECT_FALSE(is_reverse_zone(bad)) << bad;
    }
}

}  // namespace
}  // namespace dstm::server
