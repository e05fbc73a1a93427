// Calls and answers of the endpoint link: whatever happens, a call ends once.
#include "common/teplink/peer.hpp"

#include <gtest/gtest.h>

#include "support/endpoint_values.hpp"

namespace dstm::teplink {
namespace {

const Instant start{std::chrono::seconds(100)};
Instant after(int seconds) { return start + std::chrono::seconds(seconds); }

Peer::Call must_call(Peer& peer, const Request& request, int seconds = 5) {
    auto call = peer.call(request, after(seconds));
    EXPECT_TRUE(call);
    return std::move(*call);
}

template <class T>
T only(const std::vector<Action>& actions) {
    EXPECT_EQ(actions.size(), 1u);
    EXPECT_TRUE(std::holds_alternative<T>(actions.at(0)));
    return std::get<T>(actions.at(0));
}

TEST(TeplinkPeer, AnswerEndsTheCallThatAskedForIt) {
    Peer server;
    Peer endpoint;
    const auto call = must_call(server, Install{{test::tunnel("192.0.2.7")}});
    const auto request = only<RequestReceived>(endpoint.receive(call.frame.text));
    EXPECT_EQ(request.request, Request(Install{{test::tunnel("192.0.2.7")}}));

    const Answer answer = BatchAnswer{{Result<void>{}}};
    const auto ended = only<CallEnded>(server.receive(Peer::answer(request.id, answer).text));
    EXPECT_EQ(ended.id, call.id);
    ASSERT_TRUE(ended.outcome);
    EXPECT_EQ(*ended.outcome, answer);
    EXPECT_EQ(server.calls(), 0u);
    EXPECT_EQ(server.next_deadline(), std::nullopt);
}

TEST(TeplinkPeer, RefusalEndsTheCallWithItsError) {
    Peer peer;
    const auto call = must_call(peer, Counters{});
    const Error error{ErrorCode::refused, "not now"};
    const auto ended = only<CallEnded>(peer.receive(Peer::refuse(call.id, error).text));
    EXPECT_EQ(ended.outcome.error(), error);
}

TEST(TeplinkPeer, AnswersMayComeInAnyOrder) {
    Peer peer;
    const auto first = must_call(peer, Counters{});
    const auto second = must_call(peer, Sync{});
    EXPECT_NE(first.id, second.id);
    EXPECT_EQ(only<CallEnded>(peer.receive(Peer::answer(second.id, SyncAnswer{}).text)).id,
              second.id);
    EXPECT_EQ(only<CallEnded>(peer.receive(Peer::answer(first.id, CountersAnswer{}).text)).id,
              first.id);
}

TEST(TeplinkPeer, SecondAnswerToOneCallIsRejected) {
    Peer peer;
    const auto call = must_call(peer, Counters{});
    const auto answer = Peer::answer(call.id, CountersAnswer{}).text;
    only<CallEnded>(peer.receive(answer));
    only<FrameRejected>(peer.receive(answer));
}

TEST(TeplinkPeer, CallWithoutAnswerTimesOutAtItsDeadlineAndLateAnswersMeetNobody) {
    Peer peer;
    const auto quick = must_call(peer, Counters{}, 1);
    const auto patient = must_call(peer, Counters{}, 5);
    EXPECT_EQ(peer.next_deadline(), after(1));
    EXPECT_TRUE(peer.tick(after(1) - Duration(1)).empty());
    const auto ended = only<CallEnded>(peer.tick(after(1)));
    EXPECT_EQ(ended.id, quick.id);
    EXPECT_EQ(ended.outcome.error().code, ErrorCode::timed_out);
    EXPECT_EQ(peer.next_deadline(), after(5));

    only<FrameRejected>(peer.receive(Peer::answer(quick.id, CountersAnswer{}).text));
    EXPECT_EQ(only<CallEnded>(peer.receive(Peer::answer(patient.id, CountersAnswer{}).text)).id,
              patient.id);
    EXPECT_TRUE(peer.tick(after(100)).empty());
}

TEST(TeplinkPeer, IdsAreNotUsedAgain) {
    Peer peer;
    const auto first = must_call(peer, Counters{}, 1);
    EXPECT_EQ(peer.tick(after(1)).size(), 1u);
    EXPECT_GT(must_call(peer, Counters{}, 9).id, first.id);
}

TEST(TeplinkPeer, GoneEndsEveryCallOnceAndNoneBegins) {
    Peer peer;
    must_call(peer, Counters{});
    const auto second = must_call(peer, Counters{});
    const auto actions = peer.gone("cut");
    ASSERT_EQ(actions.size(), 2u);
    for (const auto& action : actions) {
        EXPECT_EQ(std::get<CallEnded>(action).outcome.error(),
                  (Error{ErrorCode::unavailable, "cut"}));
    }
    EXPECT_TRUE(peer.gone("again").empty());
    EXPECT_TRUE(peer.tick(after(100)).empty());
    EXPECT_TRUE(peer.receive(Peer::answer(second.id, CountersAnswer{}).text).empty());
    EXPECT_EQ(peer.call(Counters{}, after(1)).error().code, ErrorCode::unavailable);
}

TEST(TeplinkPeer, AnswerOfTheWrongShapeFailsTheCallAtOnce) {
    Peer peer;
    const auto call = must_call(peer, Counters{});
    const auto ended = only<CallEnded>(peer.receive(Peer::answer(call.id, SyncAnswer{}).text));
    EXPECT_EQ(ended.outcome.error().code, ErrorCode::internal);
    EXPECT_EQ(peer.calls(), 0u);
}

TEST(TeplinkPeer, BadRequestIsRefusedAndTold) {
    Peer peer;
    const auto actions = peer.receive(R"({"jsonrpc":"2.0","id":4,"method":"destroy"})");
    ASSERT_EQ(actions.size(), 2u);
    EXPECT_EQ(std::get<SendFrame>(actions[0]).text,
              R"({"error":{"code":-32601,"message":"no such method"},"id":4,"jsonrpc":"2.0"})");
    EXPECT_TRUE(std::holds_alternative<FrameRejected>(actions[1]));
}

TEST(TeplinkPeer, RefusalOfAnUnreadableFrameIsNotRefusedInTurn) {
    Peer one;
    Peer other;
    const auto refusal = std::get<SendFrame>(one.receive("noise").at(0));
    only<FrameRejected>(other.receive(refusal.text));
}

TEST(TeplinkPeer, NotificationsAreHandedOnAndNotAnswered) {
    Peer peer;
    const auto note = only<NotificationReceived>(peer.receive(Peer::notify(Down{}).text));
    EXPECT_EQ(note.notification, Notification(Down{}));
    only<FrameRejected>(peer.receive(R"({"jsonrpc":"2.0","method":"unheard-of"})"));
}

TEST(TeplinkPeer, CallsUnderWayAreBounded) {
    Peer peer(2);
    must_call(peer, Counters{});
    const auto second = must_call(peer, Counters{});
    EXPECT_EQ(peer.call(Counters{}, after(1)).error().code, ErrorCode::exhausted);
    only<CallEnded>(peer.receive(Peer::answer(second.id, CountersAnswer{}).text));
    must_call(peer, Counters{});
}

// Fail every step: an exchange of three calls, cut, timed out or answered with noise at each.
TEST(TeplinkPeer, WhateverHappensAtAnyStepEachCallEndsExactlyOnce) {
    enum class Fault { cut, silence, noise, refusal };
    for (const auto fault : {Fault::cut, Fault::silence, Fault::noise, Fault::refusal}) {
        for (int bad_step = 0; bad_step < 3; ++bad_step) {
            Peer peer;
            std::map<CallId, int> ends;
            const auto count = [&](const std::vector<Action>& actions) {
                for (const auto& action : actions) {
                    if (const auto* ended = std::get_if<CallEnded>(&action)) ++ends[ended->id];
                }
            };
            for (int step = 0; step < 3; ++step) {
                const auto call = peer.call(Counters{}, after(step));
                if (!call) continue;
                ends.emplace(call->id, 0);
                if (step != bad_step) {
                    count(peer.receive(Peer::answer(call->id, CountersAnswer{}).text));
                } else if (fault == Fault::cut) {
                    count(peer.gone("cut"));
                } else if (fault == Fault::noise) {
                    count(peer.receive("{{{"));
                } else if (fault == Fault::refusal) {
                    count(peer.receive(encode_refusal(call->id, code_refused, "no")));
                }
            }
            count(peer.tick(after(60)));
            count(peer.gone("end"));
            for (const auto& [id, times] : ends) EXPECT_EQ(times, 1) << id;
            EXPECT_EQ(peer.calls(), 0u);
        }
    }
}

}  // namespace
}  // namespace dstm::teplink
