// The dialogue with the hook, without a socket: whoever asks is answered exactly once, and no lease
// is left behind.
#include "dstm-server/lease/dialogue.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lease_fixture.hpp"

namespace dstm::server::lease {
namespace {

using namespace dstm::server::test;
using namespace std::chrono_literals;
using Json = nlohmann::json;

class LeaseDialogue : public testing::Test {
protected:
    void ready(std::uint64_t sequence = 10) {
        dialogue_.connected(now_);
        ASSERT_TRUE(feed(hello_line(sequence)));
        EXPECT_EQ(outcomes(), (std::vector<std::string>{"ready"}));
    }
    bool feed(const std::string& bytes) { return dialogue_.received(bytes, now_).has_value(); }

    void allocate(std::uint8_t client, Generation generation = 100) {
        dialogue_.allocate(request_of(client, generation), [this](const Result<Lease>& lease) {
            heard_.push_back(lease ? "leased " + to_string(lease->address)
                                   : to_string(lease.error().code));
        }, now_);
    }
    Done<void> note(const std::string& what) {
        return [this, what](const Result<void>& result) {
            heard_.push_back(what + " " + (result ? "done" : to_string(result.error().code)));
        };
    }
    // What came out since the last time, completions carried out.
    std::vector<std::string> outcomes() {
        for (auto& outcome : dialogue_.take_outcomes()) {
            if (auto* completion = std::get_if<Dialogue::Completion>(&outcome)) {
                (*completion)();
            } else if (auto* gone = std::get_if<Dialogue::LeaseGone>(&outcome)) {
                heard_.push_back("gone " + to_string(gone->lease.address));
            } else {
                heard_.push_back(std::holds_alternative<Dialogue::Ready>(outcome) ? "ready"
                                                                                  : "lost");
            }
        }
        return std::exchange(heard_, {});
    }
    // The requests written since the last time.
    std::vector<Json> requests() {
        LineBuffer lines(line_size_max);
        lines.append(dialogue_.take_output());
        std::vector<Json> all;
        while (const auto line = lines.next()) all.push_back(Json::parse(*line));
        return all;
    }
    std::uint64_t last_id() { return requests().back()["id"]; }

