// The client through what laptops go through, in virtual time: client_simulation.hpp.
//
//   DSTM_SIM_SEED=17 ...  plays that life alone
//   DSTM_SIM_RUNS=100000  so many, from seed 1
#include "sim/client_simulation.hpp"

#include <algorithm>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/log/log.hpp"

namespace dstm::sim {
namespace {

using namespace std::chrono_literals;
using What = client::Announce::What;
using testing::IsEmpty;

class ClientLife : public testing::Test {
protected:
    ClientLife() { EXPECT_TRUE(log::set_level("error")); }
};

// Every host up, each with its address.
std::vector<IpAddress> come_up(ClientSimulation& simulation, std::size_t hosts) {
    for (std::size_t i = 0; i < hosts; ++i) simulation.host(i).start();
    EXPECT_TRUE(simulation.run_until([&] { return simulation.all_up(); }, 10s));
    std::vector<IpAddress> inner;
    for (std::size_t i = 0; i < hosts; ++i) inner.push_back(*simulation.host(i).inner());
    return inner;
}

TEST_F(ClientLife, ServerThatIsAwayForAnHourIsAskedNowAndThenAndGivesTheSameAddressesBack) {
    for (const bool is_network_chatty : {false, true}) {
        ClientSimulation simulation(1, 4);
        const auto inner = come_up(simulation, 4);
        simulation.run_for(1min);
        std::vector<std::size_t> attempts_before;
        for (std::size_t i = 0; i < 4; ++i) {
            attempts_before.push_back(simulation.host(i).attempts());
        }
        simulation.world().kill_server();
        for (int second = 0; second < 3600; ++second) {
            simulation.run_for(1s);
            for (std::size_t i = 0; is_network_chatty && i < 4; ++i) simulation.host(i).chatter();
        }
        for (std::size_t i = 0; i < 4; ++i) {
            EXPECT_EQ(simulation.host(i).count(What::down), 1U) << "its lease has ended";
            EXPECT_FALSE(simulation.host(i).inner());
            // From the first renewal, after 15 minutes: one in 30 to 65 s.
            const auto attempts = simulation.host(i).attempts() - attempts_before[i];
            EXPECT_GE(attempts, 40U);
            EXPECT_LE(attempts, 100U) << is_network_chatty;
        }
        simulation.world().start_server();
        EXPECT_TRUE(simulation.run_until([&] { return simulation.all_up(); }, 75s));
        for (std::size_t i = 0; i < 4; ++i) {
            EXPECT_EQ(simulation.host(i).inner(), inner[i]);
        }
        EXPECT_THAT(simulation.found(), IsEmpty());
    }
}

TEST_F(ClientLife, FiftyMovesInAMinuteAreDampedAndTheLastOneCounts) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        ClientSimulation simulation(seed);
        simulation.delay_max = 100ms;
        const auto inner = come_up(simulation, 1);
        auto& host = simulation.host(0);
        const auto before = host.attempts();
        std::mt19937_64 random(seed);
        for (int move = 0; move < 50; ++move) {
            host.move_to(ClientSimulation::address_in(random() % 3, 0));
            simulation.run_for(Duration(200 + random() % 2000));
        }
        EXPECT_TRUE(simulation.run_until([&] { return simulation.all_up(); }, 3s)) << seed;
        EXPECT_LE(host.attempts() - before, 65U) << seed;
        EXPECT_EQ(host.inner(), inner[0]) << seed;
        EXPECT_EQ(host.count(What::up), 1U) << seed;
        EXPECT_THAT(simulation.found(), IsEmpty()) << seed;
    }
}

TEST_F(ClientLife, MoveAndBackFasterThanADialogueEndsWhereTheHostIs) {
    for (int back_after = 0; back_after <= 2000; back_after += 50) {
        ClientSimulation simulation(1);
        come_up(simulation, 1);
        auto& host = simulation.host(0);
        simulation.run_for(1min);
        simulation.delay_min = simulation.delay_max = 150ms;
        host.move_to(ClientSimulation::address_in(1, 0));
        simulation.run_for(Duration(back_after));
        host.move_to(ClientSimulation::address_in(0, 0));
        simulation.run_for(4s);
        EXPECT_TRUE(simulation.all_up()) << back_after;
        EXPECT_EQ(host.engine().binding()->outer.address, *host.place()) << back_after;
        EXPECT_LE(host.attempts(), 3U) << back_after;
        EXPECT_THAT(simulation.found(), IsEmpty()) << back_after;
    }
}

TEST_F(ClientLife, MoveDuringTheFirstAttemptIsMadeAtOnce) {
    for (int moves_after = 0; moves_after <= 1000; moves_after += 50) {
        ClientSimulation simulation(1);
        simulation.delay_min = simulation.delay_max = 100ms;
        simulation.host(0).start();
        simulation.run_for(Duration(moves_after));
        simulation.host(0).move_to(ClientSimulation::address_in(1, 0));
        EXPECT_TRUE(simulation.run_until([&] { return simulation.all_up(); }, 2s)) << moves_after;
    }
}

TEST_F(ClientLife, AddressThatGoesBeforeTheAnswerComesCostsNeitherTheLeaseNorTheTunnel) {
    for (int leaves_after = 0; leaves_after <= 1000; leaves_after += 25) {
        ClientSimulation simulation(1);
        const auto inner = come_up(simulation, 1);
        auto& host = simulation.host(0);
        simulation.run_for(1min);
        simulation.delay_min = simulation.delay_max = 100ms;
        host.renew();
        simulation.run_for(Duration(leaves_after));
        host.slip_to(ClientSimulation::address_in(1, 0));
        simulation.run_for(200ms);
        host.chatter();
        EXPECT_TRUE(simulation.run_until([&] { return simulation.all_up(); }, 3s))
            << leaves_after;
        EXPECT_EQ(host.inner(), inner[0]) << leaves_after;
        EXPECT_EQ(host.count(What::down), 0U) << leaves_after;
        EXPECT_THAT(simulation.found(), IsEmpty()) << leaves_after;
    }
}

