// A delegated prefix behind this host: put to use, replaced, and undone, also after a kill. Needs
// root for a network namespace, but for the bounds of a script.
#include <algorithm>
#include <chrono>
#include <fstream>

#include <sys/stat.h>

#include "client/host/tunnel_host.hpp"
#include "common/dataplane/host_changes.hpp"
#include "network_namespace.hpp"
#include "temporary_directory.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

const Ipv6Address inner = *Ipv6Address::parse("2001:db8:100::7");
const Ipv6Prefix first = *Ipv6Prefix::parse("2001:db8:200:100::/56");
const Ipv6Prefix second = *Ipv6Prefix::parse("2001:db8:200:200::/56");
constexpr const char* device = "dstmtest1";

// --- scripts -------------------------------------------------------------------------------------

TEST(ClientScript, ItsStatusIsReadAndItsTimeIsBounded) {
    EXPECT_TRUE(run_program("/bin/true", {}, 10s));
    const auto failed = run_program("/bin/sh", {"-c", "exit 3"}, 10s);
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().context.find("status 3"), std::string::npos);
    EXPECT_EQ(run_program("/nonexistent/x", {}, 10s).error().code, ErrorCode::not_found);
    const auto begin = std::chrono::steady_clock::now();
    const auto slow = run_program("/bin/sh", {"-c", "sleep 600 & wait"}, 100ms);
    ASSERT_FALSE(slow);
    EXPECT_EQ(slow.error().code, ErrorCode::timed_out);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s);
}

// Nothing of an argument is taken for more than an argument.
TEST(ClientScript, ArgumentsPassNoShell) {
    TemporaryDirectory directory;
    const auto file = directory.path() + "/said";
    ASSERT_TRUE(run_program("/bin/sh", {"-c", "printf %s \"$1\" > " + file, "x", "$(id); `id`"},
                            10s));
    std::ifstream in(file);
    EXPECT_EQ((std::string{std::istreambuf_iterator<char>(in), {}}), "$(id); `id`");
}

// --- the prefix ----------------------------------------------------------------------------------

class QuietPlane final : public dataplane::DataPlane {
public:
    QuietPlane() : interface_(device) {
        EXPECT_TRUE(dataplane::Netlink::open()->add_address(interface_.index(), inner, 128));
    }
    [[nodiscard]] std::string_view name() const override { return "quiet"; }
    [[nodiscard]] Result<void> add(const TunnelSpec&) override { return {}; }
    [[nodiscard]] Result<void> remove(const IpAddress&, Generation) override { return {}; }
    [[nodiscard]] std::vector<dataplane::InstalledTunnel> list() const override { return {}; }
    [[nodiscard]] dataplane::DropCounters drops() const override { return {}; }

private:
    TunInterface interface_;
};

class ClientInside : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
        if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
        std::ofstream(script()) << "#!/bin/sh\necho \"$@\" >> " << said() << '\n';
        chmod(script().c_str(), 0755);
    }
    [[nodiscard]] std::string script() const { return directory_.path() + "/script"; }
    [[nodiscard]] std::string said() const { return directory_.path() + "/said"; }
    [[nodiscard]] std::string all_said() const {
        std::ifstream in(said());
        return {std::istreambuf_iterator<char>(in), {}};
    }

    [[nodiscard]] TunnelHost make_host(StateDirectory& state) const {
        const InsideConfig inside{"lan0", script()};
        return TunnelHost({device, {*Ipv6Prefix::parse("::/0")}, 2048, inside}, state,
                          std::move(*dataplane::Netlink::open()),
                          []() -> Result<std::unique_ptr<dataplane::DataPlane>> {
                              return std::make_unique<QuietPlane>();
                          });
    }
    static TunnelSpec spec(std::optional<Ipv6Prefix> prefix) {
        TunnelSpec spec;
        spec.type = TunnelType::v6v4;
        spec.inner = inner;
        spec.inner_prefix = prefix;
        spec.generation = 1;
        return spec;
    }
    static bool is_in_use(const Ipv6Prefix& prefix, int inside) {
        auto netlink = dataplane::Netlink::open();
        auto host = prefix.address.bytes();
        host.back() = 1;
        const auto holder = netlink->interface_of_address(Ipv6Address(host));
        const auto routes = netlink->routes_v6();
        const bool has_end = std::any_of(routes->begin(), routes->end(), [&](const auto& route) {
            return route.destination == dataplane::IpPrefix(prefix) &&
                   route.kind == dataplane::Route::Kind::unreachable;
        });
        EXPECT_EQ(holder && *holder == inside, has_end);
        return has_end;
    }
    static bool has_default_route() {
        const auto routes = dataplane::Netlink::open()->routes_v6();
        return std::any_of(routes->begin(), routes->end(), [](const auto& route) {
            return route.destination == dataplane::IpPrefix(Ipv6Prefix{}) && route.metric == 2048;
        });
    }
    static std::string setting(const std::string& interface, const char* name) {
        return dataplane::read_sysctl("net/ipv6/conf/" + interface + '/' + name);
    }

    TemporaryDirectory directory_;
};

