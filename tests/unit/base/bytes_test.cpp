#include "common/base/bytes.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace dstm {
namespace {

TEST(Bytes, NumbersAreBigEndian) {
    std::vector<std::uint8_t> bytes(6);
    store16(bytes, 1, 0x1234);
    store8(bytes, 5, 0xff);
    EXPECT_EQ(bytes, (std::vector<std::uint8_t>{0, 0x12, 0x34, 0, 0, 0xff}));
    EXPECT_EQ(load32(bytes, 1), 0x12340000u);
    EXPECT_EQ(load16(bytes, 4), 0x00ff);
    EXPECT_EQ(load8(bytes, 2), 0x34);
}

TEST(Bytes, AddressesRoundTrip) {
    std::vector<std::uint8_t> bytes(20);
    const auto v6 = Ipv6Address::parse("2001:db8::5").value();
    store_ipv6(bytes, 4, v6);
    store_ipv4(bytes, 0, Ipv4Address(0xc0000207));
    EXPECT_EQ(load_ipv6(bytes, 4), v6);
    EXPECT_EQ(load_ipv4(bytes, 0), Ipv4Address(0xc0000207));
}

TEST(BytesDeathTest, AccessOutsideAborts) {
    std::vector<std::uint8_t> bytes(3);
    EXPECT_DEATH(static_cast<void>(load8(bytes, 3)), "assertion failed");
    EXPECT_DEATH(static_cast<void>(load16(bytes, 2)), "assertion failed");
    EXPECT_DEATH(static_cast<void>(load32(bytes, 0)), "assertion failed");
    EXPECT_DEATH(store16(bytes, SIZE_MAX, 0), "assertion failed");
    EXPECT_DEATH(static_cast<void>(load_ipv6(bytes, 0)), "assertion failed");
    EXPECT_DEATH(static_cast<void>(load16({}, 0)), "assertion failed");
}

TEST(InternetChecksum, IsThatOfTheExampleInRfc1071) {
    const std::vector<std::uint8_t> example{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    EXPECT_EQ(internet_checksum(example), 0x220d);  // s3: the sum is ddf2
    EXPECT_EQ(internet_checksum(std::vector<std::uint8_t>{0x12}), 0xedff) << "odd: padded";
    EXPECT_EQ(internet_checksum({}), 0xffff);
}

TEST(InternetChecksum, UpdateIsThatOfTheExampleInRfc1624) {
    EXPECT_EQ(updated_checksum(0xdd2f, 0x5555, 0x3285), 0x0000);  // s4
}

TEST(InternetChecksum, UpdateEqualsComputingAnewForEveryWord) {
    std::vector<std::uint8_t> bytes{0x45, 0, 0, 0x54, 0, 0, 0x40, 0, 0x40, 0x11};
    const auto checksum = internet_checksum(bytes);
    for (unsigned word = 0; word <= 0xffff; ++word) {
        store16(bytes, 4, static_cast<std::uint16_t>(word));
        ASSERT_EQ(updated_checksum(checksum, 0, static_cast<std::uint16_t>(word)),
                  internet_checksum(bytes))
            << word;
    }
}

}  // namespace
}  // namespace dstm
