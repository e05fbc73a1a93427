// Which data plane "auto" takes, and what it says when the kernel does not let it have the fastest;
// which program stands on which interface by the keys "shortcut" and "interfaces".
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <map>

#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tep/config.hpp"
#include "tep/control.hpp"
#include "tep/data_plane_choice.hpp"
#include "tests/unit/dataplane/traffic.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

void drop_capabilities(std::initializer_list<unsigned> dropped) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    if (::syscall(SYS_capget, &header, sets) != 0) std::abort();
    for (const unsigned gone : dropped) sets[gone / 32].effective &= ~(1U << gone % 32);
    if (::syscall(SYS_capset, &header, sets) != 0) std::abort();
}

// With CAP_BPF alone the verifier reads programs as an unprivileged user's and finds faults.
void drop_capability_to_trace() { drop_capabilities({CAP_PERFMON, CAP_SYS_ADMIN}); }

bool has_clsact = true;

class DataPlaneChoiceCampus : public TunCampus {
protected:
    void TearDown() override {
        if (!endpoint) return;
        EXPECT_TRUE(endpoint->in([&] { return tep::detach_data_plane(config()); }));
    }

    [[nodiscard]] tep::Config config() const {
        const auto tun = endpoint_config();
        tep::Config out;
        out.data_plane = wanted;
        out.device = tun.device;
        out.outer_ipv6 = tun.outer;
        out.inner_ipv4 = tun.inner.value();
        out.pools = tun.pools;
        out.outside_pools = outside_pools;
        out.shortcut = shortcut;
        out.interfaces = interfaces;
        return out;
    }

    // What a process with fewer rights says at the endpoint.
    [[nodiscard]] std::string said_after(const std::function<void()>& change,
                                         const std::function<std::string()>& say) const {
        int ends[2] = {-1, -1};
        if (::pipe(ends) != 0) std::abort();
        const pid_t child = ::fork();
        if (child == 0) {
            endpoint->in([&] {
                change();
                const auto said = say();
                if (::write(ends[1], said.data(), said.size()) < 0) ::_exit(1);
            });
            ::_exit(0);
        }
        ::close(ends[1]);
        std::string said(4096, '\0');
        const auto size = ::read(ends[0], said.data(), said.size());
        ::close(ends[0]);
        ::waitpid(child, nullptr, 0);
        said.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
        return said;
    }

    // "name: why" or "none: error", of a plane that is made then.
    [[nodiscard]] std::string choice_after(const std::function<void()>& change) const {
        return said_after(change, [&] {
            const auto made = tep::make_data_plane(config(), clock);
            return made ? std::string(made->plane->name()) + ": " + made->why
                        : "none: " + to_string(made.error());
        });
    }

    [[nodiscard]] std::string programs_on(const std::string& interface) const {
        return endpoint->exec("tc filter show dev " + interface + " ingress");
    }

    std::string wanted = "auto";
    std::size_t shortcut = 0;
    std::vector<tep::InterfaceConfig> interfaces;
    bool outside_pools = false;
};

TEST_F(DataPlaneChoiceCampus, AutoTakesTheFastest) {
    endpoint->in([&] {
        const auto made = tep::make_data_plane(config(), clock);
        ASSERT_TRUE(made) << to_string(made.error());
        EXPECT_EQ(made->plane->name(), "bpf");
        EXPECT_EQ(made->why, "auto");
    });
}

TEST_F(DataPlaneChoiceCampus, AutoFallsBackAndGivesTheReasonOfTheVerifier) {
    const auto said = choice_after(drop_capability_to_trace);
    EXPECT_THAT(said, StartsWith("tun: auto; not bpf: the kernel refused a BPF program: "));
    EXPECT_THAT(said, HasSubstr("libbpf: prog 'dstm_"));
    EXPECT_THAT(said, HasSubstr("; not kernel: "));
    EXPECT_THAT(said, ::testing::Not(HasSubstr("\n"))) << "one line";
}

