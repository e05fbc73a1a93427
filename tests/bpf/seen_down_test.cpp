// When packets went down, as it is found by looking at counters.
#include <vector>

#include <gtest/gtest.h>

#include "tep/bpf/seen_down.hpp"

namespace dstm::tep::bpf {
namespace {

class SeenDownTest : public testing::Test {
protected:
    void begin(Slot slot) { seen.begin(slot, entries[slot], 100); }
    void look(std::uint32_t now) { seen.look(0, entries, now); }
    [[nodiscard]] std::uint32_t last(Slot slot) { return seen.last(slot, entries[slot], 999); }

    std::vector<dstm_entry> entries{10'000};
    SeenDown seen;
};

TEST_F(SeenDownTest, WhatIsNewSinceTheLastLookCameByNow) {
    begin(7);
    look(200);
    EXPECT_EQ(last(7), 0u);
    ++entries[7].packets_down;
    EXPECT_EQ(last(7), 999u) << "nobody has looked yet";
    look(300);
    look(400);
    EXPECT_EQ(last(7), 300u);
    ++entries[7].packets_up;
    look(500);
    EXPECT_EQ(last(7), 300u);
}

TEST_F(SeenDownTest, WhatAnEarlierDaemonHasCountedCameAtTheStart) {
    entries[7].packets_down = 3;
    begin(7);
    EXPECT_EQ(last(7), 100u);
    look(200);
    EXPECT_EQ(last(7), 100u);
}

TEST_F(SeenDownTest, SlotThatServesAgainBeginsAnew) {
    begin(7);
    entries[7].packets_down = 3;
    look(200);
    entries[7] = {};
    begin(7);
    EXPECT_EQ(last(7), 0u);
    look(300);
    EXPECT_EQ(last(7), 0u);
}

// 2^32 packets pass in no interval between two looks; in all, they do.
TEST_F(SeenDownTest, NumbersOfMoreThan32Bits) {
    entries[7].packets_down = 0xffffffff;
    begin(7);
    ++entries[7].packets_down;
    look(200);
    EXPECT_EQ(last(7), 200u);
    look(300);
    EXPECT_EQ(last(7), 200u);
}

TEST_F(SeenDownTest, SlotsOfSeveralArrays) {
    for (const Slot slot : {2999U, 3000U, 4095U, 4096U, 9999U}) {
        begin(slot);
        entries[slot].packets_down = slot;
    }
    seen.look(3000, std::span(entries).subspan(3000), 300);
    seen.look(0, std::span(entries).first(3000), 200);
    EXPECT_EQ(last(2999), 200u);
    for (const Slot slot : {3000U, 4095U, 4096U, 9999U}) EXPECT_EQ(last(slot), 300u) << slot;
}

}  // namespace
}  // namespace dstm::tep::bpf
