// The stream socket by itself: a service that echoes, and peers that behave well and badly.
#include "kea-hook/stream.hpp"

#include <filesystem>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <log/logger_support.h>

#include "kea_peer.hpp"

namespace dstm::kea {
namespace {

const bool prepared = [] {
    isc::log::initLogger("dstm-test", isc::log::NONE);
    return true;
}();

class StreamTest : public testing::Test {
protected:
    StreamTest() { EXPECT_TRUE(prepared); }

    // Answers "<line>!"; a line "steps N" takes N steps.
    class Echo : public Stream::Work {
    public:
        explicit Echo(std::string line) : line_(std::move(line)) {
            if (line_.starts_with("steps ")) left_ = std::stoi(line_.substr(6));
        }
        bool step(std::string& out) override {
            if (--left_ > 0) return false;
            out += line_ == "big" ? std::string(300000, 'b') : line_ + "!";
            return true;
        }

    private:
        std::string line_;
        int left_ = 1;
    };

    void SetUp() override { open({}); }
    void TearDown() override {
        stream_.reset();
        std::filesystem::remove_all(folder_);
    }

    void open(StreamLimits limits) {
        stream_.reset();
        Stream::Handlers handlers;
        handlers.greet = [](ConnectionId) { return std::string("hello"); };
        handlers.start = [](ConnectionId, const std::string& line) {
            return std::make_unique<Echo>(line);
        };
        handlers.closed = [this](ConnectionId) { ++closed_; };
        handlers.woken = [this] { ++woken_; };
        handlers.hold = [] { return nullptr; };
        auto opened = Stream::open(path_, 0600, std::move(handlers), limits);
        ASSERT_TRUE(opened) << to_string(opened.error());
        stream_ = *std::move(opened);
    }

    // What Kea does: wait until readable, call. False: nothing for a while.
    bool turn(int timeout_ms = 0) {
        pollfd ready{stream_->fd(), POLLIN, 0};
        if (::poll(&ready, 1, timeout_ms) <= 0) return false;
        stream_->on_ready();
        return true;
    }
    std::function<void()> pump() {
        return [this] { turn(1); };
    }
    bool until(const std::function<bool()>& condition) { return wait_until(condition, pump()); }

