// Checksums that were left to hardware which is not there (inner_packet.hpp).
#include <gtest/gtest.h>

#include "bpf/packets.hpp"
#include "common/dataplane/inner_packet.hpp"

namespace dstm::dataplane {
namespace {

using test::make;
using test::Packet;

test::Inner addresses() { return {test::v4("192.0.2.7"), test::v4("203.0.113.80")}; }

// What a sender's kernel leaves in the field: the sum of the pseudo-header, not complemented.
Packet unfinished(Packet packet, std::size_t field) {
    const auto size = packet.size() - 20;
    Packet pseudo(packet.begin() + 12, packet.begin() + 20);
    pseudo.insert(pseudo.end(), {0, packet[9], static_cast<std::uint8_t>(size >> 8),
                                 static_cast<std::uint8_t>(size)});
    store16(packet, field, static_cast<std::uint16_t>(~internet_checksum(pseudo)));
    return packet;
}

TEST(CompleteChecksum, OfTcpIsFinished) {
    const auto right = test::tcp(addresses(), 0x18, {});
    auto packet = unfinished(right, 36);
    ASSERT_NE(packet, right);
    complete_checksum(packet);
    EXPECT_EQ(packet, right);
}

TEST(CompleteChecksum, OfUdpIsFinished) {
    auto packet = unfinished(make(addresses()), 26);
    complete_checksum(packet);
    // Over the whole with its pseudo-header the sum is zero.
    const auto size = packet.size() - 20;
    Packet covered(packet.begin() + 12, packet.end());
    covered.insert(covered.end(),
                   {0, 17, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
    EXPECT_EQ(internet_checksum(covered), 0);
}

TEST(CompleteChecksum, ThatIsRightOrWrongStaysAsItIs) {
    auto right = test::tcp(addresses(), 0x18, {});
    auto wrong = right;
    wrong[37] ^= 0x55;
    for (const auto& before : {right, wrong}) {
        auto packet = before;
        complete_checksum(packet);
        EXPECT_EQ(packet, before);
    }
}

TEST(CompleteChecksum, OfFragmentsOtherProtocolsAndHalfPacketsStaysAsItIs) {
    auto fragment = addresses();
    fragment.fragment = 0x2000;
    auto icmp = addresses();
    icmp.protocol = 1;
    auto cut = unfinished(test::tcp(addresses(), 0x18, {}), 36);
    cut.resize(30);
    for (const auto& before : {unfinished(make(fragment), 26), make(icmp), cut, Packet{}}) {
        auto packet = before;
        complete_checksum(packet);
        EXPECT_EQ(packet, before);
    }
}

}  // namespace
}  // namespace dstm::dataplane
