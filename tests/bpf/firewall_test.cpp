// Who is found to look at forwarded packets: real nftables and iptables in a namespace.
#include <functional>

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tep/bpf/firewall.hpp"
#include "tests/unit/dataplane/traffic.hpp"

namespace dstm::dataplane::testing {
namespace {

using tep::bpf::forward_hook;
using tep::bpf::ForwardAnswer;
using tep::bpf::ForwardFamily;
using tep::bpf::ForwardHook;
using ::testing::HasSubstr;

struct Row {
    std::string chain;  // of table t
    bool ipv4;
    bool ipv6;
};

void keep_only_capabilities(std::uint32_t kept) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    sets[0].effective = sets[0].permitted = kept;
    if (::syscall(SYS_capset, &header, sets) != 0) std::abort();
}

// linux/netfilter_ipv4/ip_tables.h and its twin of IPv6 go together with no header of libc.
struct TableInfo {
    char name[32];
    std::uint32_t hooks_and_sizes[13];
};
constexpr int get_table_info = 64;  // IPT_SO_GET_INFO

// Loads the table, as each iptables command does.
bool use_iptables(int protocol, const std::string& table) {
    const Descriptor socket(::socket(protocol == IPPROTO_IP ? AF_INET : AF_INET6,
                                     SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    TableInfo info{};
    table.copy(info.name, sizeof info.name - 1);
    socklen_t size = sizeof info;
    return ::getsockopt(socket.number(), protocol, get_table_info, &info, &size) == 0;
}

class Firewall : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto why = why_no_namespaces(); !why.empty()) GTEST_SKIP() << why;
        if (!run("nft --version")) GTEST_SKIP() << "needs the nft command";
        host = std::make_unique<Namespace>("f");
    }
    void nft(const std::string& command) const {
        EXPECT_EQ(host->exec("nft '" + command + "'"), "");
    }
    [[nodiscard]] ForwardAnswer asked(ForwardFamily family) const {
        return host->in([&] { return forward_hook(family); });
    }
    // Of IPv4, by a process that is changed before.
    [[nodiscard]] std::string asked_after(const std::function<void()>& change) const {
        int ends[2] = {-1, -1};
        if (::pipe(ends) != 0) std::abort();
        const pid_t child = ::fork();
        if (child == 0) {
            host->in([&] {
                change();
                const auto said = way_on(forward_hook(ForwardFamily::ipv4));
                if (::write(ends[1], said.data(), said.size()) < 0) ::_exit(1);
                ::_exit(0);
            });
        }
        ::close(ends[1]);
        std::string said(4096, '\0');
        const auto size = ::read(ends[0], said.data(), said.size());
        ::close(ends[0]);
        ::waitpid(child, nullptr, 0);
        said.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
        return said;
    }

    std::unique_ptr<Namespace> host;
};

TEST_F(Firewall, IsNotThereOnAHostWithoutRules) {
    for (const auto family : {ForwardFamily::ipv4, ForwardFamily::ipv6}) {
        const auto answer = asked(family);
        EXPECT_EQ(answer.hook, ForwardHook::empty) << answer.why;
        EXPECT_EQ(way_on(answer), "straight from interface to interface");
    }
}

TEST_F(Firewall, IsAChainOfNftablesThatForwardedPacketsPass) {
    const Row rows[] = {
        {"ip t c { type filter hook forward priority 0; }", true, false},
        {"ip t c { type filter hook prerouting priority -300; }", true, false},
        {"ip t c { type nat hook postrouting priority 100; }", true, false},
        {"ip6 t c { type filter hook forward priority 0; }", false, true},
        {"ip6 t c { type filter hook prerouting priority 0; }", false, true},
        {"inet t c { type filter hook forward priority 0; }", true, true},
        {"inet t c { type filter hook postrouting priority 0; }", true, true},
        {"netdev t c { type filter hook ingress device lo priority 0; }", true, true},
        {"inet t c { type filter hook ingress device lo priority 0; }", true, true},
        {"inet t c { type filter hook input priority 0; }", false, false},
        {"ip t c { type filter hook output priority 0; }", false, false},
        {"netdev t c { type filter hook egress device lo priority 0; }", false, false},
        {"arp t c { type filter hook input priority 0; }", false, false},
        {"bridge t c { type filter hook forward priority 0; }", false, false},
        {"inet t c", false, false},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.chain);
        const auto family = row.chain.substr(0, row.chain.find(' '));
        nft("add table " + family + " t");
        nft("add chain " + row.chain);
        for (const auto asked_for : {ForwardFamily::ipv4, ForwardFamily::ipv6}) {
            const bool is_looked_at = asked_for == ForwardFamily::ipv4 ? row.ipv4 : row.ipv6;
            const auto answer = asked(asked_for);
            EXPECT_EQ(answer.hook, is_looked_at ? ForwardHook::taken : ForwardHook::empty);
            if (is_looked_at) {
                EXPECT_EQ(way_on(answer), "through the kernel's routing, to the chain c of "
                                          "nftables' table t");
            }
        }
        nft("delete table " + family + " t");
        EXPECT_EQ(asked(ForwardFamily::ipv4).hook, ForwardHook::empty) << "it is gone again";
        EXPECT_EQ(asked(ForwardFamily::ipv6).hook, ForwardHook::empty) << "it is gone again";
    }
}

