// Whether this kernel can carry tunnels itself: on any kernel the answer must be the truth.
#include "common/dataplane/kernel_plane.hpp"
#include "common/io/real_clock.hpp"
#include "tests/unit/dataplane/namespaces.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;

class KernelProbe : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto why = why_no_namespaces(); !why.empty()) GTEST_SKIP() << why;
        host = std::make_unique<Namespace>("k");
        host->ip("addr add 2001:db8:2::1/64 dev lo nodad");
        host->ip("addr add 198.51.100.1/24 dev lo");
    }
    std::unique_ptr<Namespace> host;
};

TEST_F(KernelProbe, SaysWhatThePlaneWillAndLeavesNothing) {
    for (const auto type : {TunnelType::v4v6, TunnelType::v6v4}) {
        const auto probed = host->in([&] { return probe_kernel_plane(type); });
        KernelPlaneConfig config;
        if (type == TunnelType::v4v6) config.outer = Ipv6Address::parse("2001:db8:2::1");
        if (type == TunnelType::v6v4) config.outer_ipv4 = Ipv4Address::parse("198.51.100.1");
        const RealClock clock;
        const auto made =
            host->in([&] { return make_kernel_plane(config, clock).map([](auto) {}); });
        ASSERT_EQ(probed.has_value(), made.has_value());
        if (!probed) {
            EXPECT_EQ(probed.error().code, ErrorCode::unavailable);
            EXPECT_EQ(probed.error(), made.error());
            EXPECT_THAT(
                probed.error().context,
                HasSubstr(type == TunnelType::v4v6 ? "no module ip6_tunnel" : "no module sit"));
        }
        EXPECT_TRUE(host->in([&] { return detach_kernel_plane(config); }));
        EXPECT_EQ(host->show("link show").find("dstm"), std::string::npos);
    }
    EXPECT_EQ(probe_kernel_plane(TunnelType::v6udpv4).error().code, ErrorCode::refused);
}

TEST_F(KernelProbe, ConfigurationThatCannotWorkIsInvalid) {
    const RealClock clock;
    KernelPlaneConfig config;
    EXPECT_EQ(make_kernel_plane(config, clock).error().code, ErrorCode::invalid) << "no address";
    config.outer = Ipv6Address::parse("fe80::1");
    EXPECT_EQ(make_kernel_plane(config, clock).error().code, ErrorCode::invalid);
    config.outer = Ipv6Address::parse("2001:db8:2::1");
    config.device = "ten-chars0";
    EXPECT_EQ(make_kernel_plane(config, clock).error().code, ErrorCode::invalid)
        << "no room for the number of a tunnel";
    config.device = "dstm0";
    config.outer = Ipv6Address::parse("2001:db8:2::99");
    const auto made = host->in([&] { return make_kernel_plane(config, clock).map([](auto) {}); });
    EXPECT_EQ(made.error().code, ErrorCode::unavailable) << "not on this host";
}

}  // namespace
}  // namespace dstm::dataplane::testing
