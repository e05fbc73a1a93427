// The advisory search for a free address: against a set that says what is in use.
#include "kea-hook/free_addresses.hpp"

#include <random>
#include <set>

#include <gtest/gtest.h>

namespace dstm::kea {
namespace {

class FreeAddressesTest : public testing::Test {
protected:
    std::vector<std::uint32_t> page(std::uint32_t from, std::size_t limit) {
        ++pages_read;
        std::vector<std::uint32_t> result;
        for (auto i = used.lower_bound(from); i != used.end() && result.size() < limit; ++i) {
            result.push_back(*i);
        }
        return result;
    }

    std::optional<std::uint32_t> take(const AddressRange& range) {
        const auto address = free.next(range, now);
        if (!address) return address;
        EXPECT_TRUE(used.insert(*address).second) << *address << " was in use";
        free.taken(range);
        return address;
    }

    std::set<std::uint32_t> used;
    std::size_t pages_read = 0;
    FreeAddresses::Time now;
    FreeAddresses free{[this](std::uint32_t from, std::size_t limit) { return page(from, limit); }};
    const AddressRange small{100, 115};
};

TEST_F(FreeAddressesTest, EveryAddressOfAPoolIsGivenOnceThenNone) {
    for (std::uint32_t address = 100; address <= 115; ++address) EXPECT_EQ(take(small), address);
    EXPECT_EQ(take(small), std::nullopt);
}

TEST_F(FreeAddressesTest, TheWholeAddressSpaceIsAPool) {
    const AddressRange all{0, 0xFFFFFFFF};
    used = {0, 1, 0xFFFFFFFF};
    EXPECT_EQ(take(all), 2U);
    EXPECT_EQ(take(all), 3U);
}

TEST_F(FreeAddressesTest, AFullPoolIsNotWalkedAgainUntilTheFindingIsOld) {
    while (take(small)) {
    }
    pages_read = 0;
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(take(small), std::nullopt);
    EXPECT_EQ(pages_read, 0U);
    used.erase(107);  // nobody told
    now += FreeAddresses::full_trust_max;
    EXPECT_EQ(take(small), 107U);
}

TEST_F(FreeAddressesTest, AnAddressFreedInAFullPoolIsNext) {
    while (take(small)) {
    }
    used.erase(111);
    free.freed(111);
    EXPECT_EQ(take(small), 111U);
    EXPECT_EQ(take(small), std::nullopt);
}

TEST_F(FreeAddressesTest, AnAddressFreedBehindTheCursorIsFound) {
    for (int i = 0; i < 15; ++i) ASSERT_TRUE(take(small));
    used.erase(103);
    free.freed(103);
    EXPECT_EQ(take(small), 115U);
    EXPECT_EQ(take(small), 103U);
    EXPECT_EQ(take(small), std::nullopt);
}

TEST_F(FreeAddressesTest, CandidatesThatAreRefusedEndInFull) {
    for (std::uint32_t address = 100; address <= 115; ++address) {
        EXPECT_EQ(free.next(small, now), address);  // refused: reserved for others, say
    }
    EXPECT_EQ(free.next(small, now), std::nullopt);
    pages_read = 0;
    EXPECT_EQ(free.next(small, now), std::nullopt);
    EXPECT_EQ(pages_read, 0U);
}

TEST_F(FreeAddressesTest, OneRequestLooksAtABoundedNumberOfLeases) {
    const AddressRange wide{0, 0xFFFFFF};
    std::size_t looked = 0;
    FreeAddresses dense{[&looked](std::uint32_t from, std::size_t limit) {
        looked += limit;
        std::vector<std::uint32_t> result(limit);
        for (std::size_t i = 0; i < limit; ++i) result[i] = from + static_cast<std::uint32_t>(i);
        return result;
    }};
    EXPECT_EQ(dense.next(wide, now), std::nullopt);
    EXPECT_LE(looked, FreeAddresses::scan_max + FreeAddresses::page_size);
}

TEST_F(FreeAddressesTest, RandomTakesAndGivesNeverMissAFreeAddress) {
    const AddressRange range{1000, 1999};
    std::mt19937 random(42);
    std::set<std::uint32_t> mine;
    for (int i = 0; i < 50000; ++i) {
        const bool give = random() % 100 < 48 && !mine.empty();
        if (give) {
            auto victim = mine.lower_bound(static_cast<std::uint32_t>(1000 + random() % 1000));
            if (victim == mine.end()) victim = mine.begin();
            used.erase(*victim);
            free.freed(*victim);
            mine.erase(victim);
        } else {
            const auto address = take(range);
            ASSERT_EQ(address.has_value(), mine.size() < 1000) << "step " << i;
            if (address) mine.insert(*address);
        }
    }
}

}  // namespace
}  // namespace dstm::kea
