// A host that sleeps (suspend to RAM), which only a guest may do: guest.py. Its root is a 9p mount,
// which does not come back: what runs afterwards is in memory before, and nothing can end but the
// guest.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/reboot.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "common/io/timer.hpp"

namespace dstm {
namespace {

using namespace std::chrono_literals;

bool is_guest() { return std::getenv("DSTM_GUEST") != nullptr; }

bool write_to(const char* path, const char* text) {
    std::ofstream file(path);
    file << text << std::flush;
    return static_cast<bool>(file);
}

TEST(HostThatSleeps, LosesNoTimeAndIsLateForNothing) {
    if (!is_guest()) GTEST_SKIP() << "puts its host to sleep";
    const RealClock clock;
    asio::io_context context;
    io::Timer due(context);      // while it sleeps
    io::Timer not_due(context);  // for long
    bool ran = false;
    bool ran_early = false;
    due.after(6s, [&] { ran = true; });
    not_due.after(1h, [&] { ran_early = true; });
    context.poll();
    ASSERT_EQ(::mlockall(MCL_CURRENT), 0);

    const auto before = clock.now();
    const auto awake_before = std::chrono::steady_clock::now();
    ASSERT_TRUE(write_to("/sys/class/rtc/rtc0/wakealarm", "+12"));
    ASSERT_TRUE(write_to("/sys/power/state", "mem"));
    const auto awake = std::chrono::steady_clock::now() - awake_before;
    const auto elapsed = clock.now() - before;
    ASSERT_LT(awake, 4s) << "it did not sleep";
    EXPECT_GE(elapsed, 8s);

    context.run_for(1s);
    EXPECT_TRUE(ran) << "late by as long as it slept";
    EXPECT_FALSE(ran_early);
}

}  // namespace
}  // namespace dstm

int main(int count, char** arguments) {
    testing::InitGoogleTest(&count, arguments);
    const int outcome = RUN_ALL_TESTS();
    if (!dstm::is_guest()) return outcome;
    std::printf("guest: the command ended with %d\n", outcome);  // what guest.py waits for
    std::fflush(stdout);
    return ::reboot(RB_AUTOBOOT);
}
