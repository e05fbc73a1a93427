// What the BPF data plane makes of changes of its host: tun_campus.hpp shows the network.
#include <atomic>
#include <chrono>

#include <sys/socket.h>

#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/netlink_message.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace {

std::atomic<int> readings = 0;  // of all routes of IPv4

void count_reading(std::span<const std::uint8_t> sent) {
    const auto message = dstm::tep::bpf::netlink::Message::first_of(sent);
    if (!message || message->type() != RTM_GETROUTE) return;
    nlmsghdr header{};
    std::memcpy(&header, sent.data(), sizeof header);
    const bool is_list = (header.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    if (is_list && message->body<rtmsg>().rtm_family == AF_INET) ++readings;
}

}  // namespace

// In the place of libc's, for the whole program.
extern "C" ssize_t send(int socket, const void* data, size_t size, int flags) {
    count_reading({static_cast<const std::uint8_t*>(data), size});
    return ::sendto(socket, data, size, flags, nullptr, 0);
}

namespace dstm::dataplane::testing {
namespace {

using tep::bpf::Shortcut;
using ::testing::HasSubstr;
using ::testing::Not;

class BpfHostChanges : public TunCampus {
protected:
    void TearDown() override {
        if (plane) endpoint->in([&] { plane.reset(); });
    }
    [[nodiscard]] static tep::bpf::BpfPlaneConfig bpf_config(Shortcut shortcut) {
        const auto tun = endpoint_config();
        tep::bpf::BpfPlaneConfig config;
        config.outer = tun.outer;
        config.inner = tun.inner;
        config.pools = tun.pools;
        config.shortcut = shortcut;
        return config;
    }
    void make(const tep::bpf::BpfPlaneConfig& config) {
        endpoint->in([&] {
            auto made = tep::bpf::make_bpf_plane(config, clock);
            ASSERT_TRUE(made) << to_string(made.error());
            plane = std::move(*made);
            ASSERT_TRUE(plane->add(first_spec));
        });
        client = bring_up_client(*first, first_spec, client_config());
    }
    [[nodiscard]] bool answers() const {
        return first->exec("ping -n -c 1 -W 1 203.0.113.80").find(" 0% packet loss") !=
               std::string::npos;
    }
    [[nodiscard]] std::string filter_of(const std::string& interface) const {
        return endpoint->exec("cat /proc/sys/net/ipv4/conf/" + interface + "/rp_filter");
    }
    [[nodiscard]] std::string programs_on(const std::string& interface) const {
        return endpoint->exec("tc filter show dev " + interface + " ingress");
    }
    [[nodiscard]] bool has_program(const std::string& interface, const std::string& name) const {
        return programs_on(interface).find(name) != std::string::npos;
    }

