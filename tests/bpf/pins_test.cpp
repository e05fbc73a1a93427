// What is pinned for a device, with the BPF file system of this host.
#include "tep/bpf/pins.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;
namespace fs = std::filesystem;

class PinsOfDevice : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "making BPF maps needs root";
        auto opened = Pins::open("pins" + std::to_string(::getpid()));
        ASSERT_TRUE(opened) << to_string(opened.error());
        pins.emplace(std::move(*opened));
        one = make_map("one");
        two = make_map("two");
        three = make_map("three");
    }
    void TearDown() override {
        if (!pins) return;
        EXPECT_TRUE(pins->remove());
    }

    [[nodiscard]] static Descriptor make_map(const char* name) {
        Descriptor map(bpf_map_create(BPF_MAP_TYPE_ARRAY, name, 4, 8, 1, nullptr));
        EXPECT_TRUE(map.is_open()) << std::strerror(errno);
        return map;
    }
    void pin_by_hand(const Descriptor& map, const std::string& directory, const char* name) {
        fs::create_directories(directory);
        ASSERT_EQ(bpf_obj_pin(map.number(), (directory + "/" + name).c_str()), 0);
    }
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> out;
        const auto maps = pins->maps().value();
        for (const auto& map : maps) out.push_back(map.first);
        return out;
    }

    Descriptor one;
    Descriptor two;
    Descriptor three;
    std::optional<Pins> pins;
};

TEST_F(PinsOfDevice, AllAreReplacedTogether) {
    ASSERT_TRUE(pins->replace({{"one", one.number()}, {"two", two.number()}}));
    EXPECT_EQ(names(), (std::vector<std::string>{"one", "two"}));
    ASSERT_TRUE(pins->replace({{"three", three.number()}, {"two", two.number()}}));
    EXPECT_EQ(names(), (std::vector<std::string>{"three", "two"}));
}

TEST_F(PinsOfDevice, WhatCannotBePinnedLeavesWhatWasThere) {
    ASSERT_TRUE(pins->replace({{"one", one.number()}}));
    EXPECT_FALSE(pins->replace({{"two", two.number()}, {"three", -1}}));
    EXPECT_EQ(names(), (std::vector<std::string>{"one"}));
}

TEST_F(PinsOfDevice, HalfOfAReplacementIsNoHindrance) {
    ASSERT_TRUE(pins->replace({{"one", one.number()}}));
    pin_by_hand(two, pins->directory() + ",new", "two");
    EXPECT_EQ(names(), (std::vector<std::string>{"one"}));
    ASSERT_TRUE(pins->replace({{"three", three.number()}}));
    EXPECT_EQ(names(), (std::vector<std::string>{"three"}));
    pin_by_hand(two, pins->directory() + ",new", "two");
    EXPECT_TRUE(pins->remove());
    EXPECT_FALSE(fs::exists(pins->directory() + ",new"));
}

// Daemons of before pinned under this name first.
TEST_F(PinsOfDevice, NameOfTheUnfinishedIsNoHindrance) {
    ASSERT_TRUE(pins->replace({{"one", one.number()}}));
    pin_by_hand(two, pins->directory(), "fresh");
    EXPECT_EQ(names(), (std::vector<std::string>{"one"}));
    ASSERT_TRUE(pins->replace({{"one", one.number()}}));
    EXPECT_FALSE(fs::exists(pins->directory() + "/fresh"));
}

TEST_F(PinsOfDevice, ForeignPinHidesNoOther) {
    ASSERT_TRUE(pins->replace({{"one", one.number()}, {"two", two.number()}}));
    pin_by_hand(three, pins->directory(), "four");
    const auto maps = pins->maps();
    ASSERT_FALSE(maps);
    EXPECT_EQ(maps.error().code, ErrorCode::conflict);
    const auto good = pins->good_maps();
    EXPECT_EQ(good.size(), 2u);
    EXPECT_TRUE(good.contains("one"));
    EXPECT_TRUE(good.contains("two"));
}

}  // namespace
}  // namespace dstm::tep::bpf
