// A table of nftables that lives as long as its owner.
#include "common/dataplane/nft_table.hpp"

#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/dataplane/traffic.hpp"

namespace dstm::dataplane::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* drops_udp =
    " counter dropped { }\n"
    " chain out {\n  type filter hook output priority filter\n"
    "  udp dport 7 counter name dropped drop\n }\n";

class NftTables : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto why = why_no_namespaces(); !why.empty()) GTEST_SKIP() << why;
        host = std::make_unique<Namespace>("n");
    }
    [[nodiscard]] std::string tables() const { return host->exec("nft list tables"); }
    std::unique_ptr<Namespace> host;
};

TEST_F(NftTables, StandsAndCountsAndGoesWithItsObject) {
    auto table = host->in([] { return NftTable::add("inet", "dstm-test", drops_udp); });
    ASSERT_TRUE(table) << to_string(table.error());
    EXPECT_THAT(tables(), HasSubstr("table inet dstm-test-"));
    EXPECT_EQ(table->packets("dropped"), 0u);
    const auto socket =
        host->in([] { return Descriptor(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    const auto to = socket_address("127.0.0.1");
    EXPECT_EQ(::sendto(socket.number(), "x", 1, 0, &to.any, sizeof to.v4), -1);
    EXPECT_EQ(table->packets("dropped"), 1u);
    EXPECT_EQ(table->packets("another"), 0u);
    const auto second = host->in([] { return NftTable::add("inet", "dstm-test", drops_udp); });
    EXPECT_TRUE(second) << "of the same name";
    table = fail(ErrorCode::closed, "");
    EXPECT_THAT(tables(), HasSubstr("table inet dstm-test-")) << "the second one's";
}

TEST_F(NftTables, GoesWithAProcessThatIsKilled) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const auto table = host->in([] { return NftTable::add("inet", "dstm-test", drops_udp); });
        if (::write(pipe[1], table ? "y" : "n", 1) == 1) ::pause();
        ::_exit(1);
    }
    char done = 0;
    ASSERT_EQ(::read(pipe[0], &done, 1), 1);
    EXPECT_EQ(done, 'y');
    EXPECT_THAT(tables(), HasSubstr("dstm-test"));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_THAT(tables(), Not(HasSubstr("dstm-test")));
}

TEST_F(NftTables, WhatTheKernelOrNftDoesNotTakeIsSaidAndLeavesNothing) {
    const auto wrong =
        host->in([] { return NftTable::add("inet", "dstm-test", " chain out { nonsense }\n"); });
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, ErrorCode::unavailable);
    EXPECT_THAT(wrong.error().context, HasSubstr("nftables: Error: syntax error"));
    EXPECT_THAT(wrong.error().context, Not(HasSubstr("\n")));
    EXPECT_EQ(tables(), "");
}

}  // namespace
}  // namespace dstm::dataplane::testing