TEST_F(DataPlaneChoiceCampus, AddressesOutsideThePoolsAreCarriedByEachPlaneOnlyIfAsked) {
    const auto spec = make_spec("198.51.100.9", "2001:db8:1::5");
    const auto routes = [&] { return endpoint->exec("ip route show 198.51.100.9"); };
    for (const std::string plane : {"bpf", "tun"}) {
        wanted = plane;
        for (const bool asked : {false, true}) {
            outside_pools = asked;
            endpoint->in([&] {
                const auto made = tep::make_data_plane(config(), clock);
                ASSERT_TRUE(made) << to_string(made.error());
                tep::TunnelTable table(tep::policy_of(config()), *made->plane, clock.wall());
                EXPECT_EQ(table.install(spec, clock.wall()).has_value(), asked) << plane;
                EXPECT_EQ(!routes().empty(), asked) << plane;
                EXPECT_TRUE(table.remove(spec.inner, 1));
                EXPECT_EQ(routes(), "") << plane;
            });
        }
    }
}

TEST_F(DataPlaneChoiceCampus, WhoAsksForBpfGetsNoOther) {
    wanted = "bpf";
    EXPECT_THAT(choice_after(drop_capability_to_trace),
                StartsWith("none: refused: the kernel refused a BPF program: "));
    EXPECT_THAT(endpoint->show("link show"), ::testing::Not(HasSubstr("dstm0")));
}

// No reason to stop. Where the host's kernel has it, the answer of rtnetlink is made up; with
// DSTM_WITHOUT_CLSACT the host's has not.
TEST_F(DataPlaneChoiceCampus, KernelWithoutClsactIsAReasonForTheNextPlane) {
    const auto without = [] { has_clsact = std::getenv("DSTM_WITHOUT_CLSACT") != nullptr; };
    EXPECT_THAT(choice_after(without),
                StartsWith("tun: auto; not bpf: making clsact on dstm0: No such file or directory "
                           "(needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF in the kernel); "
                           "not kernel: "));
    wanted = "bpf";
    EXPECT_THAT(choice_after(without), StartsWith("none: unavailable: making clsact on dstm0: "));
    EXPECT_EQ(endpoint->exec("ls /sys/class/net").find("dstm0"), std::string::npos);
}

// Each plane is made with fewer and fewer rights, and probed with the same.
TEST_F(DataPlaneChoiceCampus, ProbeSaysWhatMakingThePlaneDoes) {
    const std::function<void()> changes[] = {
        [] {},
        [] { drop_capabilities({CAP_NET_ADMIN}); },
        [] { drop_capabilities({CAP_NET_RAW}); },
        [] { drop_capabilities({CAP_BPF, CAP_SYS_ADMIN}); },
        drop_capability_to_trace,
        [] { drop_capabilities({CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN}); },
        [] { has_clsact = false; },
    };
    std::map<std::string, int> planes;
    for (const auto& change : changes) {
        const auto probed = said_after(change, [] {
            std::string can;
            for (const auto& [name, outcome] : tep::probe_data_planes()) {
                if (outcome) can += name + " ";
            }
            return can;
        });
        for (const std::string plane : {"bpf", "kernel", "tun"}) {
            wanted = plane;
            const bool is_made = choice_after(change).starts_with(plane);
            EXPECT_EQ(probed.find(plane) != std::string::npos, is_made)
                << plane << " after change " << &change - changes;
            planes[plane] += is_made;
            EXPECT_TRUE(endpoint->in([&] { return tep::detach_data_plane(config()); }));
        }
        EXPECT_THAT(endpoint->show("link show"), ::testing::Not(HasSubstr("tun")))
            << "a probe leaves nothing";
    }
    EXPECT_EQ(planes["bpf"], 1);
    EXPECT_EQ(planes["tun"], 4);
}

