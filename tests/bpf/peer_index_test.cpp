// Which tunnels lead to a far end, and what is known of the path there.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "tep/bpf/learned_mtus.hpp"
#include "tep/bpf/peer_index.hpp"

namespace dstm::tep::bpf {
namespace {

std::set<Slot> slots_of(const PeerIndex<int>& index, int peer) {
    std::set<Slot> out;
    index.for_each(peer, [&](Slot slot) {
        EXPECT_TRUE(out.insert(slot).second) << "told twice";
    });
    return out;
}

TEST(PeerIndex, TellsTheTunnelsOfOnePeer) {
    PeerIndex<int> index;
    EXPECT_FALSE(index.contains(1));
    index.add(1, 7);
    index.add(2, 1000);
    index.add(1, 3);
    EXPECT_EQ(slots_of(index, 1), (std::set<Slot>{3, 7}));
    EXPECT_EQ(slots_of(index, 2), (std::set<Slot>{1000}));
    index.remove(1, 7);
    index.remove(2, 1000);
    EXPECT_EQ(slots_of(index, 1), (std::set<Slot>{3}));
    EXPECT_FALSE(index.contains(2));
}

TEST(PeerIndex, RandomChangesLeaveWhatASlowOneHas) {
    for (const unsigned seed : {1u, 2u, 3u}) {
        std::mt19937 random(seed);
        PeerIndex<int> index;
        std::map<int, std::set<Slot>> model;
        std::map<Slot, int> peer_of;
        for (int round = 0; round < 20'000; ++round) {
            const auto slot = static_cast<Slot>(random() % 200);
            const int peer = static_cast<int>(random() % 40);
            if (const auto standing = peer_of.find(slot); standing != peer_of.end()) {
                index.remove(standing->second, slot);
                model[standing->second].erase(slot);
                peer_of.erase(standing);
            } else {
                index.add(peer, slot);
                model[peer].insert(slot);
                peer_of[slot] = peer;
            }
            ASSERT_EQ(slots_of(index, peer), model[peer]);
            ASSERT_EQ(index.contains(peer), !model[peer].empty());
        }
    }
}

const Instant start(std::chrono::hours(5));
const IpAddress one = Ipv6Address::parse("2001:db8::1").value();
const IpAddress other = Ipv4Address::parse("192.0.2.1").value();

TEST(LearnedMtus, HoldForTenMinutes) {
    LearnedMtus learned;
    EXPECT_EQ(learned.of(one), 0);
    learned.learn(one, 1400, start);
    learned.learn(other, 1300, start + std::chrono::minutes(1));
    EXPECT_TRUE(learned.forget_old(start + dataplane::path_mtu_lifetime - Duration(1)).empty());
    EXPECT_EQ(learned.of(one), 1400);
    EXPECT_EQ(learned.forget_old(start + dataplane::path_mtu_lifetime), std::vector{one});
    EXPECT_EQ(learned.of(one), 0);
    EXPECT_EQ(learned.of(other), 1300);
}

TEST(LearnedMtus, NewsHoldFromTheirOwnTimeOn) {
    LearnedMtus learned;
    learned.learn(one, 1400, start);
    learned.learn(one, 1300, start + std::chrono::minutes(9));
    EXPECT_TRUE(learned.forget_old(start + std::chrono::minutes(18)).empty());
    EXPECT_EQ(learned.of(one), 1300);
    EXPECT_EQ(learned.forget_old(start + std::chrono::minutes(19)), std::vector{one});
    learned.learn(one, 1350, start + std::chrono::minutes(20));
    EXPECT_EQ(learned.of(one), 1350) << "and may be learned again";
}

}  // namespace
}  // namespace dstm::tep::bpf