TEST_F(ClientInside, WhatOthersTakeAwayIsSetAgainAndTheScriptNotToldTwice) {
    in_namespace([this] {
        std::optional<TunInterface> lan;
        auto state = StateDirectory::open(directory_.path());
        auto host = make_host(*state);
        ASSERT_TRUE(host.install(spec(first)));
        ASSERT_TRUE(host.set_routes());
        EXPECT_FALSE(host.restore()) << "without its interface there is nothing to do";
        lan.emplace("lan0");
        EXPECT_TRUE(host.restore()) << "it has appeared";
        EXPECT_TRUE(is_in_use(first, lan->index()));
        EXPECT_FALSE(host.restore());
        auto netlink = dataplane::Netlink::open();
        auto address = first.address.bytes();
        address.back() = 1;
        ASSERT_TRUE(netlink->remove_address(lan->index(), Ipv6Address(address), 64));
        for (const auto& route : *netlink->routes_v6()) {
            if (route.kind == dataplane::Route::Kind::unreachable) {
                ASSERT_TRUE(netlink->remove_route(route));
            }
        }
        EXPECT_FALSE(is_in_use(first, lan->index()));
        EXPECT_TRUE(host.restore());
        EXPECT_TRUE(is_in_use(first, lan->index()));
        EXPECT_TRUE(has_default_route());
        EXPECT_FALSE(host.restore());
        ASSERT_TRUE(host.clear_routes());
        ASSERT_TRUE(host.remove(inner));
    });
    const auto said = all_said();
    EXPECT_EQ(said.find("up "), said.rfind("up ")) << said;
}

TEST_F(ClientInside, PrefixIsPutToUseAndUndone) {
    in_namespace([this] {
        const TunInterface lan("lan0");
        auto state = StateDirectory::open(directory_.path());
        {
            auto host = make_host(*state);
            ASSERT_TRUE(host.install(spec(first)));
            EXPECT_EQ(state->recorded()->inside->prefix, first) << "before the host is changed";
            EXPECT_FALSE(is_in_use(first, lan.index()));
            ASSERT_TRUE(host.set_routes());
            EXPECT_TRUE(is_in_use(first, lan.index()));
            EXPECT_TRUE(has_default_route());
            EXPECT_EQ(setting("all", "forwarding"), "1");
            EXPECT_EQ(setting("lan0", "forwarding"), "1");
            ASSERT_TRUE(host.install(spec(first))) << "a renewal";
            ASSERT_TRUE(host.set_routes());
            ASSERT_TRUE(host.clear_routes());
            ASSERT_TRUE(host.remove(inner));
            EXPECT_FALSE(is_in_use(first, lan.index()));
            EXPECT_EQ(setting("all", "forwarding"), "0");
            EXPECT_EQ(setting("lan0", "forwarding"), "0");
            EXPECT_FALSE(state->recorded());
        }
        EXPECT_EQ(all_said(), "up 2001:db8:200:100::/56 lan0 dstmtest1\n"
                              "down 2001:db8:200:100::/56 lan0\n");
    });
}

