// What the tun data plane puts back after its device was down; here the device is one end of a
// veth.
#include "common/dataplane/tun_host.hpp"

#include <gmock/gmock.h>

#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TunHostRestore : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto why = why_no_namespaces(); !why.empty()) GTEST_SKIP() << why;
        host = std::make_unique<Namespace>("h");
        host->ip_batch({"link add name d0 type veth peer name p0", "link set p0 up"});
        host->in([&] {
            device.emplace(TunHost::open("d0").value());
            ASSERT_TRUE(device->set_up());
            ASSERT_TRUE(device->add_address(v4("192.0.2.1")));
            ASSERT_TRUE(device->route_pool(Ipv4Prefix::parse("192.0.2.0/24").value(),
                                           v4("192.0.2.1")));
            for (int i = 1; i <= 8; ++i) {
                ASSERT_TRUE(device->route_host(v4("198.51.100." + std::to_string(i))));
            }
            ASSERT_TRUE(device->route_host(v6("2001:db8:9::9")));
        });
    }
    void TearDown() override {
        if (device) host->in([&] { device.reset(); });
    }
    [[nodiscard]] Result<bool> restore() {
        return host->in([&] { return device->restore(); });
    }
    [[nodiscard]] std::string routes() const { return host->show("route show"); }
    [[nodiscard]] std::string ipv6_routes() const { return host->show("-6 route show"); }

    std::unique_ptr<Namespace> host;
    std::optional<TunHost> device;
};

TEST_F(TunHostRestore, AllThatWasLostComesBackAndThenNothingIsMissing) {
    const auto before = routes();
    EXPECT_FALSE(restore().value());
    host->ip("link set d0 down");
    EXPECT_FALSE(restore()) << "it is still down";
    host->ip("link set d0 up");
    EXPECT_TRUE(restore().value());
    EXPECT_EQ(routes(), before);
    EXPECT_THAT(ipv6_routes(), HasSubstr("2001:db8:9::9"));
    EXPECT_FALSE(restore().value());
}

TEST_F(TunHostRestore, HostThatFailsKeepsNoOtherAwayAndComesBackLater) {
    const auto before = routes();
    host->ip("link set d0 down");
    host->sysctl("net/ipv6/conf/d0/disable_ipv6", "1");
    host->ip("link set d0 up");
    EXPECT_FALSE(restore());
    EXPECT_EQ(routes(), before);
    host->sysctl("net/ipv6/conf/d0/disable_ipv6", "0");
    EXPECT_TRUE(restore().value());
    EXPECT_THAT(ipv6_routes(), HasSubstr("2001:db8:9::9"));
}

TEST_F(TunHostRestore, HostThatIsLedElsewhereStaysSoUntilThatRouteGoes) {
    const auto before = routes();
    host->ip("link set d0 down");
    host->ip("route add blackhole 198.51.100.3");
    host->ip("link set d0 up");
    EXPECT_TRUE(restore().value());
    EXPECT_THAT(routes(), HasSubstr("blackhole 198.51.100.3"));
    EXPECT_THAT(routes(), Not(HasSubstr("198.51.100.3 dev d0")));
    host->ip("route del 198.51.100.3");
    EXPECT_TRUE(restore().value());
    EXPECT_EQ(routes(), before);
}

}  // namespace
}  // namespace dstm::dataplane::testing
