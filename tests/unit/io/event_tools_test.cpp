// The small tools around the event loop: timers, signals, lines, sd_notify.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>

#include "common/io/asio.hpp"
#include "common/io/line_server.hpp"
#include "common/io/real_clock.hpp"
#include "common/io/sd_notify.hpp"
#include "common/io/signals.hpp"
#include "common/io/timer.hpp"
#include "support/event_loop.hpp"
#include "support/temp_dir.hpp"

namespace dstm::io {
namespace {

using std::chrono::milliseconds;
using test::run_until;
using Unix = asio::local::stream_protocol;

TEST(IoTimer, RunsOnce) {
    asio::io_context context;
    Timer timer(context);
    int runs = 0;
    timer.after(milliseconds(1), [&] { ++runs; });
    EXPECT_TRUE(timer.is_armed());
    ASSERT_TRUE(run_until(context, [&] { return runs > 0; }));
    test::run_ready(context);
    EXPECT_EQ(runs, 1);
    EXPECT_FALSE(timer.is_armed());
}

TEST(IoTimer, RearmedBeforeItRanForgetsTheEarlierFunction) {
    asio::io_context context;
    Timer timer(context);
    std::string ran;
    timer.after(milliseconds(0), [&] { ran += "a"; });
    timer.after(milliseconds(1), [&] { ran += "b"; });
    ASSERT_TRUE(run_until(context, [&] { return !ran.empty(); }));
    test::run_ready(context);
    EXPECT_EQ(ran, "b");
}

TEST(IoTimer, DestroyedOrCancelledNeverRuns) {
    asio::io_context context;
    bool ran = false;
    {
        Timer gone(context);
        gone.after(milliseconds(0), [&] { ran = true; });
    }
    Timer cancelled(context);
    cancelled.after(milliseconds(0), [&] { ran = true; });
    cancelled.cancel();
    test::run_ready(context);
    EXPECT_FALSE(ran);
}

TEST(IoTimer, MayBeRearmedAndDestroyedFromItsOwnFunction) {
    asio::io_context context;
    auto timer = std::make_unique<Timer>(context);
    int runs = 0;
    std::function<void()> again = [&] {
        if (++runs < 3)
            timer->after(milliseconds(0), again);
        else
            timer.reset();
    };
    timer->after(milliseconds(0), again);
    ASSERT_TRUE(run_until(context, [&] { return timer == nullptr; }));
    EXPECT_EQ(runs, 3);
}

TEST(IoTimer, ThatIsHeldByItsOwnFunctionGoesWithTheContext) {
    auto context = std::make_unique<asio::io_context>();
    auto timer = std::make_shared<Timer>(*context);
    timer->after(std::chrono::hours(1), [timer] {});
    const std::weak_ptr<Timer> armed = timer;
    timer.reset();
    EXPECT_FALSE(armed.expired());
    context.reset();
    EXPECT_TRUE(armed.expired());
}

TEST(IoTimer, TimersRunInTheOrderOfTheirTimes) {
    asio::io_context context;
    Timer late(context);
    Timer middle(context);
    Timer early(context);
    Timer never(context);
    std::string ran;
    late.after(milliseconds(3), [&] { ran += "c"; });
    never.after(milliseconds(2), [&] { ran += "x"; });
    early.after(milliseconds(1), [&] {
        ran += "a";
        never.cancel();
    });
    middle.after(milliseconds(2), [&] { ran += "b"; });
    ASSERT_TRUE(run_until(context, [&] { return ran.size() == 3; }));
    EXPECT_EQ(ran, "abc");
}

TEST(IoTimer, ContextIsBusyOnlyWhileATimerIsArmed) {
    asio::io_context context;
    Timer timer(context);
    Timer other(context);
    timer.after(std::chrono::hours(1), [] {});
    other.after(std::chrono::hours(2), [] {});
    EXPECT_EQ(context.poll(), 0u);
    EXPECT_FALSE(context.stopped());
    timer.cancel();
    context.poll();
    EXPECT_FALSE(context.stopped());
    other.cancel();
    context.poll();
    EXPECT_TRUE(context.stopped());
}

TEST(IoTimer, MayGoWithItsContext) {
    auto context = std::make_unique<asio::io_context>();
    auto timer = std::make_shared<Timer>(*context);
    timer->after(std::chrono::hours(1), [] {});
    const std::weak_ptr<Timer> watched = timer;
    asio::post(*context, [timer = std::move(timer)] {});
    context.reset();
    EXPECT_TRUE(watched.expired());
}

// A timer of CLOCK_MONOTONIC would be late by as long as the host sleeps.
TEST(IoTimer, KernelWakesItByTheClockThatCountsSleep) {
    asio::io_context context;
    Timer timer(context);
    timer.after(std::chrono::hours(1), [] {});
    std::set<std::string> clocks;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
        std::ifstream file(entry.path());
        std::string text(std::istreambuf_iterator<char>(file), {});
        // Asio has one of its own, which nothing here arms.
        const bool is_armed = text.find("clockid:") != std::string::npos &&
                              text.find("it_value: (0, 0)") == std::string::npos;
        if (is_armed) clocks.insert(text.substr(text.find("clockid:"), 10));
    }
    EXPECT_EQ(clocks, std::set<std::string>{"clockid: " + std::to_string(CLOCK_BOOTTIME)});
}

// A namespace whose CLOCK_BOOTTIME is a day ahead, as that of a host that has slept for one.
TEST(RealClock, CountsTheTimeThatAHostSleeps) {
    enum { counts, stands_still, no_namespace };
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        if (::unshare(CLONE_NEWTIME) != 0) ::_exit(no_namespace);
        std::ofstream offsets("/proc/self/timens_offsets");
        offsets << "boottime 86400 0" << std::endl;
        if (!offsets) ::_exit(no_namespace);
        const auto before = RealClock().now();
        const pid_t inside = ::fork();  // only children are in the namespace
        if (inside == 0) {
            const bool is_later = RealClock().now() - before >= std::chrono::hours(24);
            ::_exit(is_later ? counts : stands_still);
        }
        int status = 0;
        ::waitpid(inside, &status, 0);
        ::_exit(WEXITSTATUS(status));
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WEXITSTATUS(status) == no_namespace) GTEST_SKIP() << "no right to make a time namespace";
    EXPECT_EQ(WEXITSTATUS(status), counts);
}