TEST_F(ClientInside, ChangedPrefixReplacesTheOldOne) {
    in_namespace([this] {
        const TunInterface lan("lan0");
        auto state = StateDirectory::open(directory_.path());
        auto host = make_host(*state);
        for (const auto& prefix : {first, second}) {
            ASSERT_TRUE(host.install(spec(prefix)));
            ASSERT_TRUE(host.set_routes());
        }
        EXPECT_FALSE(is_in_use(first, lan.index()));
        EXPECT_TRUE(is_in_use(second, lan.index()));
        ASSERT_TRUE(host.install(spec(std::nullopt)));
        ASSERT_TRUE(host.set_routes());
        EXPECT_FALSE(is_in_use(second, lan.index()));
        EXPECT_EQ(setting("all", "forwarding"), "0");
    });
}

// A host that forwards takes no more router advertisements by itself: its own way out must stay.
TEST_F(ClientInside, OtherInterfacesStillListenToTheirRouters) {
    in_namespace([this] {
        const TunInterface lan("lan0");
        const TunInterface wan("wan0");
        ASSERT_TRUE(dataplane::write_sysctl("net/ipv6/conf/wan0/accept_ra", "1"));
        auto state = StateDirectory::open(directory_.path());
        auto host = make_host(*state);
        ASSERT_TRUE(host.install(spec(first)));
        ASSERT_TRUE(host.set_routes());
        EXPECT_EQ(setting("wan0", "accept_ra"), "2");
        ASSERT_TRUE(host.remove(inner));
        EXPECT_EQ(setting("wan0", "accept_ra"), "1");
        EXPECT_EQ(setting("wan0", "forwarding"), "0");
    });
}

TEST_F(ClientInside, ForwardingThatWasOnStaysOn) {
    in_namespace([this] {
        const TunInterface lan("lan0");
        ASSERT_TRUE(dataplane::write_sysctl("net/ipv6/conf/all/forwarding", "1"));
        auto state = StateDirectory::open(directory_.path());
        auto host = make_host(*state);
        ASSERT_TRUE(host.install(spec(first)));
        ASSERT_TRUE(host.set_routes());
        ASSERT_TRUE(host.remove(inner));
        EXPECT_EQ(setting("all", "forwarding"), "1");
        EXPECT_EQ(setting("lan0", "forwarding"), "1");
    });
}

TEST_F(ClientInside, NextStartUndoesWhatAKilledClientLeft) {
    in_namespace([this] {
        const TunInterface lan("lan0");
        auto state = StateDirectory::open(directory_.path());
        {
            auto netlink = std::move(*dataplane::Netlink::open());
            InsideNetwork killed(netlink, InsideConfig{"lan0", script()});
            const auto plan = killed.plan(first, device);
            ASSERT_TRUE(plan);
            ASSERT_TRUE(state->record({device, inner, {}, 2048, plan}));
            ASSERT_TRUE(killed.apply(*plan, device));
        }
        ASSERT_TRUE(is_in_use(first, lan.index()));
        {
            auto next = make_host(*state);
            next.recover();
        }
        EXPECT_FALSE(is_in_use(first, lan.index()));
        EXPECT_EQ(setting("all", "forwarding"), "0");
        EXPECT_FALSE(state->recorded());
        EXPECT_NE(all_said().find("down 2001:db8:200:100::/56 lan0\n"), std::string::npos);
    });
}

// The tunnel of the host itself works without its inside.
TEST_F(ClientInside, MissingInsideInterfaceCostsThePrefixOnly) {
    in_namespace([this] {
        auto state = StateDirectory::open(directory_.path());
        auto host = make_host(*state);
        ASSERT_TRUE(host.install(spec(first)));
        EXPECT_TRUE(host.set_routes());
        EXPECT_TRUE(has_default_route());
        EXPECT_TRUE(host.remove(inner));
    });
}

}  // namespace
}  // namespace dstm::client
