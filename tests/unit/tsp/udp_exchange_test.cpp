// Whole dialogues by UDP with each datagram lost, doubled or late in turn: one lease, one tunnel.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/tsp/udp_world.hpp"

namespace dstm::tsp {
namespace {

using namespace std::chrono_literals;

struct Shape {
    const char* mechanism;
    unsigned challenges;  // of the server before success
    const char* proof;    // rspauth, v=: with success
};

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.mechanism; }

UdpServerConfig server_config() {
    UdpServerConfig config;
    config.session.tunnel_types = {RequestType::v4v6};
    config.session.mechanisms = {"ANONYMOUS", "PLAIN", "DIGEST-MD5", "SCRAM-SHA-256"};
    config.session.limits.phase_timeout = 100s;
    config.session.limits.accept_timeout = 100s;
    return config;
}

class UdpDialogue : public testing::TestWithParam<Shape> {
protected:
    // Runs one dialogue to its end; the number of datagrams it took.
    int run(const UdpWorld::Fates& fates, Duration work = 300ms, bool may_fail = false) {
        UdpWorld world(server_config());
        world.fates = fates;
        world.owner.work = work;
        world.owner.challenges = GetParam().challenges;
        world.owner.proof = GetParam().proof;
        UdpClientConfig config;
        config.first_sequence = udp_sequence_max - 1;  // wraps on the way
        world.start(config, GetParam().mechanism);
        const bool is_done = world.scheduler.run_until(
            [&] {
                return world.accepts == 1 && !world.client->has_unanswered();
            },
            2min);
        const int datagrams = world.datagrams;
        if (may_fail && !is_done) {
            EXPECT_FALSE(world.failures.empty()) << "neither done nor failed";
            EXPECT_LE(world.owner.requests, 1);
            return datagrams;
        }
        EXPECT_TRUE(is_done) << (world.failures.empty() ? "" : world.failures[0]);
        world.scheduler.run_for(10s);  // what is late arrives
        EXPECT_EQ(world.last_status, 200);
        EXPECT_EQ(world.owner.opened, 1);
        EXPECT_EQ(world.owner.authentications, 1);
        EXPECT_EQ(world.owner.requests, 1) << "leases";
        EXPECT_EQ(world.owner.confirmed, 1) << "tunnels";
        EXPECT_EQ(world.owner.declined, 0);
        EXPECT_EQ(world.owner.violations, 0);
        EXPECT_EQ(world.owner.alive.size(), 1u);
        EXPECT_TRUE(world.failures.empty());
        return datagrams;
    }
};

TEST_P(UdpDialogue, EachDatagramLostInTurnYieldsOneLeaseAndOneTunnel) {
    const int datagrams = run({});
    EXPECT_GE(datagrams, 8);
    for (int lost = 0; lost < datagrams; ++lost) {
        SCOPED_TRACE(lost);
        run([lost](int number) { return number == lost ? Fate::lost : Fate::arrives; });
    }
}

TEST_P(UdpDialogue, EachDatagramDoubledInTurnYieldsOneLeaseAndOneTunnel) {
    const int datagrams = run({});
    for (int doubled = 0; doubled < datagrams; ++doubled) {
        SCOPED_TRACE(doubled);
        run([doubled](int number) { return number == doubled ? Fate::doubled : Fate::arrives; });
    }
    run([](int) { return Fate::doubled; });
}

TEST_P(UdpDialogue, EachDatagramOvertakenByWhatFollowsItYieldsOneLeaseAndOneTunnel) {
    const int datagrams = run({});
    for (int late = 0; late < datagrams; ++late) {
        SCOPED_TRACE(late);
        run([late](int number) { return number == late ? Fate::late : Fate::arrives; });
        run([late](int number) {
            return number == late ? Fate::late : number % 2 == 0 ? Fate::doubled : Fate::arrives;
        });
    }
}

TEST_P(UdpDialogue, EachPairOfLossesYieldsOneLeaseAndOneTunnel) {
    const int datagrams = run({});
    for (int first = 0; first < datagrams; ++first) {
        for (int second = first + 1; second <= first + 2; ++second) {
            SCOPED_TRACE(std::to_string(first) + " and " + std::to_string(second));
            run([=](int number) {
                return number == first || number == second ? Fate::lost : Fate::arrives;
            });
        }
    }
}

// The lease takes longer than the client waits: its repeats start nothing.
TEST_P(UdpDialogue, ASlowAnswerIsAskedForAgainButWorkedOutOnce) { run({}, 5s); }

TEST_P(UdpDialogue, AnyMixtureOfFatesYieldsAtMostOneLeaseAndOneTunnel) {
    for (unsigned seed = 0; seed < 200; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        // So many losses in a row that the client gives up are possible.
        run(
            [&](int) {
                const auto dice = random() % 10;
                return dice == 0   ? Fate::lost
                       : dice == 1 ? Fate::doubled
                       : dice == 2 ? Fate::late
                                   : Fate::arrives;
            },
            300ms, true);
    }
}

INSTANTIATE_TEST_SUITE_P(Mechanisms, UdpDialogue,
                         testing::Values(Shape{"ANONYMOUS", 0, ""}, Shape{"PLAIN", 0, ""},
                                         Shape{"DIGEST-MD5", 1, "rspauth=abc"},
                                         Shape{"SCRAM-SHA-256", 1, "v=abc"}),
                         [](const auto& shape) {
                             std::string name;
                             for (const char c : std::string(shape.param.mechanism)) {
                                 if (c != '-') name += c;
                             }
                             return name;
                         });

}  // namespace
}  // namespace dstm::tsp