    using Words = std::vector<std::string>;
    Dialogue dialogue_{{.call_timeout = 5s, .stall_timeout = 60s}};
    Instant now_{};
    Words heard_;
};

TEST_F(LeaseDialogue, IsReadyAfterHelloAndNotBefore) {
    allocate(1);
    EXPECT_EQ(outcomes(), Words{"unavailable"});
    dialogue_.connected(now_);
    allocate(1);
    EXPECT_EQ(outcomes(), Words{"unavailable"});
    ASSERT_TRUE(feed(hello_line()));
    EXPECT_EQ(outcomes(), Words{"ready"});
    EXPECT_TRUE(dialogue_.is_ready());
    EXPECT_TRUE(requests().empty());
}

TEST_F(LeaseDialogue, AnotherProtocolOrFamilyIsRefused) {
    for (const std::string& line : {hello_line(1, 2, 4), hello_line(1, 1, 6),
                                    success_line(1), std::string("nonsense\n")}) {
        Dialogue dialogue{DialogueConfig{}};
        dialogue.connected(now_);
        EXPECT_FALSE(dialogue.received(line, now_).has_value()) << line;
        EXPECT_FALSE(dialogue.is_ready());
    }
}

TEST_F(LeaseDialogue, ASilentHookIsGivenUp) {
    dialogue_.connected(now_);
    EXPECT_FALSE(dialogue_.fault(now_));
    EXPECT_EQ(dialogue_.deadline(), now_ + 5s);
    EXPECT_TRUE(dialogue_.fault(now_ + 5s));
}

TEST_F(LeaseDialogue, AnswersFindTheirCallsInAnyOrder) {
    ready();
    allocate(1);
    allocate(2);
    dialogue_.release(address_of(9), {0, 3}, 100, note("release"), now_);
    const auto sent = requests();
    ASSERT_EQ(sent.size(), 3u);
    ASSERT_TRUE(feed(success_line(sent[2]["id"]) +
                     success_line(sent[1]["id"], lease_json(8, 2)) +
                     success_line(sent[0]["id"], lease_json(7, 1))));
    EXPECT_EQ(outcomes(), (Words{"release done", "leased 192.0.2.8", "leased 192.0.2.7"}));
    EXPECT_FALSE(dialogue_.deadline());
}

TEST_F(LeaseDialogue, AnAnswerMayComeByteByByte) {
    ready();
    allocate(1);
    const std::string answer = success_line(last_id(), lease_json(7, 1)) +
                               event_line("lease-expired", 11, lease_json(9, 3));
    for (const char byte : answer) ASSERT_TRUE(feed(std::string(1, byte)));
    EXPECT_EQ(outcomes(), (Words{"leased 192.0.2.7", "gone 192.0.2.9"}));
}

TEST_F(LeaseDialogue, EachErrorReachesItsCaller) {
    ready();
    dialogue_.renew(address_of(7), request_of(1), [this](const Result<Lease>& lease) {
        heard_.push_back(to_string(lease.error().code));
    }, now_);
    ASSERT_TRUE(feed(failure_line(last_id(), 1, "stale")));
    dialogue_.release(address_of(7), {1}, 5, note("release"), now_);
    ASSERT_TRUE(feed(failure_line(last_id(), 3, "not-found")));
    allocate(1);
    ASSERT_TRUE(feed(failure_line(last_id(), 1, "pool-exhausted")));
    EXPECT_EQ(outcomes(), (Words{"conflict", "release not found", "exhausted"}));
}

TEST_F(LeaseDialogue, DisconnectEndsEveryCallOnce) {
    ready();
    allocate(1);
    dialogue_.release(address_of(9), {0, 3}, 100, note("release"), now_);
    dialogue_.list([this](const auto& leases) {
        heard_.push_back(to_string(leases.error().code));
    }, now_);
    dialogue_.disconnected("gone");
    EXPECT_EQ(outcomes(), (Words{"unavailable", "release unavailable", "unavailable", "lost"}));
    dialogue_.disconnected("again");
    now_ += 1h;
    dialogue_.time_passed(now_);
    EXPECT_EQ(outcomes(), Words{});
    EXPECT_FALSE(dialogue_.deadline());
    EXPECT_EQ(dialogue_.take_output(), "");
}

TEST_F(LeaseDialogue, ASecondAnswerAndAnAnswerOfAnEarlierConnectionAreIgnored) {
    ready();
    allocate(1);
    const auto id = last_id();
    dialogue_.disconnected("gone");
    outcomes();
    ready();
    ASSERT_TRUE(feed(success_line(id, lease_json(7, 1))));
    EXPECT_EQ(outcomes(), Words{});
    EXPECT_TRUE(requests().empty());
}

TEST_F(LeaseDialogue, AnAnswerToNoQuestionIsAnError) {
    ready();
    EXPECT_FALSE(feed(success_line(4711)));
}

TEST_F(LeaseDialogue, ALateLeaseIsReleasedAgain) {
    ready();
    allocate(1, 100);
    const auto id = last_id();
    now_ += 5s;
    dialogue_.time_passed(now_);
    EXPECT_EQ(outcomes(), Words{"timed out"});
    ASSERT_TRUE(feed(success_line(id, lease_json(7, 1))));
    const auto sent = requests();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0]["command"], "dstm4-lease-release");
    EXPECT_EQ(sent[0]["arguments"], Json::parse(R"({"ip-address": "192.0.2.7", "client-id": "00:01",
                                                    "up-to-generation": 100})"));
    ASSERT_TRUE(feed(success_line(sent[0]["id"])));
    EXPECT_EQ(outcomes(), Words{});
    EXPECT_FALSE(dialogue_.deadline());
}

TEST_F(LeaseDialogue, ALateAnswerDoesNotEndALeaseThatWasThereBefore) {
    ready();
    allocate(1);
    const auto id = last_id();
    now_ += 5s;
    dialogue_.time_passed(now_);
    ASSERT_TRUE(feed(success_line(id, lease_json(7, 1, 100, "\"reused\":true,"))));
    EXPECT_TRUE(requests().empty());
}

// The second call finds the lease of the first, and both come too late.
TEST_F(LeaseDialogue, TwoLateAnswersForOneLeaseLeaveNothingBehind) {
    ready();
    allocate(1, 100);
    const auto first = last_id();
    now_ += 5s;
    dialogue_.time_passed(now_);
    allocate(1, 200);
    const auto second = last_id();
    now_ += 5s;
    dialogue_.time_passed(now_);
    EXPECT_EQ(outcomes(), (Words{"timed out", "timed out"}));

    ASSERT_TRUE(feed(success_line(first, lease_json(7, 1, 100))));
    const auto first_release = last_id();
    ASSERT_TRUE(feed(success_line(second, lease_json(7, 1, 200, "\"reused\":true,"))));
    const auto sent = requests();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0]["arguments"]["up-to-generation"], 200);
    ASSERT_TRUE(feed(failure_line(first_release, 1, "stale") + success_line(sent[0]["id"])));
    EXPECT_EQ(outcomes(), Words{});
}

