// What a refusal of the broker means for the person who asked, and whether asking again helps.
//
// Follows RFC 5572 Appendix B (the client shows the error to the user) and the numbers that
// deployed brokers add to it. Knows no protocol machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dstm::client {

struct Advice {
    std::uint16_t code;
    bool permanent;            // the same request will be refused again
    std::string_view meaning;  // in the user's words
    std::string_view remedy;   // what to do, empty when waiting is all there is
};

// nullptr for a number that neither the RFC nor a deployed broker is known to use.
[[nodiscard]] const Advice* find_advice(std::uint16_t code);

// Unknown numbers count as passing: the broker may know a reason that ends.
[[nodiscard]] bool is_permanent(std::uint16_t code);

// Another machine of the same name might answer otherwise: this one is busy, or broken.
[[nodiscard]] bool may_differ_elsewhere(std::uint16_t code);

// One sentence: number, the broker's own text (quoted, it is not ours), meaning and remedy.
[[nodiscard]] std::string explain(std::uint16_t code, std::string_view broker_text);

}  // namespace dstm::client