TEST_F(DataPlaneChoiceCampus, ProbeNamesWhoIsInTheWayOfAShortcut) {
    const auto bpf = [&] {
        return endpoint->in([] { return tep::probe_data_planes().at(0).outcome.value(); });
    };
    EXPECT_THAT(bpf(), StartsWith("by tc: packets go straight from interface to interface; "));
    EXPECT_THAT(bpf(), AnyOf(HasSubstr("; by XDP, if asked for: eth0 s0; "),
                             HasSubstr("; by XDP, if asked for: wherever the driver has it, which "
                                       "this kernel does not tell; ")));
    EXPECT_EQ(endpoint->exec("nft 'add table ip6 t;"
                             " add chain ip6 t c { type filter hook forward priority 0; }'"),
              "");
    EXPECT_THAT(bpf(), StartsWith("by tc: IPv4 packets go straight from interface to interface; "
                                  "IPv6 packets go through the kernel's routing, to the chain c of "
                                  "nftables' table t; "));
}

TEST_F(DataPlaneChoiceCampus, ShortcutOfAnInterfaceIsStrongerThanThatOfAll) {
    const auto index_of = [](const std::string& name) {
        const auto& names = tep::shortcut_names;
        return static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
    };
    wanted = "bpf";
    endpoint->ip("link add other type veth peer name unused");
    endpoint->ip("link set other up");
    interfaces = {{"eth0", index_of("none")}, {"s0", index_of("auto")}};
    // The kernel keeps fifteen letters of a program's name.
    for (const auto& [of_all, program] : std::map<std::string, std::string>{
             {"tc", "dstm_up_straigh:["}, {"none", "dstm_up_routed:["}, {"auto", "dstm_up:["}}) {
        shortcut = index_of(of_all);
        endpoint->in([&] {
            const auto made = tep::make_data_plane(config(), clock);
            ASSERT_TRUE(made) << to_string(made.error());
        });
        EXPECT_THAT(programs_on("eth0"), HasSubstr("dstm_up_routed")) << of_all;
        EXPECT_THAT(programs_on("s0"), HasSubstr(program)) << of_all;
        EXPECT_EQ(programs_on("other"), "") << "not in the list";
    }
}

// The firewall that drops what it sees tells whether packets pass by it.
TEST_F(DataPlaneChoiceCampus, AutoGoesPastTheKernelsRoutingOnlyWhileNoFirewallLooks) {
    wanted = "bpf";
    const auto forwarded = [&] {
        return endpoint->exec("awk '/^Ip: [0-9]/ { print $7 }' /proc/net/snmp");
    };
    const auto is_carried = [&] { return answers(ping(*first, "203.0.113.80")); };
    const auto is_straight = [&] {
        const auto before = forwarded();
        return is_carried() && forwarded() == before;
    };
    std::unique_ptr<DataPlane> plane;
    endpoint->in([&] {
        auto made = tep::make_data_plane(config(), clock);
        ASSERT_TRUE(made) << to_string(made.error());
        plane = std::move(made->plane);
        ASSERT_TRUE(plane->add(first_spec));
    });
    client = bring_up_client(*first, first_spec, client_config());
    EXPECT_TRUE(wait_until(is_straight));
    const auto nft = [&](const std::string& what) {
        EXPECT_EQ(endpoint->exec("nft '" + what + "'"), "");
    };
    nft("add table ip t; add chain ip t c { type filter hook forward priority 0; policy drop; }");
    EXPECT_TRUE(wait_until([&] { return !is_carried(); }));
    nft("delete table ip t");
    EXPECT_TRUE(wait_until(is_straight));
    nft("add table ip t; add chain ip t c { type filter hook prerouting priority 0; }");
    EXPECT_TRUE(wait_until([&] { return is_carried() && !is_straight(); }));
    endpoint->in([&] { plane.reset(); });
}

}  // namespace
}  // namespace dstm::dataplane::testing

// In place of libbpf's, for a kernel that has none.
extern "C" int bpf_tc_hook_create(bpf_tc_hook* hook) {
    if (!dstm::dataplane::testing::has_clsact) return -ENOENT;
    static const auto of_libbpf =
        reinterpret_cast<decltype(&bpf_tc_hook_create)>(::dlsym(RTLD_NEXT, "bpf_tc_hook_create"));
    return of_libbpf(hook);
}
