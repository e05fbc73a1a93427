// The BPF data plane outlives its process: killed, started again, changed, taken back.
// tun_campus.hpp shows the network.
#include <atomic>
#include <regex>
#include <sstream>
#include <thread>

#include <bpf/bpf.h>

#include "tep/bpf/left_behind.hpp"
#include "tests/bpf/echo_train.hpp"
#include "tests/bpf/lasting_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::uint64_t counted(const Namespace& host, const std::string& name) {
    std::istringstream line(host.exec("sh -c 'nstat -asz " + name + " | grep " + name + "'"));
    std::string same_name;
    std::uint64_t count = 0;
    EXPECT_TRUE(line >> same_name >> count) << name;
    return count;
}

// Segments of TCP that were lost on the way: sent again, and the receiver did not say that it had
// them already (RFC 2883), as it does when they were only late.
std::uint64_t lost_segments(const Namespace& sender) {
    const auto sent_again = counted(sender, "TcpRetransSegs");
    const auto were_there =
        counted(sender, "TcpExtTCPDSACKRecv") + counted(sender, "TcpExtTCPDSACKOfoRecv");
    return sent_again > were_there ? sent_again - were_there : 0;
}

struct Datagrams {
    std::uint64_t lost = 0;
    std::uint64_t sent = 0;
};

// What iperf3 says of both ways together.
Datagrams datagrams_of(const std::string& said) {
    static const std::regex line(R"((\d+)/(\d+) \([^)]*\) +receiver)");
    Datagrams sum;
    for (std::sregex_iterator at(said.begin(), said.end(), line), end; at != end; ++at) {
        sum.lost += std::stoull((*at)[1]);
        sum.sent += std::stoull((*at)[2]);
    }
    return sum;
}

TEST_F(BpfLasting, KilledAndStartedTenTimesLosesNoPacket) {
    auto daemon = std::make_unique<Daemon>(*endpoint, config, clock, std::vector{first_spec});
    ASSERT_EQ(daemon->tunnels(), 1u);
    client = bring_up_client(*first, first_spec, client_config());
    ASSERT_TRUE(wait_until([&] {
        return server->exec("ping -n -c 1 -W 1 192.0.2.7").find(" 0% packet loss") !=
               std::string::npos;
    }));
    EchoTrain pings(*server, "192.0.2.7");
    const auto iperf = [&](const std::string& how) {
        std::thread listening([&] { static_cast<void>(server->exec("timeout 60 iperf3 -s -1")); });
        std::string said;
        EXPECT_TRUE(wait_until([&] {
            said = first->exec("timeout 60 iperf3 -c 203.0.113.80 -b 20M -t 5 " + how);
            return said.find("refused") == std::string::npos;
        }));
        listening.join();
        return said;
    };
    std::string tcp;
    std::string udp;
    std::atomic<bool> has_sent = false;
    std::thread sending([&] {
        tcp = iperf("");
        udp = iperf("-u --bidir -l 1200");
        has_sent = true;
    });
    for (int starts = 0; starts < 10 || !has_sent; ++starts) {
        daemon->kill();
        daemon = std::make_unique<Daemon>(*endpoint, config, clock);
        EXPECT_EQ(daemon->tunnels(), 1u);
    }
    sending.join();
    EXPECT_THAT(pings.missing(), IsEmpty()) << "of " << pings.sent();
    EXPECT_GT(pings.sent(), 3000u);
    EXPECT_THAT(tcp, HasSubstr("iperf Done"));
    EXPECT_EQ(lost_segments(*first), 0u) << tcp;
    // What a busy machine's iperf3 is too slow to take has arrived.
    const auto arrived = counted(*first, "UdpRcvbufErrors") + counted(*server, "UdpRcvbufErrors");
    const auto datagrams = datagrams_of(udp);
    EXPECT_LE(datagrams.lost, arrived) << udp;
    EXPECT_GT(datagrams.sent, 15000u) << udp;
}

