// The advisory search for a free address: against a set that says what is in use.
#include "kea-hook/free_addresses.hpp"

#include <random>
#include <set>

#include <gtest/gtest.h>

namespace dstm::kea {
namespace {

class FreeAddressesTest : public testing::Test {
protected:
    std::vector<Number> page(Number from, std::size_t limit) {
        ++pages_read;
        std::vector<Number> result;
        for (auto i = used.lower_bound(from); i != used.end() && result.size() < limit; ++i) {
            result.push_back(*i);
        }
        return result;
    }

    std::optional<Number> take(const AddressRange& range) {
        const auto address = free.next(range, now);
        if (!address) return address;
        EXPECT_TRUE(used.insert(*address).second)
            << static_cast<std::uint64_t>(*address) << " was in use";
        free.taken(range);
        return address;
    }

    std::set<Number> used;
    std::size_t pages_read = 0;
    FreeAddresses::Time now;
    FreeAddresses free{
        [this](const AddressRange&, Number from, std::size_t limit) { return page(from, limit); }};
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
    free.freed(0, 111);
    EXPECT_EQ(take(small), 111U);
    EXPECT_EQ(take(small), std::nullopt);
}

TEST_F(FreeAddressesTest, AnAddressFreedBehindTheCursorIsFound) {
    for (int i = 0; i < 15; ++i) ASSERT_TRUE(take(small));
    used.erase(103);
    free.freed(0, 103);
    EXPECT_EQ(take(small), 115U);
    EXPECT_EQ(take(small), 103U);
    EXPECT_EQ(take(small), std::nullopt);
}

TEST_F(FreeAddressesTest, APoolOfPrefixesIsWalkedInTheirSize) {
    const Number base = Number{0x20010db8} << 96;
    const Number size = Number{1} << 72;  // a /56 each
    const AddressRange prefixes{base, base + 4 * size - 1, size, 2};
    used = {base + size, base + size + 5};  // the second is nobody's prefix
    EXPECT_EQ(take(prefixes), base);
    EXPECT_EQ(take(prefixes), base + 2 * size);
    EXPECT_EQ(take(prefixes), base + 3 * size);
    EXPECT_EQ(take(prefixes), std::nullopt);
    used.erase(base + size);
    free.freed(0, base + size);      // of another kind
    free.freed(2, base + size + 5);  // between two prefixes
    EXPECT_EQ(take(prefixes), std::nullopt);
    free.freed(2, base + size);
    EXPECT_EQ(take(prefixes), base + size);
}

TEST_F(FreeAddressesTest, APoolOfMoreThan64BitsIsWalkedFromItsStart) {
    const Number base = Number{0x20010db8} << 96;
    const AddressRange wide{base + 1, base + (Number{1} << 80) - 1, 1, 0};
    used = {base + 1, base + 2};
    EXPECT_EQ(take(wide), base + 3);
    EXPECT_EQ(take(wide), base + 4);
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
    FreeAddresses dense{[&looked](const AddressRange&, Number from, std::size_t limit) {
        looked += limit;
        std::vector<Number> result(limit);
        for (std::size_t i = 0; i < limit; ++i) result[i] = from + i;
        return result;
    }};
    EXPECT_EQ(dense.next(wide, now), std::nullopt);
    EXPECT_LE(looked, FreeAddresses::scan_max + FreeAddresses::page_size);
}

TEST_F(FreeAddressesTest, RandomTakesAndGivesNeverMissAFreeAddress) {
    const AddressRange range{1000, 1999};
    std::mt19937 random(42);
    std::set<Number> mine;
    for (int i = 0; i < 50000; ++i) {
        const bool give = random() % 100 < 48 && !mine.empty();
        if (give) {
            auto victim = mine.lower_bound(1000 + random() % 1000);
            if (victim == mine.end()) victim = mine.begin();
            used.erase(*victim);
            free.freed(0, *victim);
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
