// What is worth a lease, and how long it waits for one.
#include "client/demand_queue.hpp"

#include <gtest/gtest.h>

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

constexpr const char* web = "203.0.113.80";
constexpr std::uint8_t icmp = 1, tcp = 6, udp = 17;

std::string packet(std::uint8_t protocol, const std::string& transport, const char* to = web) {
    const auto destination = Ipv4Address::parse(to)->host_order();
    std::string out{0x45, 0, 0, static_cast<char>(20 + transport.size()), 0, 0, 0, 0, 64,
                    static_cast<char>(protocol), 0, 0, static_cast<char>(192), 0, 0, 2};
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(destination >> shift);
    return out + transport;
}

std::string tcp_header(std::uint8_t flags) {
    return std::string(12, 0) + '\x50' + static_cast<char>(flags) + std::string(6, 0);
}

TEST(ClientDemandQueue, DatagramAndConnectionAndEchoAreWorthALease) {
    const auto query = read_demand(packet(udp, "12345678?"));
    ASSERT_TRUE(query);
    EXPECT_EQ(query->source, *Ipv4Address::parse("192.0.0.2"));
    EXPECT_EQ(query->destination, *Ipv4Address::parse(web));
    EXPECT_EQ(query->bytes, packet(udp, "12345678?"));
    EXPECT_TRUE(read_demand(packet(tcp, tcp_header(0x02)))) << "SYN";
    EXPECT_TRUE(read_demand(packet(tcp, tcp_header(0x10)))) << "of a connection that has idled";
    EXPECT_TRUE(read_demand(packet(tcp, tcp_header(0x19) + "data"))) << "with a FIN";
    EXPECT_TRUE(read_demand(packet(icmp, std::string(8, '\x08'))));
    EXPECT_TRUE(read_demand(packet(47, "GRE")));
}

TEST(ClientDemandQueue, WhatNobodyWaitsForIsNot) {
    EXPECT_FALSE(read_demand(packet(tcp, tcp_header(0x04)))) << "RST";
    EXPECT_FALSE(read_demand(packet(tcp, tcp_header(0x14)))) << "RST ACK";
    EXPECT_FALSE(read_demand(packet(tcp, tcp_header(0x11)))) << "FIN ACK";
    for (const char type : {'\x00', '\x03', '\x0b', '\x0c', '\x0e'}) {
        EXPECT_FALSE(read_demand(packet(icmp, std::string(8, type)))) << static_cast<int>(type);
    }
    for (const char* to : {"224.0.0.251", "239.255.255.250", "255.255.255.255", "240.0.0.1",
                           "169.254.7.7", "127.0.0.1", "0.0.0.0"}) {
        EXPECT_FALSE(read_demand(packet(udp, "12345678", to))) << to;
    }
    for (const char* to : {"223.255.255.255", "169.253.255.255", "169.255.0.0", "126.0.0.1",
                           "128.0.0.1", "1.0.0.0", "10.1.2.3"}) {
        EXPECT_TRUE(read_demand(packet(udp, "12345678", to))) << to;
    }
}

TEST(ClientDemandQueue, PacketCutAtAnyByteIsNone) {
    const auto whole = packet(tcp, tcp_header(0x02));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(read_demand(std::string_view(whole).substr(0, size))) << size;
    }
    EXPECT_FALSE(read_demand(packet(tcp, "short")));
    EXPECT_FALSE(read_demand(packet(icmp, "")));
    EXPECT_FALSE(read_demand(std::string(48, '\x60'))) << "IPv6";
}

class ClientDemandQueueLimits : public testing::Test {
protected:
    DemandQueue queue{{3, 100, 30s}};
    const Instant now{1h};

    void push(const std::string& bytes, Instant at) { queue.push({bytes, {}, {}}, at); }
    std::string take(Instant at) {
        std::string all;
        for (const auto& packet : queue.take(at)) all += packet.bytes;
        return all;
    }
};

TEST_F(ClientDemandQueueLimits, InOrderAndOnce) {
    EXPECT_TRUE(queue.is_empty(now));
    push("a", now);
    push("b", now);
    EXPECT_FALSE(queue.is_empty(now));
    EXPECT_EQ(take(now), "ab");
    EXPECT_TRUE(queue.is_empty(now));
    EXPECT_EQ(take(now), "");
}

TEST_F(ClientDemandQueueLimits, OldestGivesWay) {
    for (const char* each : {"a", "b", "c", "d"}) push(each, now);
    EXPECT_EQ(take(now), "bcd");
    push("a", now);
    push(std::string(60, 'b'), now);
    push(std::string(40, 'c'), now);
    EXPECT_EQ(take(now), std::string(60, 'b') + std::string(40, 'c'));
    push(std::string(101, 'x'), now);
    EXPECT_TRUE(queue.is_empty(now)) << "larger than all that may wait";
}

TEST_F(ClientDemandQueueLimits, WhatIsTooOldIsNotSentAnyMore) {
    push("a", now);
    push("b", now + 20s);
    EXPECT_FALSE(queue.is_empty(now + 50s));
    EXPECT_EQ(take(now + 31s), "b");
    push("c", now);
    EXPECT_FALSE(queue.is_empty(now + 30s));
    EXPECT_TRUE(queue.is_empty(now + 31s));
}

}  // namespace
}  // namespace dstm::client
