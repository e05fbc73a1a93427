// What is pinned for a device, with the BPF file system of this host.
#include "tep/bpf/pins.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
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
        one = make_map("pool_1");
        two = make_map("pool_2");
        three = make_map("records_1");
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
    ASSERT_TRUE(pins->replace({{"pool_1", one.number()}, {"pool_2", two.number()}}));
    EXPECT_EQ(names(), (std::vector<std::string>{"pool_1", "pool_2"}));
    ASSERT_TRUE(pins->replace({{"records_1", three.number()}, {"pool_2", two.number()}}));
    EXPECT_EQ(names(), (std::vector<std::string>{"pool_2", "records_1"}));
}

TEST_F(PinsOfDevice, WhatCannotBePinnedLeavesWhatWasThere) {
    ASSERT_TRUE(pins->replace({{"pool_1", one.number()}}));
    EXPECT_FALSE(pins->replace({{"pool_2", two.number()}, {"records_1", -1}}));
    EXPECT_EQ(names(), (std::vector<std::string>{"pool_1"}));
}

TEST_F(PinsOfDevice, HalfOfAReplacementIsNoHindrance) {
    ASSERT_TRUE(pins->replace({{"pool_1", one.number()}}));
    pin_by_hand(two, pins->directory() + ",new", "pool_2");
    EXPECT_EQ(names(), (std::vector<std::string>{"pool_1"}));
    ASSERT_TRUE(pins->replace({{"records_1", three.number()}}));
    EXPECT_EQ(names(), (std::vector<std::string>{"records_1"}));
    pin_by_hand(two, pins->directory() + ",new", "pool_2");
    EXPECT_TRUE(pins->remove());
    EXPECT_FALSE(fs::exists(pins->directory() + ",new"));
}

// Daemons of before pinned under this name first.
TEST_F(PinsOfDevice, NameOfTheUnfinishedIsNoHindrance) {
    ASSERT_TRUE(pins->replace({{"pool_1", one.number()}}));
    pin_by_hand(two, pins->directory(), "fresh");
    EXPECT_EQ(names(), (std::vector<std::string>{"pool_1"}));
    ASSERT_TRUE(pins->replace({{"pool_1", one.number()}}));
    EXPECT_FALSE(fs::exists(pins->directory() + "/fresh"));
}

TEST_F(PinsOfDevice, NameThatIsNotOursStaysAndIsNamed) {
    ASSERT_TRUE(pins->replace({{"pool_1", one.number()}}));
    const auto others = make_map("others");
    pin_by_hand(others, pins->directory(), "others");
    const auto maps = pins->maps();
    ASSERT_FALSE(maps);
    EXPECT_EQ(maps.error().code, ErrorCode::conflict);
    EXPECT_NE(maps.error().context.find("/others is pinned by something else"), std::string::npos);
    EXPECT_EQ(pins->replace({{"pool_1", one.number()}}).error().code, ErrorCode::conflict);
    EXPECT_EQ(pins->remove().error().code, ErrorCode::conflict);
    std::vector<fs::path> left(fs::directory_iterator(pins->directory()), {});
    EXPECT_EQ(left, (std::vector<fs::path>{pins->directory() + "/others"}));
    fs::remove(left[0]);
}

TEST_F(PinsOfDevice, WhatStandsInPlaceOfTheDirectoryStays) {
    for (const auto& place : {pins->directory(), pins->directory() + ",new"}) {
        fs::create_directories(fs::path(place).parent_path());
        ASSERT_EQ(bpf_obj_pin(one.number(), place.c_str()), 0) << std::strerror(errno);
        EXPECT_FALSE(pins->exist());
        EXPECT_EQ(pins->maps().error().code, ErrorCode::conflict);
        EXPECT_EQ(pins->replace({{"pool_1", one.number()}}).error().code, ErrorCode::conflict);
        EXPECT_EQ(pins->remove().error().code, ErrorCode::conflict);
        EXPECT_TRUE(fs::exists(place)) << place;
        fs::remove(place);
    }
}

// Runs in a process of its own, whose user and file systems are its own too.
bool holds_elsewhere(const std::function<bool()>& holds) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(holds() ? 0 : 1);
    int status = 1;
    return ::waitpid(child, &status, 0) == child && status == 0;
}

TEST_F(PinsOfDevice, AnotherUserIsToldThatRightsAreMissing) {
    ASSERT_TRUE(pins->replace({{"pool_1", one.number()}}));
    EXPECT_TRUE(holds_elsewhere([] {
        constexpr uid_t nobody = 65534;
        if (::setuid(nobody) != 0) return false;
        const auto opened = Pins::open("dstm0");
        return !opened && opened.error().code == ErrorCode::refused &&
               opened.error().context.find("rights of root") != std::string::npos;
    }));
}

TEST_F(PinsOfDevice, LookingMountsNothing) {
    EXPECT_TRUE(holds_elsewhere([] {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
            return false;
        }
        while (::umount2("/sys/fs/bpf", MNT_DETACH) == 0) {
        }
        const auto opened = Pins::open("dstm0");
        return opened && opened->maps() && opened->remove() && !Pins::is_mounted();
    }));
}

TEST_F(PinsOfDevice, ForeignPinHidesNoOther) {
    ASSERT_TRUE(pins->replace({{"pool_1", one.number()}, {"pool_2", two.number()}}));
    pin_by_hand(three, pins->directory(), "pool_4");
    const auto maps = pins->maps();
    ASSERT_FALSE(maps);
    EXPECT_EQ(maps.error().code, ErrorCode::conflict);
    const auto good = pins->good_maps();
    EXPECT_EQ(good.size(), 2u);
    EXPECT_TRUE(good.contains("pool_1"));
    EXPECT_TRUE(good.contains("pool_2"));
}

}  // namespace
}  // namespace dstm::tep::bpf
