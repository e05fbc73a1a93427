#include "common/tsp/udp_header.hpp"

#include <random>

#include <gtest/gtest.h>

namespace dstm::tsp {
namespace {

using namespace std::string_literals;

TEST(TspUdpHeader, HasMarkerSequenceAndTimeInNetworkOrder) {
    EXPECT_EQ(encode_udp_packet({{0x0000f0, 0x01020304}, "VERSION=2.0.0\r\n"}),
              "\xf0\x00\x00\xf0\x01\x02\x03\x04VERSION=2.0.0\r\n"s);
    EXPECT_EQ(encode_udp_packet({{udp_sequence_max, 0}, ""}), "\xff\xff\xff\xff\0\0\0\0"s);
}

TEST(TspUdpHeader, IsReadBackAsWritten) {
    std::mt19937 random(2);
    for (int i = 0; i < 1000; ++i) {
        const UdpPacket packet{{static_cast<std::uint32_t>(random()) & udp_sequence_max,
                                static_cast<std::uint32_t>(random())},
                               "data"};
        const auto bytes = encode_udp_packet(packet);
        EXPECT_EQ(decode_udp_packet(bytes), packet);
    }
}

TEST(TspUdpHeader, HeaderAloneIsAPacketWithoutData) {
    const auto bytes = "\xf0\x00\x00\x01\0\0\0\0"s;
    EXPECT_EQ(decode_udp_packet(bytes), (UdpPacket{{1, 0}, ""}));
}

TEST(TspUdpHeader, ShortOrForeignDatagramsAreNoSignalling) {
    const auto good = "\xf0\x00\x00\x01\0\0\0\0x"s;
    for (std::size_t size = 0; size < udp_header_size; ++size) {
        EXPECT_FALSE(decode_udp_packet(std::string_view(good).substr(0, size))) << size;
    }
    for (int nibble = 0; nibble < 15; ++nibble) {
        auto bytes = good;
        bytes[0] = static_cast<char>(nibble << 4);
        EXPECT_FALSE(decode_udp_packet(bytes)) << nibble;
        EXPECT_FALSE(is_udp_signalling(bytes)) << nibble;
    }
    EXPECT_TRUE(is_udp_signalling(good));
    EXPECT_FALSE(is_udp_signalling(""));
}

TEST(TspUdpHeader, SequenceWrapsAt28Bits) {
    EXPECT_EQ(next_udp_sequence(240), 241u);
    EXPECT_EQ(next_udp_sequence(udp_sequence_max), 0u);
}

}  // namespace
}  // namespace dstm::tsp
