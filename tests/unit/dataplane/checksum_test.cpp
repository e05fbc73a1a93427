// Checksums that were left to hardware which is not there (transport.hpp).
#include <gtest/gtest.h>

#include "bpf/packets.hpp"
#include "common/dataplane/transport.hpp"
#include "support/packets.hpp"

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

TEST(CompleteChecksum, OfTcpOverIpv6IsFinishedBehindExtensionHeadersToo) {
    packets::Ipv6Fields fields;
    fields.source = packets::v6("2001:db8:100::7");
    fields.destination = packets::v6("2001:db8:3::80");
    for (const auto& extension : {packets::Packet(), packets::Packet{6, 0, 1, 4, 0, 0, 0, 0}}) {
        fields.next_header = 60;
        fields.payload = extension;
        const auto right = packets::make_syn(fields, {2, 4, 0x05, 0xb4});
        const auto at = 40 + extension.size();
        auto packet = right;
        store16(packet, at + 16, 0);
        // The sum of the pseudo-header alone: over a packet that is all zero behind its header.
        packets::Packet header_only(packet);
        std::fill(header_only.begin() + static_cast<std::ptrdiff_t>(at), header_only.end(), 0);
        const auto sum = packets::ipv6_checksum_error(header_only, 6, at);
        store16(packet, at + 16, static_cast<std::uint16_t>(~sum));
        ASSERT_NE(packet, right);
        complete_checksum(packet);
        EXPECT_EQ(packet, right);
    }
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
