// When packets passed, as told by counters alone.
#include "common/dataplane/sightings.hpp"

#include <gtest/gtest.h>

namespace dstm::dataplane {
namespace {

TunnelCounters counted(std::uint64_t up, std::uint64_t down) {
    TunnelCounters counters;
    counters.packets_up = up;
    counters.packets_down = down;
    return counters;
}

TEST(Sightings, EachWayMovesWithItsOwnCounter) {
    const auto at = [](int second) { return from_unix(1'000'000 + second); };
    Sightings sightings;
    auto counters = counted(0, 0);
    sightings.note(counters, at(0));
    EXPECT_EQ(counters.last_seen(), WallTime());

    counters = counted(0, 3);
    sightings.note(counters, at(10));
    EXPECT_EQ(counters.last_seen_up, WallTime());
    EXPECT_EQ(counters.last_seen_down, at(10));

    counters = counted(2, 3);
    sightings.note(counters, at(20));
    EXPECT_EQ(counters.last_seen_up, at(20));
    EXPECT_EQ(counters.last_seen_down, at(10));
    EXPECT_EQ(counters.last_seen(), at(20));
}

TEST(Sightings, WhatIsNotLetInIsNotSeen) {
    const auto at = [](int second) { return from_unix(1'000'000 + second); };
    Sightings sightings;
    std::uint64_t dropped = 5;
    const auto asked = [&] { return dropped; };
    sightings.change_device(dropped);
    auto counters = counted(3, 0);
    dropped += 3;
    sightings.note(counters, at(0), asked);
    EXPECT_EQ(counters.last_seen_up, WallTime());
    counters = counted(6, 0);
    dropped += 2;
    sightings.note(counters, at(10), asked);
    EXPECT_EQ(counters.last_seen_up, at(10)) << "one of three";
}

TEST(Sightings, DropsAfterThePacketsWereCountedAreNoPacketsLetIn) {
    const auto at = [](int second) { return from_unix(1'000'000 + second); };
    Sightings sightings;
    std::uint64_t dropped = 0;
    const auto note = [&](std::uint64_t up, int second) {
        auto counters = counted(up, 0);
        sightings.note(counters, at(second), [&] { return dropped; });
        return counters.last_seen_up;
    };
    dropped = 105;
    EXPECT_EQ(note(100, 0), WallTime());
    dropped = 201;
    EXPECT_EQ(note(200, 10), WallTime());
    dropped = 300;
    EXPECT_EQ(note(300, 20), WallTime());
    EXPECT_EQ(note(301, 30), at(30));
    sightings.change_device(40);
    dropped = 49;
    EXPECT_EQ(note(310, 40), at(30)) << "nine more, and all dropped";
    sightings.begin_anew();
    dropped = 4;
    EXPECT_EQ(note(4, 50), at(30));
    EXPECT_EQ(note(5, 60), at(60)) << "less than were let in before";
}

TEST(Sightings, CounterThatBeginsAnewIsNoPacket) {
    const auto first = from_unix(1'000'000);
    const auto later = first + std::chrono::seconds(10);
    Sightings sightings;
    auto counters = counted(7, 0);
    sightings.note(counters, first);
    counters = counted(0, 0);
    sightings.note(counters, later);
    EXPECT_EQ(counters.last_seen_up, first);
    counters = counted(7, 0);
    sightings.note(counters, later);
    EXPECT_EQ(counters.last_seen_up, later) << "as many as before, and all of them new";
}

}  // namespace
}  // namespace dstm::dataplane
