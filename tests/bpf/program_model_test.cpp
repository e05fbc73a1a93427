// Random packets through the programs and through the reference model must fare the same.
#include <linux/pkt_cls.h>

#include "bpf/ipv4_endpoint.hpp"
#include "bpf/random_packets.hpp"
#include "common/base/bytes.hpp"

namespace dstm::test {
namespace {

constexpr int rounds = 20'000;
constexpr unsigned seed = 4711;

using ProgramAndModel = Ipv4Endpoint;

TEST_F(ProgramAndModel, WrapTheSamePacketsInTheSameWay) {
    Dice dice(seed);
    for (int i = 0; i < rounds && !HasFailure(); ++i) {
        SCOPED_TRACE(i);
        auto packet = random_inner(dice, likely_addresses());
        mutilate(dice, packet);
        // The kernel's test bench reads 20 bytes of what says to be IPv4; and what does not say so
        // is none for this program.
        if (packet.size() < 20 || packet[0] >> 4 == 6) continue;
        const auto model = model::encapsulate(world, packet, now);
        const auto program = endpoint->down(packet);
        if (program.verdict == TC_ACT_OK) {
            // Left to the daemon: only for its size.
            EXPECT_GT(load16(packet, 2) + 40, 1500);
        } else if (program.verdict == TC_ACT_REDIRECT) {
            EXPECT_EQ(model.counter, "");
            EXPECT_EQ(program.packet, model.packet);
        } else {
            EXPECT_NE(model.counter, "");
            ++expected[model.counter];
        }
    }
    EXPECT_EQ(endpoint->drops(), expected);
}

TEST_F(ProgramAndModel, UnwrapTheSamePacketsInTheSameWay) {
    Dice dice(seed + 1);
    int carried = 0;
    for (int i = 0; i < rounds && !HasFailure(); ++i) {
        SCOPED_TRACE(i);
        auto packet = random_inner(dice, likely_addresses());
        mutilate(dice, packet);
        const auto outer = random_outer(dice);
        const auto whole = make(outer, packet);
        const auto model = model::decapsulate(world, whole, now);
        const auto program = endpoint->up(whole);
        EXPECT_EQ(program.verdict == TC_ACT_UNSPEC, !is_for_a_program(outer));
        if (program.verdict == TC_ACT_UNSPEC) {
            EXPECT_EQ(program.packet, whole);
        } else if (program.verdict == TC_ACT_OK) {
            ++carried;
            EXPECT_EQ(model.counter, "");
            EXPECT_EQ(program.packet, model.packet);
        } else if (program.verdict == TC_ACT_REDIRECT) {
            // A hairpin: what the kernel would route back, one hop later.
            EXPECT_EQ(model.counter, "");
            EXPECT_EQ(program.packet, model::encapsulate(world, routed(model.packet), now).packet);
        } else {
            EXPECT_NE(model.counter, "");
            ++expected[model.counter];
        }
    }
    EXPECT_GT(carried, rounds / 40);
    EXPECT_EQ(endpoint->drops(), expected);
}

}  // namespace
}  // namespace dstm::test
