// The demand as a whole: watch, counters and engine together, in a network namespace.
#include "client/demand.hpp"

#include <cstdlib>
#include <functional>
#include <memory>

#include <gtest/gtest.h>

#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "fake_world.hpp"
#include "network_namespace.hpp"
#include "quiet_ports.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

const Ipv4Address leased = *Ipv4Address::parse("192.0.2.7");
constexpr Duration idle = 200ms;

class ClientDemand : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
        if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
    }
};

// Made inside of the namespace. There is no tunnel's device in it.
struct Life {
    Life() {
        driver.observe([this](const Announce& announcement) { demand.observe(announcement); });
        driver.handle(StartRequested{});
    }

    static EngineConfig config() {
        auto config = World::default_config();
        config.on_demand = true;
        return config;
    }

    void come_up() {
        driver.handle(DemandSeen{});
        driver.handle(SessionOpened{{home, 0}, {*Ipv6Address::parse("2001:db8:3::1"), 3653}});
        driver.handle(Answered{200, "", offer_message("192.0.2.7", home, 3600), {}});
        EXPECT_EQ(driver.engine().state(), State::up);
    }

    void run_until(const std::function<bool()>& done) {
        const auto end = std::chrono::steady_clock::now() + 5s;
        while (!done() && std::chrono::steady_clock::now() < end) context.run_one_for(10ms);
        EXPECT_TRUE(done());
    }

    void idle_away() {
        run_until([this] { return driver.engine().state() == State::tearing_down; });
        driver.handle(Answered{200, "", {}, {}});
        EXPECT_EQ(driver.engine().state(), State::dormant);
    }

    [[nodiscard]] bool has_leased() { return netlink.interface_of_address(leased).has_value(); }
    [[nodiscard]] bool watches() {
        const auto index = netlink.interface_index("dstm9-w");
        return index && netlink.interface_of_address(*Ipv4Address::parse("192.0.0.2")) == *index;
    }

    asio::io_context context;
    RealClock clock;
    QuietSignalling signalling;
    QuietHost host;
    QuietEcho echo;
    Driver driver{Engine(config()),
                  {signalling, host, echo, clock, [](std::optional<Instant>) {}}};
    unsigned looks = 0;
    Demand demand{context, {"dstm9", {*Ipv4Prefix::parse("203.0.113.0/24")}, 100}, idle, driver,
                  clock, [this] {
                      ++looks;
                      return std::uint64_t{0};
                  }};
    dataplane::Netlink netlink = std::move(*dataplane::Netlink::open());
};

TEST_F(ClientDemand, DormantClientDoesNotLookWhetherTheTunnelIsUsed) {
    in_namespace([] {
        Life life;
        ASSERT_TRUE(life.watches());
        life.come_up();
        life.idle_away();
        const auto looked = life.looks;
        EXPECT_GT(looked, 2U);
        bool is_over = false;
        io::Timer later(life.context);
        later.after(idle, [&is_over] { is_over = true; });
        life.run_until([&is_over] { return is_over; });
        EXPECT_EQ(life.looks, looked);
    });
}

TEST_F(ClientDemand, LeasedAddressIsNotTheWatchsAnyMoreWhenTheTunnelHasIt) {
    in_namespace([] {
        Life life;
        life.come_up();
        life.idle_away();
        EXPECT_TRUE(life.has_leased()) << "for the connections of the last lease";
        life.come_up();
        EXPECT_FALSE(life.has_leased()) << "also when nothing can be sent";
    });
}

TEST_F(ClientDemand, WatchThatCannotBeStartedIsTriedAgain) {
    in_namespace([] {
        Life life;
        ASSERT_TRUE(life.watches());
        ASSERT_EQ(std::system("ip link del dstm9-w"), 0);
        auto other = std::make_unique<TunInterface>("dstm9-w");
        EXPECT_FALSE(life.demand.restore());
        EXPECT_FALSE(life.watches());
        other.reset();
        life.run_until([&life] { return life.watches(); });
    });
}

}  // namespace
}  // namespace dstm::client
