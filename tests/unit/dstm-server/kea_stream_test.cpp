// The lease store over a UNIX socket with a scripted hook at its other end.
#include "dstm-server/lease/kea_stream.hpp"

#include <gtest/gtest.h>

#include "common/io/real_clock.hpp"
#include "event_loop.hpp"
#include "fake_hook.hpp"
#include "lease_fixture.hpp"
#include "temporary_directory.hpp"

namespace dstm::server {
namespace {

using namespace dstm::server::test;
using namespace std::chrono_literals;
using dstm::test::run_until;

class Listener final : public LeaseListener {
public:
    void on_lease_ended(const Lease& lease, LeaseEnd) override {
        ended.push_back(to_string(lease.address));
    }
    void on_lease_store_ready() override { ++ready; }
    void on_lease_store_lost() override { ++lost; }
    std::vector<std::string> ended;
    int ready = 0;
    int lost = 0;
};

class KeaStreamTest : public testing::Test {
protected:
    void TearDown() override {
        store_.reset();
        hook_.stop();
        dstm::test::run_ready(events_);
    }
    void open(Duration call_timeout = 5s) {
        store_ = std::make_unique<KeaStream>(
            KeaStreamConfig{path_, Family::v4, call_timeout, 1ms, 20ms}, events_, clock_);
        store_->set_listener(&listener_);
        store_->start();
    }
    void connect(Duration call_timeout = 5s) {
        hook_.greeting = hello_line();
        hook_.start();
        open(call_timeout);
        ASSERT_TRUE(run_until(events_, [&] { return listener_.ready == 1; }));
    }
    bool wait_for_requests(std::size_t count) {
        return run_until(events_, [&] { return hook_.requests.size() >= count; });
    }
    std::uint64_t last_id() { return hook_.requests.back()["id"]; }
    Done<Lease> note() {
        return [this](const Result<Lease>& lease) {
            heard_.push_back(lease ? to_string(lease->address) : to_string(lease.error().code));
        };
    }
    bool wait_for_heard(std::size_t count) {
        return run_until(events_, [&] { return heard_.size() >= count; });
    }

