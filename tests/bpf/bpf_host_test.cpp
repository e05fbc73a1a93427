// What else happens on the host of a lasting BPF data plane: other daemons, foreign filters and
// pins, a device that somebody sets down, pools that change. tun_campus.hpp shows the network.
#include <filesystem>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>

#include "tep/bpf/hook_records.hpp"
#include "tep/bpf/left_behind.hpp"
#include "tep/bpf/plane_start.hpp"
#include "tep/bpf/tc_hook.hpp"
#include "tep/bpf/xdp_hook.hpp"
#include "tests/bpf/lasting_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* foreign_filter = " ingress prio 3415 handle 0xd5 bpf bytecode '1,6 0 0 0,'";

class BpfHost : public BpfLasting {
protected:
    [[nodiscard]] std::string filters(const std::string& on) const {
        return endpoint->exec("tc filter show dev " + on);
    }
    [[nodiscard]] std::string routes() const {
        return endpoint->show("route show") + endpoint->show("-6 route show");
    }
    [[nodiscard]] bool reaches_client() const {
        return server->exec("ping -n -c 1 -W 1 192.0.2.7").find(" 0% packet loss") !=
               std::string::npos;
    }
    [[nodiscard]] std::string index_of(const std::string& interface) const {
        return std::to_string(
            endpoint->in([&] { return ::if_nametoindex(interface.c_str()); }));
    }
    // In place of what the last daemon left on the interface.
    [[nodiscard]] bool leave_as_earlier(const std::string& interface) const {
        const auto index = static_cast<int>(::if_nametoindex(interface.c_str()));
        const auto pins = tep::bpf::Pins::open(config.device);
        const auto programs = tep::bpf::Programs::load(tep::bpf::settings_of(config));
        if (!pins || !programs) return false;
        pins->end_links();
        const auto maps = pins->maps();
        if (!maps || bpf_xdp_attach(index, programs->xdp(), XDP_FLAGS_DRV_MODE, nullptr) != 0) {
            return false;
        }
        tep::bpf::HookRecords records(maps->at("hooks").number());
        auto record = records.find(index).value_or(dstm_hook{});
        record.has_xdp = 1;
        record.xdp_program = tep::bpf::XdpHook::number_on(index);
        records.write(index, record);

        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_INGRESS);
        LIBBPF_OPTS(bpf_tc_opts, ours, .handle = tep::bpf::tc_handle_of(config.device),
                    .priority = 0xd57);
        LIBBPF_OPTS(bpf_tc_opts, earlier, .prog_fd = programs->up(), .handle = 0xd5,
                    .priority = 0xd57);
        return bpf_tc_detach(&hook, &ours) == 0 && bpf_tc_attach(&hook, &earlier) == 0;
    }
    void add_foreign_filter(const std::string& interface) const {
        EXPECT_EQ(endpoint->exec("tc filter add dev " + interface + foreign_filter), "");
    }
};

// --- other daemons ---------------------------------------------------------------------------

class BpfTwoDaemons : public BpfHost {
protected:
    void SetUp() override {
        BpfHost::SetUp();
        if (!IsSkipped()) one = std::make_unique<Daemon>(*endpoint, config, clock);
    }
    void TearDown() override {
        one.reset();
        BpfHost::TearDown();
    }
    // It fails, with this in its error, and changes nothing.
    void second_fails(const tep::bpf::BpfPlaneConfig& other, const std::string& why) const {
        const auto before = filters("eth0 ingress") + filters("s0 ingress") + routes() +
                            endpoint->show("-br addr");
        const auto plane = endpoint->in([&] { return tep::bpf::make_bpf_plane(other, clock); });
        ASSERT_FALSE(plane);
        EXPECT_EQ(plane.error().code, ErrorCode::conflict);
        EXPECT_THAT(plane.error().context, HasSubstr(why));
        EXPECT_EQ(filters("eth0 ingress") + filters("s0 ingress") + routes() +
                      endpoint->show("-br addr"),
                  before);
    }
    std::unique_ptr<Daemon> one;
};

