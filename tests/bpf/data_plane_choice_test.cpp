// Which data plane "auto" takes, and what it says when the kernel does not let it have the fastest;
// which program stands on which interface by the keys "shortcut" and "interfaces".
#include <algorithm>
#include <map>

#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>
#include <sys/syscall.h>

#include "tep/config.hpp"
#include "tep/data_plane_choice.hpp"
#include "tests/unit/dataplane/traffic.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// With CAP_BPF alone the verifier reads programs as an unprivileged user's and finds faults.
void drop_capability_to_trace() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    if (::syscall(SYS_capget, &header, sets) != 0) std::abort();
    for (const unsigned gone : {CAP_PERFMON, CAP_SYS_ADMIN}) {
        sets[gone / 32].effective &= ~(1U << gone % 32);
    }
    if (::syscall(SYS_capset, &header, sets) != 0) std::abort();
}

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
        out.shortcut = shortcut;
        out.interfaces = interfaces;
        return out;
    }

    // "name: why" or "none: error", of a plane that a process with fewer rights makes.
    [[nodiscard]] std::string choice_without_right_to_trace() const {
        int ends[2] = {-1, -1};
        if (::pipe(ends) != 0) std::abort();
        const pid_t child = ::fork();
        if (child == 0) {
            endpoint->in([&] {
                drop_capability_to_trace();
                const auto made = tep::make_data_plane(config(), clock);
                const auto said = made ? std::string(made->plane->name()) + ": " + made->why
                                       : "none: " + to_string(made.error());
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

    [[nodiscard]] std::string programs_on(const std::string& interface) const {
        return endpoint->exec("tc filter show dev " + interface + " ingress");
    }

    std::string wanted = "auto";
    std::size_t shortcut = 0;
    std::vector<tep::InterfaceConfig> interfaces;
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
    const auto said = choice_without_right_to_trace();
    EXPECT_THAT(said, StartsWith("tun: auto; not bpf: the kernel refused a BPF program: "));
    EXPECT_THAT(said, HasSubstr("libbpf: prog 'dstm_"));
    EXPECT_THAT(said, HasSubstr("; not kernel: "));
    EXPECT_THAT(said, ::testing::Not(HasSubstr("\n"))) << "one line";
}

TEST_F(DataPlaneChoiceCampus, WhoAsksForBpfGetsNoOther) {
    wanted = "bpf";
    EXPECT_THAT(choice_without_right_to_trace(),
                StartsWith("none: refused: the kernel refused a BPF program: "));
    EXPECT_THAT(endpoint->show("link show"), ::testing::Not(HasSubstr("dstm0")));
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
