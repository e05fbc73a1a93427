// Frames with an 802.1Q tag, as a switch sends them. tun_ipv6_campus.hpp shows the network.
#include <linux/if_ether.h>

#include "tests/bpf/frame_sender.hpp"
#include "tests/support/packets.hpp"
#include "tests/unit/dataplane/hand_made_client.hpp"
#include "tests/unit/dataplane/tun_ipv6_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

class BpfTags : public TunIpv6Campus, public ::testing::WithParamInterface<TunnelType> {
protected:
    [[nodiscard]] static bool is_v4v6() { return GetParam() == TunnelType::v4v6; }
    [[nodiscard]] TunnelSpec spec() const {
        if (is_v4v6()) return first_spec;
        const bool is_udp = GetParam() == TunnelType::v6udpv4;
        return v6_spec("2001:db8:100::7", "10.0.1.5", is_udp ? signalling_port : std::uint16_t{0});
    }
    // As the first client would send it.
    [[nodiscard]] static std::vector<std::uint8_t> wrapped_echo() {
        if (is_v4v6()) {
            return packets::make_ipv6(v6("2001:db8:1::5"), v6("2001:db8:2::1"), 0, 4,
                                      echo_request("192.0.2.7", "203.0.113.80", 84));
        }
        const auto echo = echo_request_ipv6("2001:db8:100::7", host_behind);
        if (GetParam() == TunnelType::v6v4) {
            return packets::make_outer_ipv4(v4("10.0.1.5"), v4("198.51.100.1"), 0, 41, echo);
        }
        return packets::make_outer_udp({v4("10.0.1.5"), signalling_port},
                                       {v4("198.51.100.1"), 3653}, 0, echo);
    }
};
INSTANTIATE_TEST_SUITE_P(Types, BpfTags,
                         ::testing::Values(TunnelType::v4v6, TunnelType::v6v4, TunnelType::v6udpv4),
                         [](const auto& type) { return std::string(to_string(type.param)); });

// Priority tags (identifier 0) mark packets of the interface itself (IEEE 802.1Q s6.9).
TEST_P(BpfTags, FramesAreCarriedOnlyIfTheyBelongToNoVlan) {
    start_endpoint();
    ASSERT_TRUE(tep->add(spec()));
    const auto received = [&] {
        return endpoint->exec("cat /sys/class/net/eth0/statistics/rx_packets");
    };
    const auto carried = [&] { return tep->plane().list().at(0).counters.packets_up; };
    const FrameSender sender(*router, "e0", link_address(*endpoint, "eth0"));
    for (const auto vlan : std::vector<std::uint16_t>{7, 0}) {
        const auto frames = received();
        sender.send(vlan, is_v4v6() ? ETH_P_IPV6 : ETH_P_IP, wrapped_echo());
        EXPECT_TRUE(wait_until([&] { return received() != frames; }));
    }
    EXPECT_TRUE(wait_until([&] { return carried() != 0; }));
    EXPECT_EQ(carried(), 1u) << "not that of VLAN 7";
    auto drops = tep->plane().drops();
    drops.erase("link_local");  // the kernel tells its multicast groups to every device
    for (const auto& [name, count] : drops) EXPECT_EQ(count, 0u) << name;
}

}  // namespace
}  // namespace dstm::dataplane::testing
