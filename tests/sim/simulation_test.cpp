// Many seeds of simulation.hpp.
//
//   DSTM_SIM_SEED=17 ...  plays that life alone
//   DSTM_SIM_RUNS=100000  so many, from seed 1
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "common/log/log.hpp"
#include "sim/simulation.hpp"

namespace dstm::sim {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t fallback) {
    const char* text = std::getenv(variable);
    return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

TEST(Simulation, NothingIsLeakedLostOrGivenTwice) {
    const std::uint64_t seed = number_from("DSTM_SIM_SEED", 0);
    const std::uint64_t runs = seed != 0 ? 1 : number_from("DSTM_SIM_RUNS", 200);
    // A life replayed is told in full.
    ASSERT_TRUE(log::set_level(seed != 0 ? "info" : "error"));
    std::size_t accepted = 0;
    for (std::uint64_t i = 0; i < runs; ++i) {
        SimulationConfig config;
        config.seed = seed != 0 ? seed : i + 1;
        Simulation simulation(config);
        for (const std::string& problem : simulation.run()) {
            ADD_FAILURE() << problem << "; replay with DSTM_SIM_SEED=" << config.seed;
        }
        accepted += simulation.accepted();
        if (HasFailure()) break;
    }
    EXPECT_GT(accepted, runs * 5) << "the simulated clients hardly did anything";
    RecordProperty("accepted", static_cast<int>(accepted));
}

TEST(Simulation, ASeedPlaysTheSameLifeAgain) {
    ASSERT_TRUE(log::set_level("error"));
    SimulationConfig config;
    config.seed = 7;
    Simulation first(config);
    Simulation second(config);
    EXPECT_EQ(first.run(), second.run());
    EXPECT_EQ(first.accepted(), second.accepted());
}

}  // namespace
}  // namespace dstm::sim
