// State on disk, and recovery after a kill; the last tests need root for a network namespace.
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/host/monitor.hpp"
#include "client/host/state_directory.hpp"
#include "client/host/tunnel_host.hpp"
#include "common/io/asio.hpp"
#include "temporary_directory.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

const HostChanges changes{"dstmtest0",
                          *Ipv4Address::parse("192.0.2.7"),
                          {*Ipv4Prefix::parse("0.0.0.0/0"), *Ipv4Prefix::parse("198.51.100.0/24")},
                          1024,
                          std::nullopt};

TEST(ClientState, HostIdIsMadeOnceWith0600AndStays) {
    TemporaryDirectory directory;
    const auto path = directory.path() + "/a/b";
    std::string first;
    {
        auto state = StateDirectory::open(path);
        ASSERT_TRUE(state) << state.error().context;
        first = *state->host_id();
    }
    EXPECT_EQ(first.size(), 32U);
    EXPECT_EQ(first.find_first_not_of("0123456789abcdef"), std::string::npos);
    struct stat status{};
    ASSERT_EQ(stat((path + "/host-id").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
    EXPECT_EQ(*StateDirectory::open(path)->host_id(), first);

    TemporaryDirectory other;
    EXPECT_NE(*StateDirectory::open(other.path())->host_id(), first);
}

TEST(ClientState, DamagedHostIdIsReplaced) {
    TemporaryDirectory directory;
    std::ofstream(directory.path() + "/host-id") << "../../etc\n";
    EXPECT_EQ(StateDirectory::open(directory.path())->host_id()->size(), 32U);
}

TEST(ClientState, TwoClientsDoNotShareADirectory) {
    TemporaryDirectory directory;
    auto first = StateDirectory::open(directory.path());
    ASSERT_TRUE(first);
    const auto second = StateDirectory::open(directory.path());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::conflict);
}

TEST(ClientState, RecordOfChangesSurvivesAKill) {
    TemporaryDirectory directory;
    ASSERT_TRUE(StateDirectory::open(directory.path())->record(changes));
    auto after = StateDirectory::open(directory.path());
    EXPECT_EQ(after->recorded(), changes);
    after->forget();
    EXPECT_FALSE(after->recorded());
}

TEST(ClientState, RecordOfAnIpv6TunnelWithAPrefixIsReadBack) {
    TemporaryDirectory directory;
    auto state = StateDirectory::open(directory.path());
    const HostChanges v6{"dstmtest0",
                         *Ipv6Address::parse("2001:db8:100::7"),
                         {*Ipv6Prefix::parse("::/0")},
                         2048,
                         InsideChanges{*Ipv6Prefix::parse("2001:db8:200::/56"),
                                       "lan0",
                                       "/etc/dstm/prefix",
                                       {{"net/ipv6/conf/wan0/accept_ra", "1"},
                                        {"net/ipv6/conf/all/forwarding", "0"}}}};
    ASSERT_TRUE(state->record(v6));
    EXPECT_EQ(state->recorded(), v6);
}

TEST(ClientState, LastGoodServerIsKeptAndADamagedRecordIsNone) {
    TemporaryDirectory directory;
    auto state = StateDirectory::open(directory.path());
    ASSERT_TRUE(state);
    EXPECT_EQ(state->last_good().error().code, ErrorCode::not_found);
    for (const auto& good : {GoodServer{{"dstm.example", 3653}, Ipv6Address::parse("2001:db8::1")},
                             GoodServer{{"192.0.2.1", 65535}, Ipv4Address::parse("192.0.2.1")},
                             GoodServer{{"dstm.example", 1}, std::nullopt}}) {
        ASSERT_TRUE(state->keep_last_good(good));
        EXPECT_EQ(state->last_good(), good);
    }
    const auto path = directory.path() + "/last-good.json";
    std::string whole;
    ASSERT_TRUE(state->keep_last_good({{"dstm.example", 3653}, Ipv6Address::parse("2001:db8::1")}));
    std::getline(std::ifstream(path), whole, '\0');
    std::vector<std::string> damaged{
        R"({"server":"","port":3653})", R"({"server":"a b","port":3653})",
        R"({"server":"a\n","port":3653})", R"({"server":"a","port":0})",
        R"({"server":"a","port":65536})", R"({"server":"a","port":"1"})", R"({"port":3653})",
        R"({"server":"a","port":1,"address":"2001:db8::g"})",
        R"({"server":"a","port":1,"address":7})",
        R"([])", R"(null)", std::string(100, '[')};
    for (std::size_t size = 0; size + 2 < whole.size(); ++size) {
        damaged.push_back(whole.substr(0, size));
    }
    for (const auto& text : damaged) {
        std::ofstream(path, std::ios::trunc) << text;
        const auto good = state->last_good();
        ASSERT_FALSE(good) << text;
        EXPECT_EQ(good.error().code, ErrorCode::invalid) << text;
    }
}

TEST(ClientState, RecordCutAtAnyByteIsNoRecordAndDoesNoHarm) {
    TemporaryDirectory directory;
    auto state = StateDirectory::open(directory.path());
    ASSERT_TRUE(state->record(changes));
    std::ifstream in(directory.path() + "/changes.json");
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    for (std::size_t size = 0; size + 2 < whole.size(); ++size) {
        std::ofstream(directory.path() + "/changes.json", std::ios::trunc)
            << whole.substr(0, size);
        EXPECT_FALSE(state->recorded()) << size;
    }
}

// --- in a network namespace of this thread -------------------------------------------------------

class FakePlane final : public dataplane::DataPlane {
public:
    explicit FakePlane(bool fails) : fails_(fails) {
        file_ = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
        ifreq request{};
        changes.device.copy(request.ifr_name, IFNAMSIZ - 1);
        request.ifr_flags = IFF_TUN | IFF_NO_PI;
        if (ioctl(file_, TUNSETIFF, &request) != 0) ADD_FAILURE() << "TUNSETIFF";
        auto netlink = dataplane::Netlink::open();
        const int index = *netlink->interface_index(changes.device);
        EXPECT_TRUE(netlink->set_interface_up(index, true));
        EXPECT_TRUE(netlink->add_address(index, changes.inner, 32));
    }
    ~FakePlane() override { close(file_); }
    // As a crash of a kernel data plane would: the device stays.
    void outlive() { ioctl(file_, TUNSETPERSIST, 1); }

    [[nodiscard]] std::string_view name() const override { return "fake"; }
    [[nodiscard]] Result<void> add(const TunnelSpec& spec) override {
        if (fails_) return fail(ErrorCode::refused, "as the test wants");
        tunnels_ = {{spec, {}}};
        return {};
    }
    [[nodiscard]] Result<void> remove(const IpAddress&, Generation) override {
        tunnels_.clear();
        return {};
    }
    [[nodiscard]] std::vector<dataplane::InstalledTunnel> list() const override { return tunnels_; }
    [[nodiscard]] dataplane::DropCounters drops() const override { return {}; }

private:
    bool fails_;
    int file_ = -1;
    std::vector<dataplane::InstalledTunnel> tunnels_;
};

class ClientTunnelHost : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
        if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
    }

    // The namespace belongs to the thread and goes with it.
    static void in_namespace(const std::function<void()>& body) {
        std::thread([&body] {
            if (unshare(CLONE_NEWNET) != 0) {
                ADD_FAILURE() << "unshare";
                return;
            }
            body();
        }).join();
    }

    TunnelHost make_host(StateDirectory& state, bool plane_fails = false) {
        return TunnelHost({changes.device, changes.routes, changes.route_metric}, state,
                          std::move(*dataplane::Netlink::open()),
                          [this, plane_fails]() -> Result<std::unique_ptr<dataplane::DataPlane>> {
                              auto plane = std::make_unique<FakePlane>(plane_fails);
                              plane_ = plane.get();
                              return plane;
                          });
    }

    static TunnelSpec spec() {
        TunnelSpec spec;
        spec.inner = changes.inner;
        spec.generation = 1;
        return spec;
    }

    static bool device_is_there() {
        return dataplane::Netlink::open()->interface_index(changes.device).has_value();
    }
    static std::size_t routes() { return dataplane::Netlink::open()->routes_v4()->size(); }

    TemporaryDirectory directory_;
    FakePlane* plane_ = nullptr;
};

