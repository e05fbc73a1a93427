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

}  // namespace
}  // namespace dstm::client
