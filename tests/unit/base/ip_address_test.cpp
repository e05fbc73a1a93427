#include "common/base/ip_address.hpp"

#include <gtest/gtest.h>

namespace dstm {
namespace {

TEST(Ipv4Address, ParsesOnlyFourDecimalOctets) {
    EXPECT_EQ(Ipv4Address::parse("192.0.2.7"), Ipv4Address(0xc0000207));
    for (const auto* bad :
         {"", "192.0.2", "192.0.2.256", "192.0.2.7 ", "0xc0.0.2.7", "1.2.3.4.5"}) {
        EXPECT_FALSE(Ipv4Address::parse(bad)) << bad;
    }
    EXPECT_FALSE(Ipv4Address::parse(std::string_view("192.0.2.7\0x", 11)));
}

TEST(Ipv4Address, UsableUnicastExcludesWhatNoHostCanHave) {
    for (const auto* bad : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255"}) {
        EXPECT_FALSE(Ipv4Address::parse(bad)->is_usable_unicast()) << bad;
    }
    EXPECT_TRUE(Ipv4Address::parse("10.0.0.1")->is_usable_unicast());
}

TEST(Ipv6Address, WritesTheShortFormAndThePaddedForm) {
    const auto address = Ipv6Address::parse("2001:0DB8:0:0::5").value();
    EXPECT_EQ(address.to_string(), "2001:db8::5");
    EXPECT_EQ(address.to_padded_string(), "2001:0db8:0000:0000:0000:0000:0000:0005");
}

TEST(Ipv6Address, RefusesTheLiteralWithEightGroupsAndDoubleColon) {
    EXPECT_FALSE(Ipv6Address::parse("2001:db8:c18:ffff::0000:0000:0000:0001:2"));
    EXPECT_FALSE(Ipv6Address::parse("fe80::1%eth0"));
}

TEST(Ipv6Address, UsableUnicastExcludesLocalAndMapped) {
    for (const auto* bad : {"::", "::1", "fe80::1", "febf::1", "ff02::1", "::ffff:192.0.2.1"}) {
        EXPECT_FALSE(Ipv6Address::parse(bad)->is_usable_unicast()) << bad;
    }
    EXPECT_TRUE(Ipv6Address::parse("fd00::1")->is_usable_unicast());
    EXPECT_TRUE(Ipv6Address::parse("2001:db8::1")->is_usable_unicast());
}

TEST(Ipv4Prefix, ContainsItsAddressesAndRefusesHostBits) {
    const auto prefix = Ipv4Prefix::parse("192.0.2.0/24").value();
    EXPECT_TRUE(prefix.contains(*Ipv4Address::parse("192.0.2.255")));
    EXPECT_FALSE(prefix.contains(*Ipv4Address::parse("192.0.3.0")));
    EXPECT_TRUE(Ipv4Prefix::parse("0.0.0.0/0")->contains(*Ipv4Address::parse("203.0.113.1")));
    for (const auto* bad :
         {"192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0", "192.0.2.0/"}) {
        EXPECT_FALSE(Ipv4Prefix::parse(bad)) << bad;
    }
}

TEST(Ipv6Prefix, ContainsItsAddresses) {
    const auto prefix = Ipv6Prefix::parse("2001:db8:100::/44").value();
    EXPECT_TRUE(prefix.contains(*Ipv6Address::parse("2001:db8:10f::1")));
    EXPECT_FALSE(prefix.contains(*Ipv6Address::parse("2001:db8:110::1")));
    EXPECT_FALSE(Ipv6Prefix::parse("2001:db8:101::/44"));
}

TEST(IpEndpoint, PutsBracketsAroundIpv6Only) {
    EXPECT_EQ(to_string(IpEndpoint{*parse_ip_address("192.0.2.1"), 3653}), "192.0.2.1:3653");
    EXPECT_EQ(to_string(IpEndpoint{*parse_ip_address("2001:db8::1"), 3653}), "[2001:db8::1]:3653");
}

TEST(IpAddress, UnmapTurnsAMappedPeerIntoItsIpv4Address) {
    EXPECT_EQ(unmap(*parse_ip_address("::ffff:192.0.2.1")), *parse_ip_address("192.0.2.1"));
    EXPECT_EQ(unmap(*parse_ip_address("2001:db8::1")), *parse_ip_address("2001:db8::1"));
}

}  // namespace
}  // namespace dstm
