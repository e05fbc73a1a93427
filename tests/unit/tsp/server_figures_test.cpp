// The dialogues of RFC 5572's figures, word for word.
#include <gtest/gtest.h>

#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp {
namespace {

TEST(ServerSessionFigures, EveryDialogueGoesAsWritten) {
    for (const auto& dialogue : script::dialogues()) {
        SCOPED_TRACE(dialogue.name);
        ServerSession session(dialogue.config, script::at(0));
        for (std::size_t i = 0; i < dialogue.steps.size(); ++i) {
            const auto& step = dialogue.steps[i];
            EXPECT_EQ(script::shown(script::feed(session, step.event, script::at(0))),
                      step.expected)
                << "step " << i;
        }
    }
}

}  // namespace
}  // namespace dstm::tsp