TEST_F(ClientLife, StopOnTheMoveGivesTheLeaseBack) {
    for (int moves_after = -1000; moves_after <= 1000; moves_after += 50) {
        ClientSimulation simulation(1);
        come_up(simulation, 1);
        auto& host = simulation.host(0);
        simulation.run_for(10s);  // the session is open yet
        simulation.delay_min = simulation.delay_max = 50ms;
        const auto move = [&host] { host.move_to(ClientSimulation::address_in(1, 0)); };
        if (moves_after < 0) move();
        simulation.run_for(Duration(std::max(0, -moves_after)));
        host.stop();
        simulation.run_for(Duration(std::max(0, moves_after)));
        if (moves_after >= 0) move();
        simulation.run_for(10s);
        EXPECT_EQ(host.engine().state(), client::State::stopped) << moves_after;
        EXPECT_FALSE(host.inner()) << moves_after;
        EXPECT_EQ(host.count(What::lease_not_returned), 0U) << moves_after;
        EXPECT_TRUE(simulation.world().kea.leases.empty()) << moves_after;
    }
}

TEST_F(ClientLife, HostThatSleepsPastItsLeaseHasNoTunnelWhenItWakesAndAsksAgain) {
    ClientSimulation simulation(1, 2);
    auto& sleeper = simulation.host(0);
    auto& other = simulation.host(1);
    sleeper.start();
    ASSERT_TRUE(simulation.run_until([&] { return sleeper.works(); }, 10s));
    const auto inner = *sleeper.inner();
    simulation.run_for(5min);
    sleeper.sleep();
    simulation.run_for(ClientSimulation::lease_time);
    simulation.world().kea.reclaim_expired();
    // Another client takes the address: it is the first that is free.
    other.start();
    ASSERT_TRUE(simulation.run_until([&] { return other.works(); }, 10s));
    ASSERT_EQ(other.inner(), inner);
    sleeper.wake();
    EXPECT_FALSE(sleeper.inner()) << "at once";
    EXPECT_EQ(sleeper.count(What::down), 1U);
    EXPECT_TRUE(simulation.run_until([&] { return simulation.all_up(); }, 10s));
    EXPECT_EQ(other.inner(), inner);
    EXPECT_EQ(sleeper.count(What::keepalive_lost), 0U);
    EXPECT_EQ(sleeper.count(What::retrying), 0U);
    EXPECT_THAT(simulation.found(), IsEmpty());
}

TEST_F(ClientLife, HostThatSleepsForLessKeepsItsTunnelWithoutASignal) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        ClientSimulation simulation(seed);
        come_up(simulation, 1);
        auto& host = simulation.host(0);
        // At any moment between two keepalives; before the renewal is due.
        simulation.run_for(1min + seed * 1700ms);
        const auto attempts = host.attempts();
        host.sleep();
        simulation.run_for(10min);
        host.wake();
        EXPECT_TRUE(host.works());
        simulation.run_for(1min);
        EXPECT_EQ(host.attempts(), attempts) << seed;
        EXPECT_EQ(host.count(What::keepalive_lost), 0U) << seed;
        EXPECT_EQ(host.count(What::down), 0U) << seed;
    }
}

TEST_F(ClientLife, TwoHostsOfOneUserEachHaveAnAddressOfTheirOwn) {
    ClientSimulation simulation(1, 2);
    const auto inner = come_up(simulation, 2);
    EXPECT_NE(inner[0], inner[1]);
    simulation.run_for(1h);
    EXPECT_TRUE(simulation.all_up());
    simulation.host(1).stop();
    simulation.run_for(10s);
    EXPECT_EQ(simulation.world().kea.leases.size(), 1U);
    simulation.host(0).move_to(ClientSimulation::address_in(2, 0));
    simulation.run_for(10s);
    EXPECT_TRUE(simulation.host(0).works());
    EXPECT_EQ(simulation.host(0).inner(), inner[0]);
    EXPECT_THAT(simulation.found(), IsEmpty());
}

std::uint64_t number_from(const char* variable, std::uint64_t fallback) {
    const char* text = std::getenv(variable);
    return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

TEST_F(ClientLife, WhateverHappensEveryClientIsUpAgainInPeaceAndNothingIsLeftOfIt) {
    const auto seed = number_from("DSTM_SIM_SEED", 0);
    const auto runs = seed != 0 ? 1 : number_from("DSTM_SIM_RUNS", 60);
    ASSERT_TRUE(log::set_level(seed != 0 ? "info" : "error"));
    std::size_t attempts = 0;
    for (std::uint64_t i = 0; i < runs && !HasFailure(); ++i) {
        const auto played = seed != 0 ? seed : i + 1;
        ClientSimulation simulation(played, 6);
        simulation.live(60);
        EXPECT_THAT(simulation.found(), IsEmpty()) << "replay with DSTM_SIM_SEED=" << played;
        attempts += simulation.host(0).attempts();
    }
    EXPECT_TRUE(HasFailure() || attempts > runs * 5) << "the hosts hardly did anything";
}

}  // namespace
}  // namespace dstm::sim
