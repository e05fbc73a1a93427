// Every data plane at the endpoint with every one at the client: they must understand each other.
#include "tests/bpf/bpf_config.hpp"
#include "tests/kernel/kernel_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;

Result<std::unique_ptr<DataPlane>> make_bpf(const TunPlaneConfig& tun, const Clock& clock) {
    return tep::bpf::make_bpf_plane(bpf_config(tun), clock);
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
    constexpr std::size_t size = 1 << 19;
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

// v6v4, and v6udpv4 for those that have it.
struct PairOfType {
    TunnelType type;
    Pair planes;
};

std::string name_with_type(const ::testing::TestParamInfo<PairOfType>& row) {
    const auto& planes = row.param.planes;
    return std::string(to_string(row.param.type)) + planes.endpoint + "EndpointWith" +
           planes.client + "Client";
}

class DataPlanePairsV6 : public ReusedIpv6Campus, public ::testing::WithParamInterface<PairOfType> {
protected:
    void SetUp() override {
        make_endpoint_plane = maker_of(GetParam().planes.endpoint);
        make_client_plane = maker_of(GetParam().planes.client);
        ReusedIpv6Campus::SetUp();
    }
};

TEST_P(DataPlanePairsV6, CarryPingTcpAndWhatIsTooBig) {
    const std::string inner = "2001:db8:100::7";
    const bool is_udp = GetParam().type == TunnelType::v6udpv4;
    bring_up_v6(v6_spec(inner, "10.0.1.5", is_udp ? signalling_port : std::uint16_t{0}));
    EXPECT_EQ(tep->plane().name(), GetParam().planes.endpoint);
    EXPECT_EQ(client->plane().name(), GetParam().planes.client);
    EXPECT_TRUE(answers(ping(*first, "2001:db8:100::1"))) << "keepalive";
    EXPECT_TRUE(answers(ping(*first, host_behind)));
    EXPECT_TRUE(answers(ping(*server, inner)));
    constexpr std::size_t size = 1 << 19;
    EXPECT_EQ(transfer(*server, host_behind, *first, size), 2 * size);
    EXPECT_EQ(transfer(*first, inner, *server, size), 2 * size);
    const int fits = is_udp ? 1472 : 1480;
    const auto ping_of = [&](int bytes) { return "-M do -s " + std::to_string(bytes - 48); };
    EXPECT_TRUE(answers(ping(*server, inner, ping_of(fits))));
    EXPECT_THAT(ping(*server, inner, ping_of(fits + 1)), HasSubstr("mtu=" + std::to_string(fits)));
    EXPECT_TRUE(answers(ping(*first, host_behind, "-M dont -s 3000")));
    ASSERT_TRUE(tep->remove(inner));
    EXPECT_FALSE(answers(ping(*first, host_behind, "-W 1")));
}

constexpr auto v6v4 = TunnelType::v6v4;
constexpr auto v6udpv4 = TunnelType::v6udpv4;
INSTANTIATE_TEST_SUITE_P(
    Each, DataPlanePairsV6,
    ::testing::Values(PairOfType{v6v4, {"kernel", "kernel"}}, PairOfType{v6v4, {"kernel", "tun"}},
                      PairOfType{v6v4, {"tun", "kernel"}}, PairOfType{v6v4, {"tun", "tun"}},
                      PairOfType{v6v4, {"bpf", "kernel"}}, PairOfType{v6v4, {"bpf", "tun"}},
                      PairOfType{v6udpv4, {"tun", "tun"}}, PairOfType{v6udpv4, {"bpf", "tun"}}),
    name_with_type);

}  // namespace
}  // namespace dstm::dataplane::testing