    dstm::test::TemporaryDirectory directory_;
    std::string path_ = directory_.file("hook.sock");
    asio::io_context events_;
    RealClock clock_;
    FakeHook hook_{events_, path_};
    Listener listener_;
    std::unique_ptr<KeaStream> store_;
    using Words = std::vector<std::string>;
    Words heard_;
};

TEST_F(KeaStreamTest, CompletionsNeverRunInsideTheCall) {
    open();
    store_->allocate(request_of(1), note());
    EXPECT_TRUE(heard_.empty());
    ASSERT_TRUE(wait_for_heard(1));
    EXPECT_EQ(heard_, Words{"unavailable"});
}

TEST_F(KeaStreamTest, WaitsForAHookThatComesLater) {
    open();
    hook_.greeting = hello_line();
    ASSERT_FALSE(run_until(events_, [&] { return listener_.ready > 0; }, 100ms));
    hook_.start();
    ASSERT_TRUE(run_until(events_, [&] { return listener_.ready == 1; }));
    EXPECT_TRUE(store_->is_ready());
    EXPECT_EQ(listener_.lost, 0);
}

TEST_F(KeaStreamTest, EachMessageMayBeCutAnywhere) {
    connect();
    for (std::size_t cut = 0;; ++cut) {
        SCOPED_TRACE(cut);
        store_->allocate(request_of(1), note());
        ASSERT_TRUE(wait_for_requests(cut + 1));
        const std::string bytes = success_line(last_id(), lease_json(7, 1)) +
                                  event_line("lease-expired", 11 + cut, lease_json(9, 3));
        if (cut > bytes.size()) break;
        hook_.say(bytes.substr(0, cut));
        dstm::test::run_ready(events_);
        hook_.say(bytes.substr(cut));
        ASSERT_TRUE(run_until(events_, [&] { return listener_.ended.size() == cut + 1; }));
        ASSERT_EQ(heard_.size(), cut + 1);
    }
    EXPECT_EQ(heard_, Words(heard_.size(), "192.0.2.7"));
    EXPECT_EQ(listener_.ready, 1);
}

TEST_F(KeaStreamTest, ADisconnectInTheMiddleOfAnAnswerEndsTheCallOnceAndIsMended) {
    connect();
    const std::string bytes = success_line(1, lease_json(7, 1));
    for (std::size_t cut = 0; cut + 1 < bytes.size(); cut += 7) {
        SCOPED_TRACE(cut);
        heard_.clear();
        const int ready_before = listener_.ready;
        const auto requests_before = hook_.requests.size();
        store_->allocate(request_of(1), note());
        ASSERT_TRUE(wait_for_requests(requests_before + 1));
        hook_.say(bytes.substr(0, cut));
        hook_.drop();
        ASSERT_TRUE(run_until(events_, [&] { return listener_.ready == ready_before + 1; }));
        EXPECT_EQ(heard_, Words{"unavailable"});
        EXPECT_EQ(listener_.lost, ready_before);
    }
}

TEST_F(KeaStreamTest, SilenceIsTimedOutAndALateLeaseGoesBack) {
    connect(50ms);
    store_->allocate(request_of(1), note());
    ASSERT_TRUE(wait_for_heard(1));
    EXPECT_EQ(heard_, Words{"timed out"});
    hook_.say(success_line(last_id(), lease_json(7, 1)));
    ASSERT_TRUE(wait_for_requests(2));
    EXPECT_EQ(hook_.requests[1]["command"], "dstm4-lease-release");
    EXPECT_EQ(hook_.requests[1]["arguments"]["ip-address"], "192.0.2.7");
    EXPECT_EQ(heard_.size(), 1u);
}

TEST_F(KeaStreamTest, AHookThatSaysNothingOrNonsenseIsLeftAndTriedAgain) {
    hook_.start();
    open(30ms);
    ASSERT_TRUE(run_until(events_, [&] { return hook_.connections >= 2; }));
    for (const std::string& greeting : {std::string("nonsense\n"), hello_line(1, 2),
                                        hello_line(1, 1, 6), std::string(2 << 20, 'x')}) {
        hook_.greeting = greeting.substr(0, 100000);
        const int before = hook_.connections;
        ASSERT_TRUE(run_until(events_, [&] { return hook_.connections >= before + 2; }));
    }
    EXPECT_EQ(listener_.ready, 0);
    hook_.greeting = hello_line();
    ASSERT_TRUE(run_until(events_, [&] { return listener_.ready == 1; }));
}

TEST_F(KeaStreamTest, OfFamily6SpeaksToTheHookOfKeaDhcp6Only) {
    hook_.greeting = hello_line();
    hook_.start();
    store_ = std::make_unique<KeaStream>(KeaStreamConfig{path_, Family::v6, 5s, 1ms, 20ms},
                                         events_, clock_);
    store_->set_listener(&listener_);
    store_->start();
    ASSERT_TRUE(run_until(events_, [&] { return hook_.connections >= 2; }));
    EXPECT_EQ(listener_.ready, 0);
    hook_.greeting = hello_line(10, 1, 6);
    ASSERT_TRUE(run_until(events_, [&] { return listener_.ready == 1; }));

    LeaseRequest request = request_of(1);
    request.context.type = TunnelType::v6v4;
    request.prefix_length = 56;
    store_->allocate(request, note());
    ASSERT_TRUE(wait_for_requests(1));
    EXPECT_EQ(hook_.requests.back()["command"], "dstm6-lease-allocate");
    EXPECT_EQ(hook_.requests.back()["arguments"]["prefix-length"], 56);
    hook_.say(failure_line(last_id(), 1, "prefix-unavailable"));
    ASSERT_TRUE(wait_for_heard(1));
    EXPECT_EQ(heard_, Words{to_string(ErrorCode::not_found)});
    store_->list([&](const Result<std::vector<Lease>>& leases) {
        heard_.push_back(leases ? "listed" : to_string(leases.error().code));
    });
    ASSERT_TRUE(wait_for_requests(2));
    EXPECT_EQ(hook_.requests.back()["command"], "dstm6-lease-list");
}

TEST_F(KeaStreamTest, LossIsLoggedOnceForEachChange) {
    testing::internal::CaptureStderr();
    connect();
    hook_.stop();
    ASSERT_TRUE(run_until(events_, [&] { return listener_.lost == 1; }));
    ASSERT_FALSE(run_until(events_, [&] { return listener_.ready > 1; }, 150ms));
    hook_.start();
    ASSERT_TRUE(run_until(events_, [&] { return listener_.ready == 2; }));
    const std::string log = testing::internal::GetCapturedStderr();
    const auto count = [&](const std::string& what) {
        std::size_t found = 0;
        for (auto at = log.find(what); at != std::string::npos; at = log.find(what, at + 1)) {
            ++found;
        }
        return found;
    };
    EXPECT_EQ(count("KEA_LOST"), 1u) << log;
    EXPECT_EQ(count("KEA_CONNECTED"), 2u) << log;
}

TEST_F(KeaStreamTest, ManyCallsShareOneConnection) {
    connect();
    constexpr std::size_t calls = 500;
    for (std::size_t i = 0; i < calls; ++i) store_->allocate(request_of(1), note());
    ASSERT_TRUE(wait_for_requests(calls));
    std::string answers;
    for (auto request = hook_.requests.rbegin(); request != hook_.requests.rend(); ++request) {
        answers += success_line((*request)["id"], lease_json(7, 1));
    }
    asio::post(events_, [&] { hook_.say(answers); });
    ASSERT_TRUE(wait_for_heard(calls));
    EXPECT_EQ(heard_, Words(calls, "192.0.2.7"));
    EXPECT_EQ(hook_.connections, 1);
}

TEST_F(KeaStreamTest, NothingIsHeardAfterItsEnd) {
    connect();
    store_->allocate(request_of(1), note());
    ASSERT_TRUE(wait_for_requests(1));
    store_.reset();
    ASSERT_TRUE(run_until(events_, [&] { return !hook_.is_connected(); }));
    EXPECT_TRUE(heard_.empty());
    EXPECT_EQ(listener_.lost, 0);
}

}  // namespace
}  // namespace dstm::server
