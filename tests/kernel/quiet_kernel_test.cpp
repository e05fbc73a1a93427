// A kernel with tunnels of its own beside raw sockets that take tunnel packets.
#include <csignal>

#include <sys/wait.h>

#include "tests/kernel/kernel_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class QuietKernels : public ReusedCampus {
protected:
    void SetUp() override {
        make_endpoint_plane = make_tun_plane;
        make_client_plane = make_tun_plane;
        ReusedCampus::SetUp();
    }
    void TearDown() override {
        is_changed = true;
        tep.reset();  // a tun plane: nothing to detach
        ReusedCampus::TearDown();
    }
};

bool is_unreachable_message(ConstBytes bytes) {
    constexpr std::uint8_t icmpv6 = 58;
    return bytes.size() > 40 && load8(bytes, 0) >> 4 == 6 && load8(bytes, 6) == icmpv6 &&
           load8(bytes, 40) == 1;
}

TEST_F(QuietKernels, FarEndsHearOfNoUnreachablePortAndItIsCounted) {
    Capture wire(*router, "a0");
    bring_up();
    EXPECT_THAT(first->exec("nft list tables"), HasSubstr("table ip6 dstm-quiet-"));
    EXPECT_TRUE(answers(ping(*first, "192.0.2.1")));
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7")));
    EXPECT_EQ(client->dropped("kernel_answer"), 2u);
    EXPECT_EQ(tep->dropped("kernel_answer"), 2u);
    client->stop();
    tep->stop();
    EXPECT_EQ(first->exec("nft list tables"), "");
    EXPECT_EQ(endpoint->exec("nft list tables"), "");
    // Without us the kernel says it: here is what has been withheld, and the first to be seen.
    HandMadeClient peer(*first, "2001:db8:1::5");
    peer.send(echo_request("192.0.2.7", "192.0.2.1", 1000));
    const auto said = wire.next(is_unreachable_message);
    ASSERT_GT(said.size(), 52u);
    EXPECT_EQ(load16(said, 40 + 8 + 4), 40 + 1000 - 40) << "about that packet, the first";
}

TEST_F(QuietKernels, TunnelsOfTheHostGetTheirPacketsAndOtherErrorsGoOut) {
    bring_up();
    endpoint->ip("link add theirs type ip6tnl mode ipip6 local any remote 2001:db8:4::5");
    endpoint->ip("link set theirs up");
    HandMadeClient peer(*second, "2001:db8:4::5");
    peer.send(echo_request("198.51.100.7", "198.51.100.1", 84));
    EXPECT_TRUE(wait_until([&] {
        return endpoint->exec("cat /sys/class/net/theirs/statistics/rx_packets") == "1\n";
    }));
    EXPECT_EQ(tep->dropped("kernel_answer"), 0u);
    Capture wire(*router, "a0");
    const auto udp =
        first->in([] { return Descriptor(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    const auto to = socket_address("2001:db8:2::1");
    ASSERT_EQ(::sendto(udp.number(), "x", 1, 0, &to.any, sizeof to.v6), 1);
    EXPECT_FALSE(wire.next(is_unreachable_message).empty()) << "of a closed UDP port";
}

TEST_F(QuietKernels, AKilledProcessLeavesNothing) {
    const pid_t child = ::fork();
    if (child == 0) {
        HostedPlane plane(*endpoint, endpoint_config(), clock);
        if (plane.is_up()) ::pause();
        ::_exit(1);
    }
    EXPECT_TRUE(wait_until([&] { return !endpoint->exec("nft list tables").empty(); }));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_EQ(endpoint->exec("nft list tables"), "");
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr(": dstm")));
}

class QuietKernelsV6 : public ReusedIpv6Campus {
protected:
    void SetUp() override {
        make_endpoint_plane = make_tun_plane;
        make_client_plane = make_tun_plane;
        ReusedIpv6Campus::SetUp();
    }
};

TEST_F(QuietKernelsV6, FarEndsHearOfNoUnreachablePortAndItIsCounted) {
    bring_up_v6(v6_spec("2001:db8:100::7", "10.0.1.5"));
    EXPECT_TRUE(answers(ping(*first, "2001:db8:100::1")));
    EXPECT_GE(client->dropped("kernel_answer"), 1u);
    EXPECT_GE(tep->dropped("kernel_answer"), 1u);
}

}  // namespace
}  // namespace dstm::dataplane::testing
