// Routes of ours beside others', in a network namespace.
#include "client/host/kept_routes.hpp"

#include <gtest/gtest.h>

#include "network_namespace.hpp"

namespace dstm::client {
namespace {

class ClientKeptRoutes : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
        if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
    }
    static dataplane::Route route(const char* destination, int interface, std::uint32_t metric) {
        dataplane::Route out;
        if (const auto v6 = Ipv6Prefix::parse(destination)) {
            out.destination = *v6;
        } else {
            out.destination = *Ipv4Prefix::parse(destination);
        }
        out.interface_index = interface;
        out.metric = metric;
        return out;
    }
};

TEST_F(ClientKeptRoutes, WhatIsRemovedIsSetAgainAndNothingIsDoneWithoutNeed) {
    in_namespace([] {
        const TunInterface ours("dstmt0");
        auto netlink = std::move(*dataplane::Netlink::open());
        for (const auto& both : {std::pair{"0.0.0.0/0", "198.51.100.0/24"},
                                 std::pair{"::/0", "2001:db8::/32"}}) {
            const auto first = route(both.first, ours.index(), 4096);
            const auto second = route(both.second, ours.index(), 4096);
            const auto table = [&] {
                return first.destination.index() == 0 ? *netlink.routes_v4() : *netlink.routes_v6();
            };
            KeptRoutes kept(netlink);
            EXPECT_FALSE(kept.restore()) << "nothing is kept";
            ASSERT_TRUE(kept.set({first, second}));
            EXPECT_FALSE(kept.restore());
            ASSERT_TRUE(netlink.remove_route(first));
            EXPECT_TRUE(kept.restore());
            EXPECT_FALSE(kept.restore());
            EXPECT_TRUE(holds(table(), first) && holds(table(), second));
            ASSERT_TRUE(kept.clear());
            EXPECT_FALSE(holds(table(), first) || holds(table(), second));
            EXPECT_FALSE(kept.restore());
        }
    });
}

TEST_F(ClientKeptRoutes, PlaceOfAnotherIsLeftToItUntilItGoes) {
    in_namespace([] {
        const TunInterface ours("dstmt0");
        const TunInterface other("wan0");
        auto netlink = std::move(*dataplane::Netlink::open());
        const auto wanted = route("0.0.0.0/0", ours.index(), 4096);
        const auto taken = route("0.0.0.0/0", other.index(), 4096);
        ASSERT_TRUE(netlink.add_route(taken));
        KeptRoutes kept(netlink);
        ASSERT_TRUE(kept.set({wanted}));
        EXPECT_FALSE(kept.restore());
        EXPECT_TRUE(holds(*netlink.routes_v4(), taken));
        ASSERT_TRUE(netlink.remove_route(taken));
        EXPECT_TRUE(kept.restore());
        EXPECT_TRUE(holds(*netlink.routes_v4(), wanted));
        ASSERT_TRUE(netlink.replace_route(taken));
        ASSERT_TRUE(kept.clear());
        EXPECT_TRUE(holds(*netlink.routes_v4(), taken)) << "clear() takes nobody else's";
    });
}

TEST_F(ClientKeptRoutes, RouteThatCannotBeIsAnErrorAndLeavesNothingAfterClear) {
    in_namespace([] {
        const TunInterface ours("dstmt0");
        auto netlink = std::move(*dataplane::Netlink::open());
        KeptRoutes kept(netlink);
        EXPECT_FALSE(kept.set({route("0.0.0.0/0", ours.index(), 1), route("10.0.0.0/8", 999, 1)}));
        ASSERT_TRUE(kept.clear());
        EXPECT_TRUE(netlink.routes_v4()->empty());
    });
}

}  // namespace
}  // namespace dstm::client