TEST_F(BpfTwoDaemons, OfTheSamePoolsTheSecondFailsAndHarmsNothing) {
    ASSERT_THAT(routes(), HasSubstr("blackhole 192.0.2.0/24"));
    auto other = config;
    other.device = "dstm7";
    second_fails(other, "leads elsewhere");
}

TEST_F(BpfTwoDaemons, OnTheSameInterfacesTheSecondFailsAndHarmsNothing) {
    auto other = config;
    other.device = "dstm7";
    other.inner = v4("198.51.100.1");
    other.pools = {Ipv4Prefix::parse("198.51.100.0/24").value()};
    second_fails(other, "on eth0 another dstm-tep takes the packets");
}

// What looks half done in the maps may be what the first one is just writing.
TEST_F(BpfTwoDaemons, OfTheSameDeviceTheSecondTouchesNoMap) {
    const auto maps = pins().maps();
    ASSERT_TRUE(maps);
    const int slots = maps->at("outside_slots").number();
    const __u32 key = 1;
    __u64 lead = 1;
    ASSERT_EQ(bpf_map_update_elem(slots, &key, &lead, BPF_ANY), 0);
    second_fails(config, "dstm0");
    EXPECT_EQ(bpf_map_lookup_elem(slots, &key, &lead), 0);
}

// --- filters and pins of others --------------------------------------------------------------

TEST_F(BpfHost, StartThatFailsHalfwayLeavesWhatTheLastDaemonLeft) {
    ASSERT_EQ(Daemon(*endpoint, config, clock, {first_spec}).tunnels(), 1u);
    client = bring_up_client(*first, first_spec, client_config());
    ASSERT_TRUE(wait_until([&] { return reaches_client(); }));
    EXPECT_EQ(endpoint->exec("tc filter del dev s0 ingress"), "");
    add_foreign_filter("s0");
    const auto plane = make();
    ASSERT_FALSE(plane);
    EXPECT_EQ(plane.error().code, ErrorCode::conflict);
    EXPECT_THAT(filters("eth0 ingress"), HasSubstr("dstm_up"));
    EXPECT_THAT(filters("dstm0 egress"), HasSubstr("dstm_down"));
    EXPECT_THAT(routes(), HasSubstr("blackhole 192.0.2.0/24"));
    EXPECT_TRUE(reaches_client());
}

TEST_F(BpfHost, ForeignFilterOnOneInterfaceKeepsNoOtherWithoutProgram) {
    const Daemon daemon(*endpoint, config, clock);
    ASSERT_TRUE(daemon.tunnels());
    daemon.signal(SIGSTOP);  // or it is faster
    EXPECT_EQ(endpoint->exec("tc filter del dev eth0 ingress"), "");
    add_foreign_filter("eth0");
    EXPECT_EQ(endpoint->exec("tc filter del dev s0 ingress"), "");
    daemon.signal(SIGCONT);
    EXPECT_TRUE(wait_until([&] {
        return filters("s0 ingress").find("dstm_up") != std::string::npos;
    }));
    EXPECT_THAT(filters("eth0 ingress"), Not(HasSubstr("dstm_up")));
}

TEST_F(BpfHost, ForeignPinIsNamedAndNeitherMovedNorDeleted) {
    ASSERT_EQ(Daemon(*endpoint, config, clock, {first_spec}).tunnels(), 1u);
    const Descriptor map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "others", 4, 8, 1, nullptr));
    const auto place = pins().directory() + "/others";
    ASSERT_EQ(bpf_obj_pin(map.number(), place.c_str()), 0);
    const auto plane = make();
    ASSERT_FALSE(plane);
    EXPECT_EQ(plane.error().code, ErrorCode::conflict);
    EXPECT_THAT(plane.error().context, HasSubstr(place));
    EXPECT_TRUE(detach()) << "works past it";
    EXPECT_EQ(filters("eth0 ingress"), "");
    EXPECT_THAT(endpoint->show("link show"), Not(HasSubstr("dstm0")));
    std::vector<std::filesystem::path> left(
        std::filesystem::directory_iterator(pins().directory()), {});
    EXPECT_EQ(left, std::vector<std::filesystem::path>{place});
    std::filesystem::remove(place);
}