TEST_F(ClientTunnelHost, RoutesComeAndGoAndTheDeviceWithThem) {
    in_namespace([this] {
        auto state = StateDirectory::open(directory_.path());
        auto host = make_host(*state);
        ASSERT_TRUE(host.install(spec()));
        EXPECT_TRUE(state->recorded()) << "on record before the host is changed";
        ASSERT_TRUE(host.set_routes());
        EXPECT_EQ(routes(), 2U);
        EXPECT_TRUE(host.set_routes()) << "a renewal sets them again";
        EXPECT_TRUE(host.counters());
        ASSERT_TRUE(host.clear_routes());
        EXPECT_EQ(routes(), 0U);
        ASSERT_TRUE(host.remove(changes.inner));
        EXPECT_FALSE(device_is_there());
        EXPECT_FALSE(state->recorded());
        EXPECT_TRUE(host.clear_routes()) << "again is no error";
        EXPECT_TRUE(host.remove(changes.inner));
    });
}

TEST_F(ClientTunnelHost, WhatOthersTakeAwayIsSetAgainWhileTheTunnelStands) {
    in_namespace([this] {
        auto state = StateDirectory::open(directory_.path());
        auto netlink = std::move(*dataplane::Netlink::open());
        auto host = make_host(*state);
        EXPECT_FALSE(host.restore()) << "there is no tunnel";
        ASSERT_TRUE(host.install(spec()));
        ASSERT_TRUE(host.set_routes());
        EXPECT_FALSE(host.restore());
        ASSERT_TRUE(netlink.remove_route(netlink.routes_v4()->at(0)));
        EXPECT_TRUE(host.restore());
        EXPECT_EQ(routes(), 2U);
        const int device = *netlink.interface_index(changes.device);
        ASSERT_TRUE(netlink.remove_address(device, changes.inner, 32));
        ASSERT_EQ(routes(), 0U) << "the kernel takes the routes with their source";
        EXPECT_TRUE(host.restore());
        EXPECT_EQ(routes(), 2U);
        EXPECT_FALSE(host.restore());
        ASSERT_TRUE(host.clear_routes());
        EXPECT_FALSE(host.restore()) << "on its way down";
        EXPECT_EQ(routes(), 0U);
    });
}

