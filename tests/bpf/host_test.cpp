// What is known of a host as a whole: its routes, its IPsec policies, and how often it is asked.
#include "tep/bpf/host_routes.hpp"
#include "tep/bpf/ipsec.hpp"
#include "tep/bpf/netlink_message.hpp"
#include "tep/bpf/pace.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::testing::Namespace;
using dataplane::testing::run;
using dataplane::testing::v6;

Instant at(int ms) { return Instant(Duration(ms)); }

TEST(HostPace, BurstIsOneRoundAfterItsFirstEvent) {
    Pace pace(Duration(1000));
    EXPECT_FALSE(pace.is_due(at(0)));
    pace.ask(at(100));
    pace.ask(at(900));
    EXPECT_FALSE(pace.is_due(at(1099)));
    EXPECT_EQ(pace.left(at(1000), Duration(5000)), Duration(100));
    EXPECT_TRUE(pace.is_due(at(1100)));
    pace.done(at(1100), at(1100));
    EXPECT_FALSE(pace.is_due(at(9000)));
    EXPECT_EQ(pace.left(at(9000), Duration(5000)), Duration(5000));
}

TEST(HostPace, WorkTakesATenthOfTheTimeAlsoInAHurry) {
    Pace pace(Duration(0));
    pace.ask(at(1000));
    EXPECT_TRUE(pace.is_due(at(1000)));
    pace.done(at(1000), at(1200));
    pace.hurry(at(1300));
    EXPECT_FALSE(pace.is_due(at(2999)));
    EXPECT_TRUE(pace.is_due(at(3000)));
    pace.done(at(3000), at(3000));
    pace.hurry(at(3001));
    EXPECT_TRUE(pace.is_due(at(3001)));
}

class HostOnItsOwn : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto why = dataplane::testing::why_no_namespaces(); !why.empty()) {
            GTEST_SKIP() << why;
        }
        host = std::make_unique<Namespace>("h");
        host->ip_batch(
            {"link add name a0 type veth peer name b0", "link set a0 up", "link set b0 up"});
    }
    [[nodiscard]] HostRoutes routes() const {
        return host->in([] {
            HostRoutes out;
            EXPECT_TRUE(out.read());
            return out;
        });
    }
    [[nodiscard]] HostRoutes::Kinds kinds_of(const std::string& interface) const {
        const auto all = routes().interfaces();
        const auto index = std::stoi(host->exec("cat /sys/class/net/" + interface + "/ifindex"));
        const auto found = all.find(index);
        return found == all.end() ? HostRoutes::Kinds{} : found->second;
    }
    [[nodiscard]] ForwardHook policy(ForwardFamily family) const {
        return host->in([&] { return ipsec_policy(family).hook; });
    }

    std::unique_ptr<Namespace> host;
};

// As IPsec is to a kernel without it.
TEST(HostNetlink, ProtocolThatTheKernelDoesNotHaveIsNotFound) {
    const auto socket = netlink::open_socket(MAX_LINKS - 1);
    ASSERT_FALSE(socket);
    EXPECT_EQ(socket.error().code, ErrorCode::not_found) << to_string(socket.error());
}

TEST_F(HostOnItsOwn, AddressesAreDividedByTheLongestPrefixOfAnyTable) {
    host->ip_batch({"addr add 2001:db8:a::1/64 dev a0 nodad",
                    "route add 2001:db8:1::/48 via 2001:db8:a::2",
                    "route add 2001:db8:1:2::/63 via 2001:db8:a::2 table 9"});
    host->ip("-6 rule add to 2001:db8:1:3::/64 table 9");
    const auto all = routes();
    EXPECT_EQ(all.cell_of(v6("2001:db8:1:9::1")).to_string(), "2001:db8:1::/48");
    EXPECT_EQ(all.cell_of(v6("2001:db8:1:2::1")).to_string(), "2001:db8:1:2::/63");
    EXPECT_EQ(all.cell_of(v6("2001:db8:1:3::1")).to_string(), "2001:db8:1:3::/64");
    EXPECT_EQ(all.cell_of(v6("2001:db8:2::1")).to_string(), "::/0");
}

TEST_F(HostOnItsOwn, InterfacesAreKnownByWhatLeadsOutThere) {
    EXPECT_EQ(kinds_of("a0"), HostRoutes::Kinds{}) << "link-local addresses do not count";
    host->ip("addr add 203.0.113.1/24 dev b0");
    host->ip("addr add 2001:db8:a::1/64 dev a0 nodad");
    EXPECT_EQ(kinds_of("a0"), (HostRoutes::Kinds{false, true, false}));
    EXPECT_EQ(kinds_of("b0"), (HostRoutes::Kinds{true, false, false}));
    host->ip("-6 route add default via fe80::1 dev b0 table 9");
    EXPECT_EQ(kinds_of("b0"), (HostRoutes::Kinds{true, true, true}));
}

TEST_F(HostOnItsOwn, PolicyOfIpsecIsSeenByItsFamily) {
    EXPECT_EQ(policy(ForwardFamily::ipv4), ForwardHook::empty);
    const auto add = "ip -n " + host->name() + " xfrm policy add ";
    if (!run(add + "src 10.0.0.0/8 dst 10.9.0.0/16 dir fwd")) GTEST_SKIP() << "needs xfrm";
    EXPECT_EQ(policy(ForwardFamily::ipv4), ForwardHook::taken);
    EXPECT_EQ(policy(ForwardFamily::ipv6), ForwardHook::empty);
    EXPECT_EQ(host->in([] { return forward_hook(ForwardFamily::ipv4).hook; }), ForwardHook::taken);
    host->ip("xfrm policy flush");
    EXPECT_EQ(policy(ForwardFamily::ipv4), ForwardHook::empty);
    host->ip("xfrm policy add src 2001:db8::/32 dst 2001:db8:9::/48 dir out");
    EXPECT_EQ(policy(ForwardFamily::ipv6), ForwardHook::taken);
}

TEST_F(HostOnItsOwn, IpsecThatBlocksWhatNoPolicyIsForIsSeen) {
    if (!run("ip -n " + host->name() + " xfrm policy setdefault fwd block")) {
        GTEST_SKIP() << "needs xfrm of Linux 5.15";
    }
    EXPECT_EQ(policy(ForwardFamily::ipv4), ForwardHook::taken);
    EXPECT_EQ(policy(ForwardFamily::ipv6), ForwardHook::taken);
}

}  // namespace
}  // namespace dstm::tep::bpf