// --- the tunnel device -----------------------------------------------------------------------

TEST_F(BpfHost, DeviceThatWasSetDownHasItsAddressesRoutesAndFiltersAgain) {
    const auto outside = make_spec("198.51.100.9", "2001:db8:1::5");
    const Daemon daemon(*endpoint, config, clock, {first_spec, outside});
    ASSERT_EQ(daemon.tunnels(), 2u);
    client = bring_up_client(*first, first_spec, client_config());
    ASSERT_TRUE(wait_until([&] { return reaches_client(); }));
    const auto before = routes();
    ASSERT_THAT(before, HasSubstr("198.51.100.9 dev dstm0"));
    endpoint->ip("link set dstm0 down");
    EXPECT_THAT(routes(), Not(HasSubstr("dev dstm0")));
    endpoint->ip("link set dstm0 up");
    EXPECT_TRUE(wait_until([&] { return routes() == before; })) << routes();
    EXPECT_TRUE(reaches_client());
    EXPECT_EQ(endpoint->exec("tc qdisc del dev dstm0 clsact"), "");
    EXPECT_TRUE(wait_until([&] {
        return filters("dstm0 egress").find("dstm_down") != std::string::npos;
    }));
}

TEST_P(BpfLastingIpv6, DeviceThatWasSetDownCarriesAgain) {
    const Daemon daemon(*endpoint, config, clock, {spec});
    client = start_client(*first, spec, client_v6_config());
    ASSERT_TRUE(answers(ping(*server, "2001:db8:100::7")));
    const auto routes = [&] { return endpoint->show("-6 route show"); };
    const auto before = routes();
    endpoint->ip("link set dstm0 down");
    endpoint->ip("link set dstm0 up");
    EXPECT_TRUE(wait_until([&] { return routes() == before; })) << routes();
    EXPECT_TRUE(answers(ping(*server, "2001:db8:100::7")));
    EXPECT_TRUE(answers(ping(*server, "2001:db8:100::1"))) << "its own inner address";
}

TEST_F(BpfHost, DeletedDeviceIsToldAndTheNextPlaneMakesItAnew) {
    std::atomic<bool> is_gone = false;
    config.device_gone = [&] { is_gone = true; };
    auto plane = make();
    ASSERT_TRUE(plane) << to_string(plane.error());
    ASSERT_TRUE((*plane)->add(first_spec));
    endpoint->ip("link del dstm0");
    EXPECT_TRUE(wait_until([&] { return is_gone.load(); }));
    drop(std::move(*plane));
    const Daemon again(*endpoint, config, clock);
    EXPECT_EQ(again.tunnels(), 1u);
    client = bring_up_client(*first, first_spec, client_config());
    EXPECT_TRUE(wait_until([&] { return reaches_client(); }));
}

// --- XDP -------------------------------------------------------------------------------------

TEST_F(BpfHost, XdpIsALinkThatIsPinnedAndLeavesAlsoAnInterfaceThatWasMovedAway) {
    endpoint->ip("link add x0 type veth peer name x1");
    endpoint->ip("link set x0 up");
    config.shortcut = tep::bpf::Shortcut::xdp;
    config.interfaces = {{"eth0"}, {"x0"}};
    const auto has_xdp = [](const Namespace& host, const std::string& interface) {
        return host.show("link show " + interface).find("xdp") != std::string::npos;
    };
    ASSERT_TRUE(Daemon(*endpoint, config, clock).tunnels());
    EXPECT_TRUE(has_xdp(*endpoint, "x0")) << "without a daemon";
    ASSERT_TRUE(Daemon(*endpoint, config, clock).tunnels());
    EXPECT_TRUE(has_xdp(*endpoint, "x0")) << "the next one went on with it";
    endpoint->ip("link set x0 netns " + server->name());
    EXPECT_TRUE(has_xdp(*server, "x0"));
    EXPECT_TRUE(detach());
    EXPECT_FALSE(has_xdp(*server, "x0"));
    EXPECT_FALSE(has_xdp(*endpoint, "eth0"));
}

