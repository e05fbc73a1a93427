// The shortcuts on real interfaces: what is plain is forwarded by a program and seen by nobody
// else. tun_ipv6_campus.hpp shows the network.
#include <tuple>

#include "tests/bpf/bpf_config.hpp"
#include "tests/unit/dataplane/tun_ipv6_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using tep::bpf::Shortcut;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto inner = "2001:db8:100::7";

class BpfStraightIpv6 : public TunIpv6Campus,
                        public ::testing::WithParamInterface<std::tuple<Shortcut, bool>> {
protected:
    [[nodiscard]] static Shortcut shortcut() { return std::get<0>(GetParam()); }
    [[nodiscard]] static TunnelSpec spec() {
        return v6_spec(inner, "10.0.1.5",
                       std::get<1>(GetParam()) ? signalling_port : std::uint16_t{0});
    }

    void TearDown() override {
        if (plane) endpoint->in([&] { plane.reset(); });
    }

    void bring_up() {
        for (const auto& [host, interface] :
             {std::pair{router.get(), "e0"}, std::pair{server.get(), "eth0"}}) {
            const auto command = std::string("ethtool -K ") + interface + " gro on tx off";
            static_cast<void>(host->exec(command));
        }
        auto config = bpf_config(endpoint_v6_config());
        config.shortcut = shortcut();
        endpoint->in([&] {
            auto made = tep::bpf::make_bpf_plane(config, clock);
            ASSERT_TRUE(made) << to_string(made.error());
            plane = std::move(*made);
            ASSERT_TRUE(plane->add(spec()));
        });
        client = start_client(*first, spec(), client_v6_config());
        ASSERT_TRUE(wait_until([&] { return answers(ping(*server, inner)); }));
    }

    [[nodiscard]] std::string forwarded_by_the_kernel() const {
        return endpoint->exec("grep Ip6OutForwDatagrams /proc/net/snmp6");
    }
    // On whichever interface: by the driver of veth, and not by tc.
    [[nodiscard]] std::uint64_t frames_of_xdp() const {
        const auto sum = endpoint->exec(
            "sh -c 'for i in /sys/class/net/*; do ethtool -S ${i##*/}; done 2>/dev/null' |"
            " awk '/tx_queue_.*xdp_xmit:/ { sum += $2 } END { print sum + 0 }'");
        return std::stoull(sum);
    }
    [[nodiscard]] std::uint64_t carried() const {
        const auto counters = plane->list().at(0).counters;
        return counters.packets_up + counters.packets_down;
    }

    std::unique_ptr<DataPlane> plane;
};
INSTANTIATE_TEST_SUITE_P(
    By, BpfStraightIpv6,
    ::testing::Combine(::testing::Values(Shortcut::none, Shortcut::tc, Shortcut::xdp),
                       ::testing::Bool()),
    [](const auto& by) {
        const auto way = std::get<0>(by.param);
        return std::string(way == Shortcut::xdp  ? "xdp_"
                           : way == Shortcut::tc ? "tc_"
                                                 : "none_") +
               (std::get<1>(by.param) ? "v6udpv4" : "v6v4");
    });

TEST_P(BpfStraightIpv6, PlainPacketsPassByTheKernelOnlyWithAShortcut) {
    bring_up();
    EXPECT_EQ(endpoint->show("link show eth0").find("xdp") != std::string::npos,
              shortcut() == Shortcut::xdp);
    const auto before = forwarded_by_the_kernel();
    const auto carried_before = carried();
    const auto frames_before = frames_of_xdp();
    EXPECT_THAT(server->exec("ping -n -c 20 -i 0.01 -W 2 " + std::string(inner)),
                HasSubstr(" 0% packet loss"));
    EXPECT_EQ(carried(), carried_before + 40);
    EXPECT_EQ(forwarded_by_the_kernel() == before, shortcut() != Shortcut::none);
    // Two a second of each way go by the neighbour table, and so by tc.
    const auto frames = frames_of_xdp() - frames_before;
    if (shortcut() == Shortcut::xdp) {
        EXPECT_THAT(frames, AllOf(::testing::Ge(30u), ::testing::Lt(40u)));
    } else {
        EXPECT_EQ(frames, 0u);
    }
    EXPECT_THAT(ping(*first, host_behind, "-t 1"), HasSubstr("From 2001:db8:100::1"));
    EXPECT_THAT(ping(*server, inner, "-t 1"), HasSubstr("From 2001:db8:3::1"));
}

}  // namespace
}  // namespace dstm::dataplane::testing
