// What the kernel data plane learns of the paths: from packet-too-big where it arrives, and where
// it is filtered from what a client's probes have found.
#include <atomic>

#include "common/dataplane/icmp_error.hpp"
#include "tests/kernel/kernel_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SkippingClock final : public Clock {
public:
    void skip(Duration time) { skipped_ = skipped_.load() + time; }
    [[nodiscard]] Instant now() const override { return real_.now() + skipped_.load(); }
    [[nodiscard]] WallTime wall() const override { return real_.wall(); }

private:
    RealClock real_;
    std::atomic<Duration> skipped_{Duration{0}};
};

// That `mtu` is what fits into the tunnel, about an echo reply of the endpoint's that did not; as
// PathWatch of the client has it said.
std::vector<std::uint8_t> report(const std::string& client, const std::string& about_source,
                                 std::uint16_t mtu) {
    const bool is_v4 = client.find(':') == std::string::npos;
    const auto lost =
        is_v4 ? echo_request(about_source, client, 1400) : icmpv6(about_source, client, 129);
    const auto header = read_inner_header(lost, is_v4 ? Version::ipv4 : Version::ipv6);
    return make_icmp_error(IcmpKind::too_big, mtu, parse_ip_address(client).value(), lost,
                           header.value());
}

// One TCP connection, open from now on.
class Connection {
public:
    Connection(const Namespace& from, const std::string& address, const Namespace& to)
        : listener_(from.in([] { return Descriptor(::socket(AF_INET, SOCK_STREAM, 0)); })),
          into_(to.in([] { return Descriptor(::socket(AF_INET, SOCK_STREAM, 0)); })) {
        const auto local = socket_address(address);
        const int reuse = 1;
        ::setsockopt(listener_.number(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
        EXPECT_EQ(::bind(listener_.number(), &local.any, sizeof local), 0);
        EXPECT_EQ(::listen(listener_.number(), 1), 0);
        EXPECT_EQ(::connect(into_.number(), &local.any, sizeof local), 0);
        out_ = Descriptor(::accept(listener_.number(), nullptr, nullptr));
        limit_waiting(out_);
        limit_waiting(into_);
    }
    void send(std::size_t size) {
        sender_ = std::thread([this, size] {
            const std::vector<char> data(size);
            ::send(out_.number(), data.data(), size, MSG_NOSIGNAL);
        });
    }
    // How much of that many bytes has come, until nothing more comes for five seconds.
    [[nodiscard]] std::size_t receive(std::size_t size) {
        std::vector<char> data(size);
        std::size_t at = 0;
        while (at < size) {
            const auto got = ::recv(into_.number(), data.data() + at, size - at, 0);
            if (got <= 0) break;
            at += static_cast<std::size_t>(got);
        }
        sender_.join();
        return at;
    }

private:
    Descriptor listener_, into_, out_;
    std::thread sender_;
};

class KernelPaths : public ReusedCampus {
protected:
    void SetUp() override {
        make_endpoint_plane = make_kernel;
        make_client_plane = make_kernel;
        ReusedCampus::SetUp();
    }
    // No router says that a packet is too big.
    void filter_packet_too_big() {
        is_changed = true;
        const auto said = router->exec(
            "nft 'table ip6 silent { chain out { type filter hook output priority 0;"
            " icmpv6 type packet-too-big drop; }; }'");
        EXPECT_EQ(said, "");
    }
    [[nodiscard]] std::string route() const { return endpoint->show("route show 192.0.2.7"); }
};

TEST_F(KernelPaths, PacketTooBigFromThePathIsRelayedAndTheTunnelIsLowered) {
    is_changed = true;
    bring_up();
    narrow_client_link();
    // Linux relays the outer size first, and says the inner one when it is asked again.
    EXPECT_THAT(ping(*server, "192.0.2.7", "-M do -s 1400"), HasSubstr("mtu = 1280"));
    EXPECT_THAT(ping(*server, "192.0.2.7", "-M do -s 1252"), HasSubstr("mtu = 1240"));
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7", "-M do -s 1212")));
}

TEST_F(KernelPaths, WhatAProbeOfAClientFoundIsForgottenAfterTenMinutes) {
    is_changed = true;
    SkippingClock later;
    HostedPlane plane(*first, client_config(), later);
    ASSERT_TRUE(plane.add(first_spec));
    const auto mtu = [&] { return first->show("link show dstm0").substr(0, 60); };
    const auto before = mtu();
    for (int twice = 0; twice < 2; ++twice) {
        ASSERT_TRUE(plane.plane().lower_path_mtu(1280));
        EXPECT_THAT(mtu(), HasSubstr("mtu 1240"));
    }
    later.skip(std::chrono::minutes(10));
    EXPECT_TRUE(wait_until([&] { return mtu() == before; })) << mtu();
}

TEST_F(KernelPaths, AnOpenConnectionGoesOnWhenTheClientSaysThatThePathHasShrunkSilently) {
    bring_up();
    Connection connection(*server, "203.0.113.80", *first);
    constexpr std::size_t size = 1 << 18;
    connection.send(size);
    ASSERT_EQ(connection.receive(size), size);
    filter_packet_too_big();
    narrow_client_link();
    connection.send(size);
    HandMadeClient(*first, "2001:db8:1::5").send(report("192.0.2.7", "192.0.2.1", 1240));
    EXPECT_EQ(connection.receive(size), size);
    EXPECT_THAT(ping(*server, "192.0.2.7", "-M do -s 1213"), HasSubstr("mtu=1240"))
        << "the sender has been told";
    EXPECT_TRUE(answers(ping(*server, "192.0.2.7", "-M dont -s 1400"))) << "may be fragmented";
}

TEST_F(KernelPaths, WhatAClientSaidHoldsForItsTunnelsAndForTheNextDaemonAndForTenMinutes) {
    is_changed = true;
    SkippingClock later;
    const auto start = [&] {
        tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), later);
        ASSERT_TRUE(tep->is_up()) << tep->why();
    };
    start();
    HandMadeClient client_by_hand(*first, "2001:db8:1::5");
    ASSERT_TRUE(tep->add(first_spec));
    ASSERT_TRUE(tep->add(make_spec("192.0.2.9", "2001:db8:1::5")));
    ASSERT_TRUE(tep->add(second_spec));
    client_by_hand.send(report("192.0.2.9", "192.0.2.1", 1300));
    EXPECT_TRUE(wait_until([&] { return route().find("mtu 1300") != std::string::npos; }));
    client_by_hand.send(report("192.0.2.7", "192.0.2.1", 600));  // no path is so narrow
    EXPECT_TRUE(wait_until([&] { return route().find("mtu 1240") != std::string::npos; }));
    ASSERT_TRUE(tep->add(make_spec("192.0.2.10", "2001:db8:1::5")));
    tep->stop();
    start();
    for (const auto* inner : {"192.0.2.7", "192.0.2.9", "192.0.2.10"}) {
        EXPECT_THAT(endpoint->show(std::string("route show ") + inner), HasSubstr("mtu 1240"));
    }
    EXPECT_THAT(endpoint->show("route show 192.0.2.8"), Not(HasSubstr("mtu")));
    ASSERT_TRUE(tep->remove("192.0.2.10"));
    EXPECT_EQ(endpoint->show("route show 192.0.2.10"), "");
    later.skip(std::chrono::minutes(10));
    EXPECT_TRUE(wait_until([&] { return route().find("mtu") == std::string::npos; }));
    EXPECT_THAT(route(), HasSubstr("dev dstm0-1"));
}