// What daemons up to layout 3 left: filters with one handle for all devices, XDP without a link.
TEST_F(BpfHost, ProgramsOfAnEarlierLayoutMakeRoom) {
    config.shortcut = tep::bpf::Shortcut::xdp;
    ASSERT_TRUE(Daemon(*endpoint, config, clock).tunnels());
    EXPECT_TRUE(endpoint->in([&] { return leave_as_earlier("eth0"); }));
    EXPECT_THAT(filters("eth0 ingress"), HasSubstr("handle 0xd5 dstm_up"));
    auto plane = make();
    ASSERT_TRUE(plane) << to_string(plane.error());
    EXPECT_THAT(filters("eth0 ingress"), AllOf(HasSubstr("dstm_up"), Not(HasSubstr("0xd5 "))));
    EXPECT_TRUE(std::filesystem::exists(pins().directory() + "/link_" + index_of("eth0")));
    drop(std::move(*plane));
    EXPECT_TRUE(endpoint->in([&] { return leave_as_earlier("eth0"); }));
    EXPECT_TRUE(detach());
    EXPECT_THAT(filters("eth0 ingress"), IsEmpty());
    EXPECT_THAT(endpoint->show("link show eth0"), Not(HasSubstr("xdp")));
}

// --- another configuration -------------------------------------------------------------------

TEST_F(BpfHost, PoolsThatTheNextDaemonHasNotAreGoneAndTunnelsInThemStay) {
    auto before = make();
    ASSERT_TRUE(before) << to_string(before.error());
    ASSERT_TRUE((*before)->add(first_spec));
    static_cast<void>(server->exec("ping -n -c 1 -W 1 192.0.2.99"));
    EXPECT_TRUE(wait_until([&] { return (*before)->drops().at("no_tunnel") > 0; }));
    drop(std::move(*before));
    config.pools = {Ipv4Prefix::parse("198.51.100.0/24").value()};
    config.inner = v4("198.51.100.1");
    auto plane = make();
    ASSERT_TRUE(plane) << to_string(plane.error());
    EXPECT_GT((*plane)->drops().at("no_tunnel"), 0u) << "counted on";
    EXPECT_THAT(routes(), AllOf(Not(HasSubstr("192.0.2.0/24")), HasSubstr("192.0.2.7 dev dstm0"),
                                HasSubstr("blackhole 198.51.100.0/24")));
    EXPECT_THAT(endpoint->show("addr show dev dstm0"),
                AllOf(Not(HasSubstr("192.0.2.1/")), HasSubstr("198.51.100.1/32")));
    client = bring_up_client(*first, first_spec, client_config());
    EXPECT_TRUE(wait_until([&] { return reaches_client(); }));
    drop(std::move(*plane));
    EXPECT_TRUE(detach());
    EXPECT_THAT(routes(), Not(HasSubstr("blackhole")));
}

// The source of the pool's route is another one, and the address that it had goes.
TEST_F(BpfHost, InnerAddressMayChange) {
    ASSERT_EQ(Daemon(*endpoint, config, clock, {first_spec}).tunnels(), 1u);
    config.inner = v4("192.0.2.2");
    const Daemon daemon(*endpoint, config, clock);
    ASSERT_EQ(daemon.tunnels(), 1u);
    EXPECT_THAT(routes(), HasSubstr("scope link src 192.0.2.2"));
    EXPECT_THAT(endpoint->show("addr show dev dstm0"), Not(HasSubstr("192.0.2.1/")));
}

