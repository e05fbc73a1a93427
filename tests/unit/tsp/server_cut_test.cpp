// House rules 2 and 3: every message cut at every byte means the same; every byte changed means
// no harm; every step that fails leaves nothing held.
#include <gtest/gtest.h>

#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp {
namespace {

using script::Dialogue;
using script::Lines;

void append(Lines& lines, const Lines& more) {
    lines.insert(lines.end(), more.begin(), more.end());
}

// Plays the dialogue; bytes of step `cut_step` come in pieces of `portion` after a first of `cut`.
void play_in_pieces(const Dialogue& dialogue, std::size_t cut_step, std::size_t cut,
                    std::size_t portion) {
    ServerSession session(dialogue.config, script::at(0));
    for (std::size_t i = 0; i < dialogue.steps.size(); ++i) {
        const auto& step = dialogue.steps[i];
        const auto* bytes = std::get_if<std::string>(&step.event);
        Lines got;
        if (bytes == nullptr || i != cut_step) {
            got = script::shown(script::feed(session, step.event, script::at(0)));
        } else {
            auto rest = std::string_view(*bytes);
            for (auto size = cut; !rest.empty(); size = portion) {
                append(got, script::shown(session.handle(BytesReceived{rest.substr(0, size)},
                                                         script::at(0))));
                rest.remove_prefix(std::min(size, rest.size()));
            }
        }
        ASSERT_EQ(got, step.expected) << "step " << i << " cut at " << cut;
    }
}

TEST(ServerSessionCut, EveryMessageCutAtEveryByteGivesTheSameActions) {
    for (const auto& dialogue : script::dialogues()) {
        SCOPED_TRACE(dialogue.name);
        for (std::size_t i = 0; i < dialogue.steps.size(); ++i) {
            const auto* bytes = std::get_if<std::string>(&dialogue.steps[i].event);
            if (bytes == nullptr) continue;
            for (std::size_t cut = 1; cut < bytes->size(); ++cut) {
                play_in_pieces(dialogue, i, cut, bytes->size());
            }
            play_in_pieces(dialogue, i, 1, 1);
        }
    }
}

TEST(ServerSessionCut, EveryByteChangedDoesNoHarm) {
    for (const auto& dialogue : script::dialogues()) {
        SCOPED_TRACE(dialogue.name);
        const auto good = script::client_bytes(dialogue);
        for (std::size_t i = 0; i < good.size(); ++i) {
            for (const int mask : {0x01, 0x04, 0x20, 0x80, 0xff}) {
                auto bad = good;
                bad[i] = static_cast<char>(bad[i] ^ mask);
                script::ObligingOwner owner(dialogue.config);
                owner.receive(bad);
                owner.end();
                EXPECT_TRUE(owner.is_closed()) << i;
            }
        }
    }
}

TEST(ServerSessionCut, ConnectionThatEndsAtAnyByteLeavesNothingOffered) {
    for (const auto& dialogue : script::dialogues()) {
        SCOPED_TRACE(dialogue.name);
        const auto bytes = script::client_bytes(dialogue);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            script::ObligingOwner owner(dialogue.config);
            owner.receive(std::string_view(bytes).substr(0, size));
            owner.end();
            EXPECT_TRUE(owner.is_closed()) << size;
        }
    }
}

// A client that waits for nothing: authentication is served, the accept comes before the offer.
TEST(ServerSessionCut, WholeDialogueInOneSegmentDoesNoHarm) {
    for (const auto& dialogue : script::dialogues()) {
        SCOPED_TRACE(dialogue.name);
        script::ObligingOwner owner(dialogue.config);
        owner.receive(script::client_bytes(dialogue));
        EXPECT_EQ(owner.confirmed(), 0);
    }
}

TEST(ServerSessionCut, EveryStepOfTheOwnerThatFailsEndsCleanly) {
    for (const auto& dialogue : script::dialogues()) {
        for (std::size_t failing = 0; failing < dialogue.steps.size(); ++failing) {
            auto event = dialogue.steps[failing].event;
            if (auto* step = std::get_if<AuthenticationStepDone>(&event)) {
                *step = {AuthenticationStepDone::Outcome::unavailable, {}};
            } else if (auto* answer = std::get_if<TunnelAnswered>(&event)) {
                *answer = script::tunnel_refused(Status::too_busy);
            } else {
                continue;
            }
            SCOPED_TRACE(dialogue.name + ", step " + std::to_string(failing));
            ServerSession session(dialogue.config, script::at(0));
            for (std::size_t i = 0; i < failing; ++i) {
                static_cast<void>(script::feed(session, dialogue.steps[i].event, script::at(0)));
            }
            const auto lines = script::shown(script::feed(session, event, script::at(0)));
            if (std::holds_alternative<AuthenticationStepDone>(event)) {
                EXPECT_EQ(lines, (Lines{"Send 530 Server too busy\\r\\n", "Close"}));
            } else {
                EXPECT_EQ(lines, (Lines{script::send_framed("530 Server too busy\r\n")}));
                EXPECT_EQ(script::shown(session.handle(PeerClosed{}, script::at(0))),
                          (Lines{"Close"}))
                    << "nothing is offered, so nothing is declined";
            }
        }
    }
}

}  // namespace
}  // namespace dstm::tsp
