// Frames with a tag in them: every program leaves them to the kernel, which knows the VLAN's own
// interface. (By tc a first tag is beside the packet; a tag in it is a second one.)
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "bpf/ipv6_endpoint.hpp"

namespace dstm::test {
namespace {

class ProgramVlan : public Ipv6Endpoint {};

Packet tagged(std::uint16_t tag_protocol, std::uint16_t vlan, std::uint16_t ethertype,
              const Packet& packet) {
    Packet tag(4);
    store16(tag, 0, vlan);
    store16(tag, 2, ethertype);
    tag.insert(tag.end(), packet.begin(), packet.end());
    return frame(tag_protocol, tag);
}

TEST_F(ProgramVlan, TaggedFramesAreTheKernels) {
    endpoint->install("192.0.2.7", "2001:db8:1::7");
    const Inner from_client{v4("192.0.2.7"), v4("203.0.113.80")};
    const Inner to_client{v4("203.0.113.80"), v4("192.0.2.7")};
    struct Row {
        const char* description;
        std::uint16_t ethertype;
        Packet packet;
    };
    const std::vector<Row> rows{
        {"v4v6 up", 0x86dd,
         make(Outer{v6("2001:db8:1::7"), v6(Endpoint::outer)}, make(from_client))},
        {"v4v6 down", 0x0800, make(to_client)},
        {"v6v4 up", 0x0800, make(Ipv4{}, make(Ipv6{}))},
        {"v6udpv4 up", 0x0800,
         make(Ipv4{.source = "10.0.4.5", .port = client_port}, make(Ipv6{.source = in_udp}))},
        {"v6v4 down", 0x86dd, make(Ipv6{.source = remote, .destination = in_ipv4})},
    };
    for (const auto& row : rows) {
        for (const auto protocol : std::vector<std::uint16_t>{0x8100, 0x88a8}) {
            for (const auto vlan : std::vector<std::uint16_t>{0, 7}) {
                SCOPED_TRACE(std::string(row.description) + " " + std::to_string(vlan));
                auto in = tagged(protocol, vlan, row.ethertype, row.packet);
                host->in([&] {
                    const auto by_xdp = endpoint->xdp(in);
                    EXPECT_EQ(by_xdp.verdict, XDP_PASS);
                    EXPECT_EQ(by_xdp.frame, in);
                    const auto by_tc = endpoint->straight(in);
                    EXPECT_EQ(by_tc.verdict, TC_ACT_UNSPEC);
                    EXPECT_EQ(unframed(by_tc.frame), unframed(in));
                });
            }
        }
        // Without the tag each of them is carried.
        const auto bare = frame(row.ethertype, row.packet);
        const auto verdict = host->in([&] { return endpoint->straight(bare).verdict; });
        EXPECT_TRUE(verdict == TC_ACT_OK || verdict == TC_ACT_REDIRECT) << row.description;
    }
    EXPECT_TRUE(endpoint->drops().empty());
}

}  // namespace
}  // namespace dstm::test