TEST(IoSignals, EachSignalIsACallOnTheEventThread) {
    asio::io_context context;
    std::vector<int> seen;
    {
        const Signals signals(context, {SIGUSR1, SIGUSR2}, [&](int n) { seen.push_back(n); });
        std::raise(SIGUSR1);
        ASSERT_TRUE(run_until(context, [&] { return seen.size() == 1; }));
        std::raise(SIGUSR2);
        ASSERT_TRUE(run_until(context, [&] { return seen.size() == 2; }));
    }
    test::run_ready(context);
    EXPECT_EQ(seen, (std::vector{SIGUSR1, SIGUSR2}));
}

class LineServerTest : public testing::Test {
protected:
    void listen(LineServerLimits limits = {}) {
        auto made = LineServer::listen(
            context, path, [](const std::string& line) { return "<" + line + ">"; }, limits);
        ASSERT_TRUE(made) << to_string(made.error());
        server = std::move(*made);
    }
    // Reads until the server has sent `wanted` or closed.
    std::string read(Unix::socket& socket, const std::string& wanted) {
        std::string got;
        std::array<char, 1024> buffer{};
        socket.non_blocking(true);
        const auto read_some = [&] {
            ErrorCodeOfAsio error;
            const auto size = socket.read_some(asio::buffer(buffer), error);
            got.append(buffer.data(), size);
            if (error == asio::error::eof) got += "EOF";
            return got.size() >= wanted.size() || got.ends_with("EOF");
        };
        EXPECT_TRUE(run_until(context, read_some)) << got;
        return got;
    }
    Unix::socket dial() {
        Unix::socket socket(context);
        socket.connect(Unix::endpoint(path));
        return socket;
    }