TEST_F(BpfLasting, NewDaemonKnowsWhatTheOldOneCarried) {
    ASSERT_EQ(Daemon(*endpoint, config, clock, {first_spec, second_spec}).tunnels(), 2u);
    client = bring_up_client(*first, first_spec, client_config());
    EXPECT_TRUE(wait_until([&] {
        return server->exec("ping -n -c 1 -W 1 192.0.2.7").find(" 0% packet loss") !=
               std::string::npos;
    })) << "without a daemon";
    auto plane = make();
    ASSERT_TRUE(plane) << to_string(plane.error());
    const auto tunnels = (*plane)->list();
    ASSERT_EQ(tunnels.size(), 2u);
    for (const auto& tunnel : tunnels) {
        const auto& spec = tunnel.spec.inner == first_spec.inner ? first_spec : second_spec;
        EXPECT_EQ(tunnel.spec, spec);
        EXPECT_EQ(tunnel.counters.packets_down > 0, spec == first_spec);
        EXPECT_EQ(tunnel.counters.last_seen_down != WallTime(), spec == first_spec);
    }
    EXPECT_EQ((*plane)->remove(first_spec.inner, 0).error().code, ErrorCode::conflict);
    drop(std::move(*plane));
}

INSTANTIATE_TEST_SUITE_P(Types, BpfLastingIpv6, ::testing::Bool(),
                         [](const auto& type) { return type.param ? "v6udpv4" : "v6v4"; });

TEST_P(BpfLastingIpv6, KilledAndStartedTenTimesLosesNoPacket) {
    auto daemon = std::make_unique<Daemon>(*endpoint, config, clock, std::vector{spec});
    ASSERT_EQ(daemon->tunnels(), 1u);
    client = start_client(*first, spec, client_v6_config());
    ASSERT_TRUE(answers(ping(*server, "2001:db8:100::7")));
    EchoTrain through(*server, "2001:db8:100::7");
    EchoTrain to_endpoint(*server, "2001:db8:100::1");
    for (int starts = 0; starts < 10; ++starts) {
        daemon->kill();
        daemon = std::make_unique<Daemon>(*endpoint, config, clock);
        EXPECT_EQ(daemon->tunnels(), 1u);
    }
    EXPECT_THAT(through.missing(), IsEmpty()) << "of " << through.sent();
    EXPECT_THAT(to_endpoint.missing(), IsEmpty()) << "of " << to_endpoint.sent();
    EXPECT_GT(through.sent(), 1000u);
}

// Also where new pools of IPv4 make new maps for the rest.
TEST_P(BpfLastingIpv6, GoesOnWithoutADaemonAndTheNextOneKnowsIt) {
    spec.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
    {
        const Daemon daemon(*endpoint, config, clock, {spec});
        ASSERT_EQ(daemon.tunnels(), 1u);
        client = start_client(*first, spec, client_v6_config());
        first->ip("addr add 2001:db8:200:7::9/128 dev lo");
        EXPECT_TRUE(answers(ping(*first, host_behind))) << "and the kernel knows the way";
    }
    EXPECT_TRUE(answers(ping(*server, "2001:db8:100::7"))) << "without a daemon";
    EXPECT_TRUE(answers(ping(*server, "2001:db8:200:7::9"))) << "behind the client";
    for (const auto* const pool : {"192.0.2.0/24", "198.51.100.128/25"}) {
        config.pools = {Ipv4Prefix::parse(pool).value()};
        endpoint->in([&] {
            const auto plane = tep::bpf::make_bpf_plane(config, clock);
            ASSERT_TRUE(plane) << to_string(plane.error());
            const auto tunnels = (*plane)->list();
            ASSERT_EQ(tunnels.size(), 1u);
            EXPECT_EQ(tunnels[0].spec, spec);
            EXPECT_GE(tunnels[0].counters.packets_down, 2u);
        });
    }
}

TEST_F(BpfLasting, OutsideThePoolsToo) {
    const auto spec = make_spec("198.51.100.9", "2001:db8:1::5");
    ASSERT_EQ(Daemon(*endpoint, config, clock, {spec}).tunnels(), 1u);
    Daemon again(*endpoint, config, clock);
    EXPECT_EQ(again.tunnels(), 1u);
    client = bring_up_client(*first, spec, client_config());
    EXPECT_TRUE(wait_until([&] {
        return server->exec("ping -n -c 1 -W 1 198.51.100.9").find(" 0% packet loss") !=
               std::string::npos;
    }));
}

// Pools are part of the form of the maps: another list of them makes new maps.
TEST_F(BpfLasting, TunnelsAreTakenIntoMapsOfAnotherForm) {
    ASSERT_EQ(Daemon(*endpoint, config, clock, {first_spec}).tunnels(), 1u);
    config.pools.insert(config.pools.begin(), Ipv4Prefix::parse("198.51.100.0/24").value());
    auto plane = make();
    ASSERT_TRUE(plane) << to_string(plane.error());
    ASSERT_EQ((*plane)->list().size(), 1u);
    EXPECT_EQ((*plane)->list()[0].spec, first_spec);
    client = bring_up_client(*first, first_spec, client_config());
    EXPECT_TRUE(wait_until([&] {
        return server->exec("ping -n -c 1 -W 1 192.0.2.7").find(" 0% packet loss") !=
               std::string::npos;
    }));
    drop(std::move(*plane));
    EXPECT_EQ(Daemon(*endpoint, config, clock).tunnels(), 1u);
}