TEST_P(BpfLastingIpv6, PoolsAndAddressThatTheNextDaemonHasNotAreGone) {
    ASSERT_EQ(Daemon(*endpoint, config, clock).tunnels(), 0u);
    auto next = config;
    next.pools_ipv6 = {config.pools_ipv6[0]};
    next.inner_ipv6 = v6("2001:db8:100::2");
    const Daemon daemon(*endpoint, next, clock);
    ASSERT_TRUE(daemon.tunnels());
    EXPECT_THAT(endpoint->show("-6 route show"),
                AllOf(Not(HasSubstr("2001:db8:200::/40")),
                      HasSubstr("blackhole 2001:db8:100::/48")));
    EXPECT_THAT(endpoint->show("addr show dev dstm0"), Not(HasSubstr("2001:db8:100::1/")));
}

TEST_P(BpfLastingIpv6, TunnelThatCannotBeAdoptedIsNotCarriedOn) {
    ASSERT_EQ(Daemon(*endpoint, config, clock, {spec}).tunnels(), 1u);
    auto with_its_address = config;
    with_its_address.inner_ipv6 = std::get<Ipv6Address>(spec.inner);
    ASSERT_EQ(Daemon(*endpoint, with_its_address, clock).tunnels(), 0u);
    EXPECT_EQ(Daemon(*endpoint, config, clock).tunnels(), 0u) << "it is in no map either";
}

// --- what the maps or the host refuse --------------------------------------------------------

TEST_F(BpfHost, TunnelWhoseRouteIsRefusedIsNowhere) {
    const auto spec = make_spec("198.51.100.9", "2001:db8:1::5");
    endpoint->ip("route add 198.51.100.9/32 dev s0");
    auto plane = make();
    ASSERT_TRUE(plane) << to_string(plane.error());
    EXPECT_EQ((*plane)->add(spec).error().code, ErrorCode::conflict);
    EXPECT_THAT((*plane)->list(), IsEmpty());
    EXPECT_THAT(routes(), HasSubstr("198.51.100.9 dev s0"));
    endpoint->ip("route del 198.51.100.9/32 dev s0");
    EXPECT_TRUE((*plane)->add(spec));
    drop(std::move(*plane));
}

TEST_P(BpfLastingIpv6, TunnelThatTheMapsRefuseIsNowhereAndWhatItWasToReplaceStays) {
    endpoint->in([&] {
        auto made = tep::bpf::make_bpf_plane(config, clock);
        ASSERT_TRUE(made) << to_string(made.error());
        auto& plane = **made;
        auto tunnel = [&](int number, int length) {
            auto out = spec;
            out.inner = v6("2001:db8:100::" + std::to_string(number));
            out.inner_prefix = Ipv6Prefix::parse("2001:db8:2" + std::to_string(number) +
                                                 "::/" + std::to_string(length))
                                   .value();
            return out;
        };
        for (int i = 0; i < DSTM_PREFIX_LENGTHS_MAX; ++i) {
            ASSERT_TRUE(plane.add(tunnel(10 + i, 48 + i))) << i;
        }
        ASSERT_TRUE(plane.add(tunnel(30, 48)));
        const auto before = plane.list().size();
        EXPECT_EQ(plane.add(tunnel(40, 47)).error().code, ErrorCode::exhausted);
        EXPECT_EQ(plane.list().size(), before);
        auto renewed = tunnel(30, 47);
        renewed.generation = 2;
        EXPECT_EQ(plane.add(renewed).error().code, ErrorCode::exhausted);
        const auto tunnels = plane.list();
        EXPECT_EQ(tunnels.size(), before);
        for (const auto& there : tunnels) EXPECT_EQ(there.spec.generation, 1u);
    });
}

}  // namespace
}  // namespace dstm::dataplane::testing
