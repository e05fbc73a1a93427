// Echo packets: cut, damaged, turned round.
#include "client/net/icmp_probe.hpp"

#include <gtest/gtest.h>

namespace dstm::client {
namespace {

// A reply as a raw socket delivers it: IPv4 header, then the request turned round.
std::vector<std::uint8_t> reply_to(const EchoPacket& echo, std::size_t header_size = 20) {
    auto icmp = write_echo_request(echo);
    icmp[0] = 0;
    // One's complement: the sum grew by the 8 << 8 that left.
    const auto sum = static_cast<std::uint32_t>(icmp[2] << 8 | icmp[3]) + 0x0800U;
    const auto folded = (sum & 0xffff) + (sum >> 16);
    icmp[2] = static_cast<std::uint8_t>(folded >> 8);
    icmp[3] = static_cast<std::uint8_t>(folded & 0xff);
    std::vector<std::uint8_t> packet(header_size, 0);
    packet[0] = static_cast<std::uint8_t>(0x40 | header_size / 4);
    packet.insert(packet.end(), icmp.begin(), icmp.end());
    return packet;
}

TEST(ClientEcho, ReplyIsReadBack) {
    const EchoPacket echo{0x1234, 0xfffe};
    EXPECT_EQ(read_echo_reply(reply_to(echo)), echo);
    EXPECT_EQ(read_echo_reply(reply_to(echo, 24)), echo) << "IPv4 options";
}

TEST(ClientEcho, EveryCutAndEveryFlippedBitOfTheMessageIsRefused) {
    const auto whole = reply_to({1, 2});
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(read_echo_reply(std::span(whole).first(size))) << size;
    }
    for (std::size_t bit = 20 * 8; bit < whole.size() * 8; ++bit) {
        auto damaged = whole;
        damaged[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
        EXPECT_FALSE(read_echo_reply(damaged)) << bit;
    }
}

TEST(ClientEcho, RequestIsNotTakenForAReply) {
    auto packet = std::vector<std::uint8_t>(20, 0);
    packet[0] = 0x45;
    const auto request = write_echo_request({1, 2});
    packet.insert(packet.end(), request.begin(), request.end());
    EXPECT_FALSE(read_echo_reply(packet));
}

// 0 when the internet checksum in these bytes is right.
int checksum_error(std::span<const std::uint8_t> bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    }
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<int>(0xffff - sum);
}

TEST(ClientEcho, TooBigQuotesAnEchoReplyOfOneByteTooMuch) {
    const auto inner = *Ipv4Address::parse("192.0.2.7");
    const auto endpoint = *Ipv4Address::parse("192.0.2.1");
    const std::vector<std::uint8_t> expected{
        3,    4, 0, 0, 0, 0, 0x04, 0xd8,              // fragmentation needed, 1240
        0x45, 0, 0x04, 0xd9, 0, 0, 0x40, 0, 64, 1, 0, 0,  // 1241 bytes, DF, ICMP
        192,  0, 2,    1,    192, 0, 2,  7,                           // from the endpoint to us
        0,    0, 0,    0,    0, 0, 0,    0};                          // echo reply
    auto written = write_too_big(inner, endpoint, 1240);
    ASSERT_EQ(written.size(), expected.size());
    EXPECT_EQ(checksum_error(written), 0);
    EXPECT_EQ(checksum_error(std::span(written).subspan(8, 20)), 0);
    for (const std::size_t checksum : {2U, 18U}) written[checksum] = written[checksum + 1] = 0;
    EXPECT_EQ(written, expected);
}

TEST(ClientEcho, TooBigOfIpv6HasTheMtuInThirtyTwoBits) {
    const auto inner = *Ipv6Address::parse("2001:db8:100::7");
    const auto endpoint = *Ipv6Address::parse("2001:db8:100::1");
    const auto written = write_too_big(inner, endpoint, 1280);
    ASSERT_EQ(written.size(), 56u);
    EXPECT_EQ(written[0], 2);
    EXPECT_EQ(written[6] << 8 | written[7], 1280);
    EXPECT_EQ(written[8] >> 4, 6);
    EXPECT_EQ(written[12] << 8 | written[13], 1241) << "with its header one byte too long";
    EXPECT_EQ(written[14], 58);
    EXPECT_TRUE(std::equal(endpoint.bytes().begin(), endpoint.bytes().end(), written.begin() + 16));
    EXPECT_TRUE(std::equal(inner.bytes().begin(), inner.bytes().end(), written.begin() + 32));
    EXPECT_EQ(written[48], 129);
}

}  // namespace
}  // namespace dstm::client