TEST_F(BpfLasting, MapsWithoutPinsAreFoundByTheProgram) {
    ASSERT_EQ(Daemon(*endpoint, config, clock, {first_spec}).tunnels(), 1u);
    ASSERT_TRUE(pins().remove());
    EXPECT_EQ(Daemon(*endpoint, config, clock).tunnels(), 1u);
}

TEST_F(BpfLasting, NewerLayoutIsLeftAlone) {
    ASSERT_EQ(Daemon(*endpoint, config, clock, {first_spec}).tunnels(), 1u);
    const auto maps = pins().maps();
    ASSERT_TRUE(maps);
    auto meta = tep::bpf::meta_in(*maps).value();
    ++meta.version;
    const __u32 key = 0;
    ASSERT_EQ(bpf_map_update_elem(maps->at("meta").number(), &key, &meta, BPF_ANY), 0);
    const auto plane = make();
    ASSERT_FALSE(plane);
    EXPECT_EQ(plane.error().code, ErrorCode::conflict);
    EXPECT_THAT(plane.error().context, HasSubstr("newer"));
    EXPECT_THAT(endpoint->exec("tc filter show dev dstm0 egress"), HasSubstr("dstm_down"));
}

TEST_F(BpfLasting, MapPinnedBySomethingElseIsNamed) {
    const dataplane::Descriptor map(
        bpf_map_create(BPF_MAP_TYPE_ARRAY, "others", 4, 8, 1, nullptr));
    ASSERT_TRUE(map.is_open());
    ASSERT_TRUE(pins().replace({{"pool_0", map.number()}}));
    const auto plane = make();
    ASSERT_FALSE(plane);
    EXPECT_EQ(plane.error().code, ErrorCode::conflict);
    EXPECT_THAT(plane.error().context, HasSubstr("pool_0 is pinned by something else"));
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr("dstm0")));
}

TEST_F(BpfLasting, DetachLeavesNothing) {
    endpoint->sysctl("net/ipv4/conf/eth0/rp_filter", "2");
    const auto routes = endpoint->show("route show");
    const auto directory = pins().directory();
    ASSERT_EQ(Daemon(*endpoint, config, clock, {first_spec}).tunnels(), 1u);
    EXPECT_TRUE(pins().exist());
    EXPECT_EQ(endpoint->exec("cat /proc/sys/net/ipv4/conf/eth0/rp_filter"), "0\n");
    const auto removed = detach();
    ASSERT_TRUE(removed) << to_string(removed.error());
    EXPECT_FALSE(removed->empty());
    EXPECT_FALSE(pins().exist()) << directory;
    EXPECT_EQ(endpoint->exec("tc filter show dev eth0 ingress"), "");
    EXPECT_THAT(endpoint->exec("tc qdisc show dev eth0"), Not(HasSubstr("clsact")));
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr("dstm0")));
    EXPECT_EQ(endpoint->show("route show"), routes);
    EXPECT_EQ(endpoint->exec("cat /proc/sys/net/ipv4/conf/eth0/rp_filter"), "2\n");
    const auto again = detach();
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->empty());
}

TEST_F(BpfLasting, DetachRefusesWhileADaemonRuns) {
    Daemon daemon(*endpoint, config, clock, {first_spec});
    ASSERT_EQ(daemon.tunnels(), 1u);
    const auto removed = detach();
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, ErrorCode::conflict);
    EXPECT_THAT(endpoint->exec("tc filter show dev eth0 ingress"), HasSubstr("dstm_up"));
    daemon.kill();
}

TEST_F(BpfLasting, StartThatFailsLeavesNothing) {
    config.outer = v6("2001:db8:2::77");  // of nobody
    const auto plane = make();
    ASSERT_FALSE(plane);
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr("dstm0")));
    EXPECT_THAT(endpoint->show("route show"), Not(HasSubstr("blackhole")));
    EXPECT_FALSE(pins().exist());
}

}  // namespace
}  // namespace dstm::dataplane::testing