    asio::io_context context;
    test::TempDir directory;
    std::string path = directory / "admin.sock";
    std::unique_ptr<LineServer> server;
};

TEST_F(LineServerTest, EachLineIsAnsweredByOneLine) {
    listen();
    auto socket = dial();
    asio::write(socket, asio::buffer(std::string("a\r\nb\nc")));
    EXPECT_EQ(read(socket, "<a>\n<b>\n"), "<a>\n<b>\n");
    asio::write(socket, asio::buffer(std::string("d\n")));
    EXPECT_EQ(read(socket, "<cd>\n"), "<cd>\n");
}

TEST_F(LineServerTest, LineThatIsTooLongEndsTheConnection) {
    LineServerLimits limits;
    limits.line_size_max = 10;
    listen(limits);
    auto socket = dial();
    asio::write(socket, asio::buffer(std::string(50, 'x')));
    // Unread input makes the close a reset.
    std::array<char, 16> buffer{};
    socket.non_blocking(true);
    ErrorCodeOfAsio error;
    ASSERT_TRUE(run_until(context, [&] {
        socket.read_some(asio::buffer(buffer), error);
        return error && error != asio::error::would_block;
    }));
}

TEST_F(LineServerTest, ConnectionsAreBoundedAndIdleOnesEnd) {
    LineServerLimits limits;
    limits.connections_max = 1;
    limits.idle_max = milliseconds(100);
    listen(limits);
    auto first = dial();
    auto second = dial();
    EXPECT_EQ(read(second, "EOF"), "EOF");
    EXPECT_EQ(read(first, "EOF"), "EOF");
    auto third = dial();
    asio::write(third, asio::buffer(std::string("a\n")));
    EXPECT_EQ(read(third, "<a>\n"), "<a>\n");
}

TEST_F(LineServerTest, SocketFileGoesWithTheServer) {
    listen();
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0660u);
    server.reset();
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(IoSdNotify, SendsOneDatagramToTheNamedSocketAndNothingWithoutOne) {
    test::TempDir directory;
    const std::string path = directory / "notify";
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(fd, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);

    ::unsetenv("NOTIFY_SOCKET");
    EXPECT_TRUE(sd_notify("READY=1"));
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    EXPECT_TRUE(sd_notify("READY=1"));
    std::array<char, 64> buffer{};
    EXPECT_EQ(::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT), 7);
    EXPECT_STREQ(buffer.data(), "READY=1");
    EXPECT_LT(::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT), 0);
    ::close(fd);
    ::unlink(path.c_str());
    EXPECT_FALSE(sd_notify("READY=1"));
    ::unsetenv("NOTIFY_SOCKET");
}

TEST(IoSdNotify, WatchdogIntervalIsThisProcesssOwnAndANumber) {
    ::unsetenv("WATCHDOG_PID");
    ::unsetenv("WATCHDOG_USEC");
    EXPECT_FALSE(watchdog_interval());
    ::setenv("WATCHDOG_USEC", "30000000", 1);
    EXPECT_EQ(watchdog_interval(), std::chrono::seconds(30));
    ::setenv("WATCHDOG_PID", "1", 1);
    EXPECT_FALSE(watchdog_interval());
    ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
    EXPECT_EQ(watchdog_interval(), std::chrono::seconds(30));
    for (const char* wrong : {"", "0", "-5", "30s"}) {
        ::setenv("WATCHDOG_USEC", wrong, 1);
        EXPECT_FALSE(watchdog_interval()) << wrong;
    }
    ::unsetenv("WATCHDOG_PID");
    ::unsetenv("WATCHDOG_USEC");
}

}  // namespace
}  // namespace dstm::io
