// Values between Kea and the wire.
#include "kea-hook/kea_values.hpp"

#include <set>

#include <gtest/gtest.h>
#include <boost/make_shared.hpp>

namespace dstm::kea {
namespace {

using isc::data::Element;
using isc::dhcp::Lease;
using isc::dhcp::Lease4;
using isc::dhcp::Lease6;

TEST(KeaValues, HexBytes) {
    EXPECT_EQ(parse_hex_bytes("00:8f:FF"), (Bytes{0x00, 0x8f, 0xff}));
    EXPECT_EQ(parse_hex_bytes(""), Bytes{});
    for (const char* bad :
         {"0", "00:", ":00", "0:0", "000", "00:0", "00-11", "0g", "00 11", "00::11"}) {
        EXPECT_EQ(parse_hex_bytes(bad), std::nullopt) << bad;
    }
}

TEST(KeaValues, HardwareAddressesAreLocalUnicastAndDiffer) {
    std::set<std::vector<std::uint8_t>> seen;
    for (std::uint32_t i = 0; i < 70000; ++i) {
        Bytes id(20, 0);
        id[18] = static_cast<std::uint8_t>(i >> 8);
        id[19] = static_cast<std::uint8_t>(i);
        id[1] = static_cast<std::uint8_t>(i >> 16);
        const auto address = hardware_address_of(id)->hwaddr_;
        ASSERT_EQ(address.size(), 6U);
        ASSERT_EQ(address[0] & 0x03, 0x02);
        ASSERT_TRUE(seen.insert(address).second) << i;
    }
    EXPECT_EQ(*hardware_address_of({1, 2}), *hardware_address_of({1, 2}));
}

TEST(KeaValues, ContextsAreMergedMemberByMemberAndMarked) {
    const auto old = Element::fromJSON(R"({"ISC": {"x": 1}, "dstm": {"user": "a", "host": "h"}})");
    const auto changes = Element::fromJSON(R"({"dstm": {"user": "b"}, "note": "n"})");
    EXPECT_EQ(merged_context(old, changes)->str(),
              R"({ "ISC": { "x": 1 }, "dstm": { "user": "b" }, "note": "n" })");
    EXPECT_EQ(merged_context(nullptr, nullptr)->str(), R"({ "dstm": {  } })");
    EXPECT_EQ(merged_context(old, nullptr)->str(), old->str());
    EXPECT_EQ(without_our_mark(old)->str(), R"({ "ISC": { "x": 1 } })");
    EXPECT_EQ(without_our_mark(Element::fromJSON(R"({"dstm": {}})")), nullptr);
}

TEST(KeaValues, GenerationIsZeroWhenThereIsNone) {
    EXPECT_EQ(generation_of(Element::fromJSON(R"({"dstm": {"generation": 7}})")), 7);
    for (const char* json :
         {"{}", R"({"dstm": {}})", R"({"dstm": 1})", R"({"dstm": {"generation": "7"}})", "[]"}) {
        EXPECT_EQ(generation_of(Element::fromJSON(json)), 0) << json;
    }
    EXPECT_EQ(generation_of(nullptr), 0);
}

TEST(KeaValues, ALeaseAsJson) {
    const Bytes id{0x00, 0x8f};
    const auto row =
        boost::make_shared<Lease4>(IOAddress("192.0.2.7"), hardware_address_of(id), id.data(),
                                   id.size(), 3600, 1793714401, 1, false, false, "lab");
    row->setContext(Element::fromJSON(R"({"dstm": {"user": "alice"}})"));
    const auto json = lease_to_element({row, nullptr});
    EXPECT_EQ(json->get("ip-address")->stringValue(), "192.0.2.7");
    EXPECT_EQ(json->get("client-id")->stringValue(), "00:8f");
    EXPECT_EQ(json->get("expires-at")->intValue(), 1793718001);
    EXPECT_EQ(json->get("hostname")->stringValue(), "lab");
    EXPECT_EQ(json->get("user-context")->str(), R"({ "dstm": { "user": "alice" } })");
    EXPECT_EQ(json->get("hw-address")->stringValue().substr(2, 1), ":");
}

TEST(KeaValues, AnAddressAndItsPrefixAsJson) {
    const auto duid = boost::make_shared<isc::dhcp::DUID>(Bytes{0, 4, 0x8f});
    const auto address = boost::make_shared<Lease6>(Lease::TYPE_NA, IOAddress("2001:db8:100::7"),
                                                    duid, 128, 1000, 3600, 1, true, true, "lab.");
    const auto prefix = boost::make_shared<Lease6>(Lease::TYPE_PD, IOAddress("2001:db8:200::"),
                                                   duid, 56, 1000, 3600, 1, nullptr, 56);
    address->cltt_ = 1793714401;
    prefix->cltt_ = 1793714400;
    const auto json = lease_to_element({address, prefix});
    EXPECT_EQ(json->get("ip-address")->stringValue(), "2001:db8:100::7");
    EXPECT_EQ(json->get("prefix")->stringValue(), "2001:db8:200::/56");
    EXPECT_EQ(json->get("client-id")->stringValue(), "00:04:8f");
    EXPECT_EQ(json->get("expires-at")->intValue(), 1793718000) << "the earlier end";
    EXPECT_FALSE(json->contains("hw-address"));
    EXPECT_FALSE(lease_to_element({address, nullptr})->contains("prefix"));
}

TEST(KeaValues, AddressesAreNumbersAndBack) {
    for (const char* text : {"0.0.0.0", "192.0.2.7", "255.255.255.255"}) {
        EXPECT_EQ(to_address(to_number(IOAddress(text)), AF_INET).toText(), text);
    }
    for (const char* text : {"::", "2001:db8:ffff::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}) {
        EXPECT_EQ(to_address(to_number(IOAddress(text)), AF_INET6).toText(), text);
    }
    EXPECT_EQ(to_number(IOAddress("::1:0:0:0:1")), (Number{1} << 64) + 1);
}

TEST(KeaValues, TheLibrarysTableIsTheOneWeWereBuiltWith) { EXPECT_TRUE(check_library_tables()); }

}  // namespace
}  // namespace dstm::kea
