// Loading and unloading, as each of Kea's reconfigurations does.
#include "kea_fixture.hpp"

#include <filesystem>
#include <fstream>

namespace dstm::kea {
namespace {

class KeaHookLoad : public KeaTest {};

TEST_F(KeaHookLoad, LoadsAndUnloadsAgainAndAgainLeavingNothing) {
    const auto descriptors = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    };
    ASSERT_TRUE(load());
    unload();
    const auto before = descriptors();
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(load());
        configured();
        EXPECT_TRUE(std::filesystem::is_socket(socket_));
        EXPECT_EQ(result_of(command("dstm4-status")), 0);
        Peer peer(socket_);
        EXPECT_EQ(peer.lines(1, pumping()).size(), 1U);
        unload();
        EXPECT_FALSE(std::filesystem::exists(socket_));
        EXPECT_TRUE(peer.is_closed([] {}));
        EXPECT_EQ(result_of(command("dstm4-status")), 2) << "the command is still there";
    }
    EXPECT_EQ(descriptors(), before);
}

TEST_F(KeaHookLoad, BadParametersRefuse) {
    EXPECT_FALSE(load(""));
    EXPECT_FALSE(load("{}"));
    EXPECT_FALSE(load(R"({"socket-name": "relative"})"));
    EXPECT_FALSE(load("{\"socket-name\": \"" + socket_ + "\", \"socket-mode\": \"x\"}"));
    EXPECT_FALSE(load("{\"socket-name\": \"" + socket_ + "\", \"unknown\": 1}"));
    EXPECT_FALSE(std::filesystem::exists(socket_));
    EXPECT_TRUE(load());
}

TEST_F(KeaHookLoad, ASocketThatCannotBeOpenedRefuses) {
    std::ofstream(socket_) << "a file";
    EXPECT_FALSE(load());
    EXPECT_TRUE(std::filesystem::is_regular_file(socket_));
}

}  // namespace
}  // namespace dstm::kea
