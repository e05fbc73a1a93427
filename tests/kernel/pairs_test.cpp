// Every data plane at the endpoint with every one at the client: they must understand each other.
#include "tep/bpf/bpf_plane.hpp"
#include "tests/kernel/kernel_campus.hpp"
#include "tests/unit/dataplane/tun_ipv6_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;

Result<std::unique_ptr<DataPlane>> make_bpf(const TunPlaneConfig& tun, const Clock& clock) {
    tep::bpf::BpfPlaneConfig config;
    config.device = tun.device;
    config.outer = tun.outer;
    config.inner = tun.inner;
    config.pools = tun.pools;
    return tep::bpf::make_bpf_plane(config, clock);
}

struct Pair {
    const char* endpoint;
    const char* client;
};

std::string name_of(const ::testing::TestParamInfo<Pair>& row) {
    return std::string(row.param.endpoint) + "EndpointWith" + row.param.client + "Client";
}

MakePlane maker_of(const std::string& name) {
    if (name == "bpf") return make_bpf;
    return name == "kernel" ? make_kernel : make_tun_plane;
}

class DataPlanePairs : public ReusedCampus, public ::testing::WithParamInterface<Pair> {
protected:
    void SetUp() override {
        make_endpoint_plane = maker_of(GetParam().endpoint);
        make_client_plane = maker_of(GetParam().client);
        ReusedCampus::SetUp();
        if (!IsSkipped() && !HasFatalFailure()) bring_up();
    }
};

TEST_P(DataPlanePairs, CarryPingTcpAndWhatIsTooBig) {
    EXPECT_EQ(tep->plane().name(), GetParam().endpoint);
    EXPECT_EQ(client->plane().name(), GetParam().client);
    EXPECT_TRUE(answers(ping(*first, "192.0.2.1"))) << "keepalive";
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7")));
    constexpr std::size_t size = 1 << 20;
    EXPECT_EQ(transfer(*server, "203.0.113.80", *first, size), 2 * size);
    EXPECT_EQ(transfer(*first, "192.0.2.7", *server, size), 2 * size);
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7", "-M do -s 1432")));
    EXPECT_THAT(ping(*server, "192.0.2.7", "-M do -s 1433"), HasSubstr("mtu = 1460"));
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80", "-M dont -s 3000")));
}

TEST_P(DataPlanePairs, MoveTogetherAndEndTogether) {
    ASSERT_TRUE(answers(ping(*first, "203.0.113.80")));
    auto moved = make_spec("192.0.2.7", "2001:db8:1::6");
    moved.generation = 2;
    first->ip("addr add 2001:db8:1::6/64 dev eth0 nodad");
    ASSERT_TRUE(wait_until([&] { return client->add(moved).has_value(); }));
    ASSERT_TRUE(tep->add(moved));
    EXPECT_TRUE(answers(ping(*first, "203.0.113.80")));
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7")));
    HandMadeClient spoofer(*second, "2001:db8:4::5");
    const auto counted = tep->plane().list().at(0).counters.packets_up;
    spoofer.send(echo_request("192.0.2.7", "203.0.113.80", 84));
    ASSERT_TRUE(tep->remove("192.0.2.7", 2));
    EXPECT_EQ(counted, 3u);
    EXPECT_FALSE(answers(ping(*first, "203.0.113.80", "-W 1")));
    client.reset();
    first->ip("addr del 2001:db8:1::6/64 dev eth0");
}

INSTANTIATE_TEST_SUITE_P(Each, DataPlanePairs,
                         ::testing::Values(Pair{"kernel", "kernel"}, Pair{"kernel", "tun"},
                                           Pair{"tun", "kernel"}, Pair{"tun", "tun"},
                                           Pair{"bpf", "kernel"}, Pair{"bpf", "tun"}),
                         name_of);

// v6v4
class DataPlanePairsV6 : public TunIpv6Campus, public ::testing::WithParamInterface<Pair> {
protected:
    void SetUp() override {
        const auto why = why_no_kernel_plane();
        if (!why.empty() && must_run()) FAIL() << why;
        if (!why.empty()) GTEST_SKIP() << why;
        make_endpoint_plane = maker_of(GetParam().endpoint);
        make_client_plane = maker_of(GetParam().client);
        TunIpv6Campus::SetUp();
    }
};

TEST_P(DataPlanePairsV6, CarryPingTcpAndWhatIsTooBig) {
    const std::string inner = "2001:db8:100::7";
    bring_up_v6(v6_spec(inner, "10.0.1.5"));
    EXPECT_EQ(tep->plane().name(), GetParam().endpoint);
    EXPECT_EQ(client->plane().name(), GetParam().client);
    EXPECT_TRUE(answers(ping(*first, "2001:db8:100::1"))) << "keepalive";
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    EXPECT_TRUE(answers(ping(*server, inner)));
    constexpr std::size_t size = 1 << 20;
    EXPECT_EQ(transfer(*server, host_behind, *first, size), 2 * size);
    EXPECT_TRUE(answers(ping(*server, inner, "-M do -s 1432")));
    EXPECT_THAT(ping(*server, inner, "-M do -s 1433"), HasSubstr("mtu=1480"));
    ASSERT_TRUE(endpoint->in([&] { return tep->plane().remove(v6(inner), 1); }));
    EXPECT_FALSE(answers(ping(*first, host_behind, "-W 1")));
}

INSTANTIATE_TEST_SUITE_P(Each, DataPlanePairsV6,
                         ::testing::Values(Pair{"kernel", "kernel"}, Pair{"kernel", "tun"},
                                           Pair{"tun", "kernel"}, Pair{"tun", "tun"}),
                         name_of);

}  // namespace
}  // namespace dstm::dataplane::testing