    std::string folder_ = make_folder();
    std::string path_ = folder_ + "/s";
    std::unique_ptr<Stream> stream_;
    int closed_ = 0;
    int woken_ = 0;
};

TEST_F(StreamTest, TheSocketHasItsModeAndGoesWithTheStream) {
    struct stat info {};
    ASSERT_EQ(::stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);
    stream_.reset();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(StreamTest, ALivingSocketIsLeftAloneAStaleOneReplaced) {
    const auto again = Stream::open(path_, 0600, {});
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().context.find("served by another process"), std::string::npos);
    const std::string stale = folder_ + "/stale";
    {
        const Peer dead;
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        stale.copy(address.sun_path, sizeof(address.sun_path) - 1);
        ASSERT_EQ(::bind(dead.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    }
    ASSERT_TRUE(std::filesystem::exists(stale));
    EXPECT_TRUE(Stream::open(stale, 0600, {}));
    const std::string file = folder_ + "/file";
    ::close(::creat(file.c_str(), 0600));
    const auto on_file = Stream::open(file, 0600, {});
    ASSERT_FALSE(on_file);
    EXPECT_NE(on_file.error().context.find("is not a socket"), std::string::npos);
    EXPECT_TRUE(std::filesystem::exists(file));
}

TEST_F(StreamTest, RequestsAreAnsweredInTheirOrder) {
    Peer peer(path_);
    std::string all;
    std::vector<std::string> expected{"hello"};
    for (int i = 0; i < 3000; ++i) {
        const std::string line = i % 7 == 0 ? "steps 5" : std::to_string(i);
        all += line + "\n";
        expected.push_back(line + "!");
    }
    peer.send(all);
    EXPECT_EQ(peer.lines(expected.size(), pump()), expected);
}

TEST_F(StreamTest, ALineInPiecesIsOneLine) {
    Peer peer(path_);
    for (const char c : std::string("abc\n")) {
        peer.send(std::string(1, c));
        turn(1);
    }
    EXPECT_EQ(peer.lines(2, pump()), (std::vector<std::string>{"hello", "abc!"}));
}

TEST_F(StreamTest, ALongRequestDoesNotHoldUpAnotherPeer) {
    Peer slow(path_);
    Peer quick(path_);
    slow.send("steps 1000000000\n");
    quick.send("x\n");
    EXPECT_EQ(quick.lines(2, pump()), (std::vector<std::string>{"hello", "x!"}));
}

TEST_F(StreamTest, WorkIsCutAndTheDescriptorRests) {
    StreamLimits limits;
    limits.rest = std::chrono::milliseconds(50);
    open(limits);
    Peer peer(path_);
    ASSERT_EQ(peer.lines(1, pump()).size(), 1U);
    while (turn(0)) {
    }
    peer.send("steps 1000000000\n");
    const auto before = std::chrono::steady_clock::now();
    ASSERT_TRUE(turn(1000));
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(500));
    while (!turn(0) && std::chrono::steady_clock::now() - before < std::chrono::seconds(5)) {
    }
    EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(50));
}

TEST_F(StreamTest, APeerThatSaysTooMuchIsDropped) {
    Peer peer(path_);
    peer.send_from_thread(std::string(line_size_max + 10, 'x'));
    EXPECT_TRUE(until([&] { return closed_ == 1; }));
    EXPECT_EQ(stream_->connections(), 0U);
}

TEST_F(StreamTest, APeerThatDoesNotReadIsDroppedOthersGoOn) {
    StreamLimits limits;
    limits.output_max = 1 << 20;
    open(limits);
    Peer deaf(path_);
    Peer good(path_);
    ASSERT_TRUE(until([&] { return stream_->connections() == 2; }));
    const std::string event(1000, 'e');
    for (int i = 0; i < 3000 && closed_ == 0; ++i) {
        stream_->send(1, event);
        turn(0);
    }
    EXPECT_EQ(closed_, 1);
    good.send("x\n");
    EXPECT_EQ(good.lines(2, pump()), (std::vector<std::string>{"hello", "x!"}));
}

TEST_F(StreamTest, AnswersWaitForAPeerThatReadsLate) {
    Peer peer(path_);
    std::string all;
    for (int i = 0; i < 40; ++i) all += "big\n";  // 12 MB of answers, limit 8 MB
    peer.send(all);
    for (int i = 0; i < 50; ++i) turn(1);
    EXPECT_EQ(closed_, 0);
    const auto lines = peer.lines(41, pump());
    ASSERT_EQ(lines.size(), 41U);
    EXPECT_EQ(lines[40].size(), 300000U);
}

TEST_F(StreamTest, APeerThatDiesWithAnswersWaitingHarmsNobody) {
    for (int round = 0; round < 20; ++round) {
        Peer peer(path_);
        peer.send("big\nbig\nbig\n");
        turn(100);
    }
    EXPECT_TRUE(until([&] { return closed_ == 20 && stream_->connections() == 0; }));
}

TEST_F(StreamTest, APeerThatStopsSendingStillGetsItsAnswers) {
    Peer peer(path_);
    peer.send("a\nb\nunfinished");
    ::shutdown(peer.fd(), SHUT_WR);
    EXPECT_EQ(peer.lines(3, pump()), (std::vector<std::string>{"hello", "a!", "b!"}));
    EXPECT_TRUE(until([&] { return closed_ == 1; }));
}

TEST_F(StreamTest, ThereAreNoMorePeersThanAllowed) {
    StreamLimits limits;
    limits.connections = 3;
    open(limits);
    std::vector<std::unique_ptr<Peer>> peers;
    for (int i = 0; i < 5; ++i) {
        peers.push_back(std::make_unique<Peer>(path_));
        turn(100);
    }
    EXPECT_EQ(stream_->connections(), 3U);
    EXPECT_EQ(peers[0]->lines(1, pump()).size(), 1U);
    EXPECT_TRUE(peers[4]->is_closed(pump()));
    peers[0].reset();
    ASSERT_TRUE(until([&] { return stream_->connections() == 2; }));
    Peer late(path_);
    EXPECT_EQ(late.lines(1, pump()).size(), 1U);
}

TEST_F(StreamTest, WakeIsHeard) {
    stream_->wake();
    stream_->wake();
    ASSERT_TRUE(turn(100));
    EXPECT_EQ(woken_, 1);
}

}  // namespace
}  // namespace dstm::kea