    std::unique_ptr<DataPlane> plane;
};

TEST_F(BpfHostChanges, SourceFilterThatSomebodyTurnsOnIsTurnedOffAgainAndTheirsPutBack) {
    make(bpf_config(Shortcut::none));
    for (const auto* const mode : {"1", "2"}) {
        endpoint->sysctl("net/ipv4/conf/eth0/rp_filter", mode);
        EXPECT_TRUE(wait_until([&] { return filter_of("eth0") == "0\n"; })) << mode;
        EXPECT_TRUE(answers()) << mode;
    }
    endpoint->in([&] { plane.reset(); });
    EXPECT_EQ(filter_of("eth0"), "2\n");
}

TEST_F(BpfHostChanges, SourceFilterStaysOnWhereNoPacketsOfClientsComeIn) {
    endpoint->sysctl("net/ipv4/conf/eth0/rp_filter", "1");
    endpoint->sysctl("net/ipv4/conf/s0/rp_filter", "1");
    make(bpf_config(Shortcut::tc));
    EXPECT_THAT(programs_on("s0"), HasSubstr("dstm_up"));
    EXPECT_EQ(filter_of("eth0"), "0\n");
    EXPECT_EQ(filter_of("s0"), "1\n");
    EXPECT_TRUE(answers());
}

// The kernel goes by the larger of an interface's setting and that of all.
TEST_F(BpfHostChanges, SourceFilterOfAllInterfacesIsFollowed) {
    endpoint->sysctl("net/ipv4/conf/eth0/rp_filter", "1");
    make(bpf_config(Shortcut::none));
    EXPECT_TRUE(answers());
    for (const auto* const mode : {"2", "0", "1"}) {
        const bool is_on = *mode != '0';
        endpoint->sysctl("net/ipv4/conf/all/rp_filter", mode);
        EXPECT_TRUE(wait_until([&] { return filter_of("eth0") == (is_on ? "1\n" : "0\n"); }));
        EXPECT_TRUE(wait_until([&] { return answers(); })) << mode;
    }
}

TEST_F(BpfHostChanges, SourceFilterIsPutBackOnAnInterfaceThatHasAnotherNameNow) {
    auto config = bpf_config(Shortcut::none);
    config.interfaces = {{"eth0", Shortcut::automatic}};
    endpoint->sysctl("net/ipv4/conf/eth0/rp_filter", "2");
    make(config);
    ASSERT_EQ(filter_of("eth0"), "0\n");
    endpoint->ip_batch({"link set eth0 down", "link set eth0 name eth9", "link set eth9 up"});
    EXPECT_TRUE(wait_until([&] { return filter_of("eth9") == "2\n"; }));
    EXPECT_THAT(programs_on("eth9"), Not(HasSubstr("dstm")));
}

TEST_F(BpfHostChanges, DetachPutsTheSourceFilterBackUnderWhateverName) {
    auto config = bpf_config(Shortcut::none);
    config.lasting = true;
    endpoint->sysctl("net/ipv4/conf/eth0/rp_filter", "2");
    make(config);
    endpoint->in([&] { plane.reset(); });
    ASSERT_EQ(filter_of("eth0"), "0\n");
    endpoint->ip_batch({"link set eth0 down", "link set eth0 name eth9"});
    EXPECT_TRUE(endpoint->in([&] { return tep::bpf::detach(config.device, {}); }));
    EXPECT_EQ(filter_of("eth9"), "2\n");
    EXPECT_THAT(programs_on("eth9"), Not(HasSubstr("dstm")));
}

// The outer address on lo, and clients on a link that no route with a gateway leads to.
TEST_F(BpfHostChanges, InterfaceOfAClientOnTheLinkIsCarriedFromAsLongAsItHasOne) {
    endpoint->ip("-6 route del default");
    endpoint->ip_batch({"addr del 2001:db8:2::1/64 dev eth0", "addr add 2001:db8:2::1/128 dev lo",
                        "addr add 2001:db8:2::2/64 dev eth0 nodad"});
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    EXPECT_THAT(programs_on("eth0"), Not(HasSubstr("dstm_up")));
    ASSERT_TRUE(tep->add(make_spec("192.0.2.9", "2001:db8:2::ffff")));
    EXPECT_TRUE(wait_until([&] { return has_program("eth0", "dstm_up"); }));
}

TEST_F(BpfHostChanges, InterfaceWhosePacketsTheHostDoesNotForwardHasNoShortcut) {
    for (const auto shortcut : {Shortcut::tc, Shortcut::xdp}) {
        make(bpf_config(shortcut));
        EXPECT_TRUE(has_program("s0", "dstm_up_straigh"));
        const auto has_xdp = [&] { return endpoint->show("link show s0").find("xdp") != -1UL; };
        EXPECT_EQ(has_xdp(), shortcut == Shortcut::xdp);
        endpoint->sysctl("net/ipv4/conf/s0/forwarding", "0");
        EXPECT_TRUE(wait_until([&] { return has_program("s0", "dstm_up_routed") && !has_xdp(); }));
        EXPECT_NE(server->exec("ping -n -c 1 -W 1 192.0.2.7").find("100% packet loss"), -1UL);
        endpoint->sysctl("net/ipv4/conf/s0/forwarding", "1");
        EXPECT_TRUE(wait_until([&] { return has_program("s0", "dstm_up_straigh"); }));
        EXPECT_TRUE(wait_until([&] { return answers(); }));
        client->stop();
        endpoint->in([&] { plane.reset(); });
    }
}

TEST_F(BpfHostChanges, ManyRoutesAreNotReadAtEachChange) {
    std::vector<std::string> lines;
    const auto route = [](const std::string& what, int i) {
        return "route " + what + " 11.0." + std::to_string(i / 256) + "." +
               std::to_string(i % 256) + " via 203.0.113.80";
    };
    for (int i = 0; i < 60000; ++i) lines.push_back(route("add", i));
    endpoint->ip_batch(lines);
    make(bpf_config(Shortcut::tc));
    const auto began = std::chrono::steady_clock::now();
    const int before = readings;
    ASSERT_GT(before, 0);
    for (int i = 0; i < 100; ++i) endpoint->ip_batch({route("del", i), route("add", i)});
    endpoint->ip("link add name last type veth peer name other");
    endpoint->ip_batch({"link set last up", "addr add 198.51.100.1/24 dev last"});
    EXPECT_TRUE(wait_until([&] { return has_program("last", "dstm_up"); }));
    const int made = readings - before;
    const auto took = std::chrono::steady_clock::now() - began;
    EXPECT_LE(made, 3 + took / std::chrono::seconds(1)) << "one a second";
}

}  // namespace
}  // namespace dstm::dataplane::testing