TEST_F(Firewall, IsFoundBehindAThousandChainsThatDoNotLook) {
    std::string chains;
    for (int i = 0; i < 1000; ++i) {
        chains += "add chain inet t a_chain_with_a_long_name_" + std::to_string(i) + "; ";
    }
    nft("add table inet t; " + chains);
    EXPECT_EQ(asked(ForwardFamily::ipv4).hook, ForwardHook::empty);
    nft("add chain inet t z { type filter hook forward priority 0; }");
    EXPECT_THAT(asked(ForwardFamily::ipv4).why, HasSubstr("the chain z of"));
}

// A rule about the connections of the host itself; the kernel tracks all packets for it.
TEST_F(Firewall, IsConntrack) {
    nft("add table inet t; add chain inet t c { type filter hook input priority 0; };"
        " add rule inet t c ct state established accept");
    EXPECT_TRUE(answers(ping(*host, "127.0.0.1")));
    for (const auto family : {ForwardFamily::ipv4, ForwardFamily::ipv6}) {
        const auto answer = asked(family);
        EXPECT_EQ(answer.hook, ForwardHook::taken);
        EXPECT_THAT(answer.why, HasSubstr("conntrack"));
    }
}

TEST_F(Firewall, IsATableOfIptablesOfItsFamily) {
    if (!host->in([] { return use_iptables(IPPROTO_IP, "filter"); })) {
        GTEST_SKIP() << "this kernel has no iptables of its own";
    }
    EXPECT_EQ(asked(ForwardFamily::ipv4).hook, ForwardHook::taken);
    EXPECT_THAT(asked(ForwardFamily::ipv4).why, HasSubstr("iptables"));
    EXPECT_EQ(asked(ForwardFamily::ipv6).hook, ForwardHook::empty);
    Namespace other("g");
    ASSERT_TRUE(other.in([] { return use_iptables(IPPROTO_IPV6, "filter"); }));
    const auto answer = other.in([] { return forward_hook(ForwardFamily::ipv6); });
    EXPECT_EQ(answer.hook, ForwardHook::taken);
    EXPECT_EQ(other.in([] { return forward_hook(ForwardFamily::ipv4); }).hook, ForwardHook::empty);
}

TEST_F(Firewall, IsNotKnownWithoutTheRightToAsk) {
    EXPECT_EQ(asked_after([] { keep_only_capabilities(0); }),
              "through the kernel's routing: who looks at them there is not known: "
              "listing the chains of nftables: Operation not permitted");
}

TEST_F(Firewall, IsNotKnownWhereTheTablesOfIptablesCannotBeRead) {
    if (!run("test -e /proc/net/ip_tables_names")) {
        GTEST_SKIP() << "this kernel has no iptables of its own";
    }
    const auto said = asked_after([] {
        ::prctl(PR_SET_KEEPCAPS, 1);
        if (::setgroups(0, nullptr) != 0 || ::setresgid(65534, 65534, 65534) != 0 ||
            ::setresuid(65534, 65534, 65534) != 0) {
            std::abort();
        }
        keep_only_capabilities(1U << CAP_NET_ADMIN);
    });
    EXPECT_EQ(said,
              "through the kernel's routing: who looks at them there is not known: "
              "/proc/thread-self/net/ip_tables_names: Permission denied");
}

// As in a container that has none: no answer is not "nobody".
TEST_F(Firewall, IsNotKnownWithoutProc) {
    const auto said = asked_after([] {
        if (::unshare(CLONE_NEWNS) != 0) std::abort();
        if (!run("mount --make-rprivate / && mount -t tmpfs none /proc")) std::abort();
    });
    EXPECT_THAT(said, HasSubstr("is not known: /proc/thread-self/net/ip_tables_names: No such"));
}

}  // namespace
}  // namespace dstm::dataplane::testing