TEST_F(ClientTunnelHost, RenewalWritesNoRecordAndAnotherAddressDoes) {
    in_namespace([this] {
        auto state = StateDirectory::open(directory_.path());
        auto host = make_host(*state);
        const auto record = [this] {
            struct stat file{};
            EXPECT_EQ(::stat((directory_.path() + "/changes.json").c_str(), &file), 0);
            return file.st_ino;
        };
        ASSERT_TRUE(host.install(spec()));
        const auto first = record();
        ASSERT_TRUE(host.install(spec()));
        EXPECT_EQ(record(), first);
        auto other = spec();
        other.inner = *Ipv4Address::parse("192.0.2.99");
        ASSERT_TRUE(host.install(other));
        EXPECT_NE(record(), first);
        EXPECT_EQ(state->recorded()->inner, other.inner);
        ASSERT_TRUE(host.remove(other.inner));
        ASSERT_TRUE(host.install(other));
        EXPECT_TRUE(state->recorded()) << "what was forgotten is written again";
    });
}

TEST_F(ClientTunnelHost, FailedInstallLeavesNothingAfterRemove) {
    in_namespace([this] {
        auto state = StateDirectory::open(directory_.path());
        auto host = make_host(*state, true);
        EXPECT_FALSE(host.install(spec()));
        EXPECT_TRUE(host.clear_routes());
        EXPECT_TRUE(host.remove(changes.inner));
        EXPECT_FALSE(device_is_there());
        EXPECT_FALSE(state->recorded());
    });
}

TEST_F(ClientTunnelHost, NextStartRemovesWhatAKilledClientLeft) {
    in_namespace([this] {
        auto state = StateDirectory::open(directory_.path());
        {
            auto killed = make_host(*state);
            ASSERT_TRUE(killed.install(spec()));
            ASSERT_TRUE(killed.set_routes());
            plane_->outlive();
        }
        ASSERT_TRUE(device_is_there());
        // The destructor above was orderly; a kill would have left routes and record too.
        ASSERT_TRUE(state->record(changes));
        auto netlink = dataplane::Netlink::open();
        const int index = *netlink->interface_index(changes.device);
        dataplane::Route route;
        route.destination = changes.routes[0];
        route.interface_index = index;
        route.source = changes.inner;
        route.metric = changes.route_metric;
        ASSERT_TRUE(netlink->add_route(route));

        auto next = make_host(*state);
        next.recover();
        EXPECT_EQ(routes(), 0U);
        EXPECT_FALSE(device_is_there());
        EXPECT_FALSE(state->recorded());
    });
}

TEST_F(ClientTunnelHost, MonitorTellsOfANewIpv6AddressAndOfALink) {
    in_namespace([] {
        asio::io_context context;
        unsigned told = 0;
        auto monitor = Monitor::start(context, [&told] { ++told; });
        ASSERT_TRUE(monitor) << monitor.error().context;
        auto netlink = dataplane::Netlink::open();
        const int loopback = *netlink->interface_index("lo");
        ASSERT_TRUE(netlink->set_interface_up(loopback, true));
        ASSERT_TRUE(netlink->add_address(loopback, *Ipv6Address::parse("2001:db8::5"), 128));
        const auto is_told = [&] {
            const auto end = std::chrono::steady_clock::now() + 5s;
            while (told == 0 && std::chrono::steady_clock::now() < end) context.run_one_for(100ms);
            return std::exchange(told, 0U) > 0;
        };
        EXPECT_TRUE(is_told());
        context.poll();
        told = 0;
        // The kernel reports no IPv4 route that goes with its link.
        ASSERT_TRUE(netlink->set_interface_mtu(loopback, 40000));
        EXPECT_TRUE(is_told()) << "of a link";
    });
}

}  // namespace
}  // namespace dstm::client