TEST_F(KernelPaths, OnlyTheClientItselfIsBelievedAndOnlyAboutPacketsOfTheEndpoint) {
    tep = std::make_unique<HostedPlane>(*endpoint, endpoint_config(), clock);
    ASSERT_TRUE(tep->is_up()) << tep->why();
    ASSERT_TRUE(tep->add(first_spec));
    ASSERT_TRUE(tep->add(second_spec));
    const auto said = report("192.0.2.7", "192.0.2.1", 1240);
    // Another client; one behind the endpoint, whom no source check holds; about somebody's packet.
    HandMadeClient(*second, "2001:db8:4::5").send(said);
    const auto raw = server->in(
        [] { return Descriptor(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)); });
    const auto to = socket_address("192.0.2.1");
    EXPECT_GT(::sendto(raw.number(), said.data(), said.size(), 0, &to.any, sizeof to.v4), 0);
    HandMadeClient bound(*first, "2001:db8:1::5");
    auto about_another = said;
    store_ipv4(about_another, 20 + 8 + 12, v4("203.0.113.80"));
    bound.send(about_another);
    bound.send(report("192.0.2.7", "192.0.2.1", 1460));  // no news
    // In one queue with those before.
    HandMadeClient(*second, "2001:db8:4::5").send(report("192.0.2.8", "192.0.2.1", 1240));
    EXPECT_TRUE(wait_until(
        [&] { return endpoint->show("route show 192.0.2.8").find("mtu") != std::string::npos; }));
    EXPECT_THAT(route(), Not(HasSubstr("mtu")));
    EXPECT_EQ(tep->dropped("source_check"), 1u);
}

class KernelPathsV6 : public ReusedIpv6Campus {
protected:
    void SetUp() override {
        make_endpoint_plane = make_kernel;
        make_client_plane = make_kernel;
        ReusedIpv6Campus::SetUp();
    }
};

TEST_F(KernelPathsV6, WhatAClientSaidHoldsForForwardedIpv6) {
    const std::string inner = "2001:db8:100::7";
    bring_up_v6(v6_spec(inner, "10.0.1.5"));
    EXPECT_TRUE(answers(ping(*server, inner, "-M do -s 1432")));
    HandMadeClient(*first, "10.0.1.5").send(report(inner, "2001:db8:100::1", 1280));
    EXPECT_TRUE(wait_until([&] {
        return endpoint->show("-6 route show " + inner).find("mtu lock 1280") != std::string::npos;
    })) << endpoint->show("-6 route show " + inner);
    EXPECT_THAT(ping(*server, inner, "-M do -s 1300"), HasSubstr("mtu=1280"));
    EXPECT_TRUE(answers(ping(*server, inner, "-M do -s 1232")));
}

}  // namespace
}  // namespace dstm::dataplane::testing