// The client tried again, and this time the answer came in time: the lease is its own.
TEST_F(LeaseDialogue, ALateAnswerBeforeAGoodOneDoesNotTakeTheLeaseAway) {
    ready();
    allocate(1, 100);
    const auto first = last_id();
    now_ += 5s;
    dialogue_.time_passed(now_);
    allocate(1, 200);
    const auto second = last_id();
    ASSERT_TRUE(feed(success_line(first, lease_json(7, 1, 100)) +
                     success_line(second, lease_json(7, 1, 200, "\"reused\":true,"))));
    EXPECT_EQ(outcomes(), (Words{"timed out", "leased 192.0.2.7"}));
    const auto sent = requests();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0]["arguments"]["up-to-generation"], 100);  // the hook says stale to that
    // A later renewal by allocate that is late must not end it either.
    ASSERT_TRUE(feed(failure_line(sent[0]["id"], 1, "stale")));
    allocate(1, 300);
    const auto third = last_id();
    now_ += 5s;
    dialogue_.time_passed(now_);
    ASSERT_TRUE(feed(success_line(third, lease_json(7, 1, 300, "\"reused\":true,"))));
    EXPECT_TRUE(requests().empty());
}

TEST_F(LeaseDialogue, AConnectionWithoutAnswersIsGivenUp) {
    ready();
    allocate(1);
    now_ += 5s;
    dialogue_.time_passed(now_);
    EXPECT_FALSE(dialogue_.fault(now_));
    ASSERT_EQ(dialogue_.deadline(), now_ + 60s);
    now_ += 60s;
    dialogue_.time_passed(now_);
    EXPECT_TRUE(dialogue_.fault(now_));
    dialogue_.disconnected("stalled");
    EXPECT_FALSE(dialogue_.fault(now_));
    EXPECT_EQ(outcomes(), (Words{"timed out", "lost"}));
}

TEST_F(LeaseDialogue, ListGathersItsPages) {
    ready();
    dialogue_.list([this](const Result<std::vector<Lease>>& leases) {
        heard_.push_back("leases " + std::to_string(leases->size()));
    }, now_);
    ASSERT_TRUE(feed(success_line(last_id(), "{\"leases\":[" + lease_json(7, 1) +
                                                 R"(],"count":1,"next":"192.0.2.7"})")));
    auto sent = requests();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0]["arguments"]["from"], "192.0.2.7");
    ASSERT_TRUE(feed(success_line(sent[0]["id"], "{\"leases\":[" + lease_json(8, 2) + "]}")));
    EXPECT_EQ(outcomes(), Words{"leases 2"});
}

TEST_F(LeaseDialogue, AnEmptyListIsAList) {
    ready();
    const auto note_size = [this](const Result<std::vector<Lease>>& leases) {
        heard_.push_back("leases " + std::to_string(leases->size()));
    };
    dialogue_.list(note_size, now_);
    ASSERT_TRUE(feed(failure_line(last_id(), 3, "not-found")));
    EXPECT_EQ(outcomes(), Words{"leases 0"});
}

TEST_F(LeaseDialogue, AListThatTurnsInACircleIsAnError) {
    ready();
    dialogue_.list([this](const auto& leases) {
        heard_.push_back(to_string(leases.error().code));
    }, now_);
    const std::string page = R"({"leases":[],"next":"192.0.2.7"})";
    ASSERT_TRUE(feed(success_line(last_id(), page)));
    EXPECT_FALSE(feed(success_line(last_id(), page)));
    EXPECT_EQ(outcomes(), Words{"invalid"});
}

TEST_F(LeaseDialogue, AGapInTheNumbersOrAResyncAsksForANewComparison) {
    ready(10);
    ASSERT_TRUE(feed(event_line("lease-expired", 11, lease_json(7, 1))));
    EXPECT_EQ(outcomes(), Words{"gone 192.0.2.7"});
    ASSERT_TRUE(feed(event_line("lease-expired", 13, lease_json(8, 1))));
    EXPECT_EQ(outcomes(), (Words{"ready", "gone 192.0.2.8"}));
    ASSERT_TRUE(feed(event_line("resync", 14)));
    EXPECT_EQ(outcomes(), Words{"ready"});
    ASSERT_TRUE(feed(event_line("lease-sold", 15) + event_line("lease-expired", 16)));
    EXPECT_EQ(outcomes(), Words{});
}

TEST_F(LeaseDialogue, ALineOverTheLimitIsAnErrorBeforeItEnds) {
    ready();
    EXPECT_TRUE(feed(std::string(line_size_max, 'x')));
    EXPECT_FALSE(feed("x"));
}

TEST_F(LeaseDialogue, TooManyCallsAreRefused) {
    Dialogue dialogue{{.calls_max = 1}};
    dialogue.connected(now_);
    ASSERT_TRUE(dialogue.received(hello_line(), now_).has_value());
    int refused = 0;
    for (int i = 0; i < 3; ++i) {
        dialogue.release(address_of(7), {1}, 1,
                         [&](const Result<void>& result) { refused += !result; }, now_);
    }
    for (auto& outcome : dialogue.take_outcomes()) {
        if (auto* completion = std::get_if<Dialogue::Completion>(&outcome)) (*completion)();
    }
    EXPECT_EQ(refused, 2);
}

}  // namespace
}  // namespace dstm::server::lease
