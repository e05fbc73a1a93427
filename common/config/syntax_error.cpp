// A table: which part of the parser's message means what. The first row that fits counts.
#include "common/config/syntax_error.hpp"

#include <algorithm>
#include <array>

namespace dstm::config {
namespace {

struct Row {
    std::string_view said;
    std::string_view words;
};
constexpr std::array rows{
    Row{"ill-formed UTF-8", "is not UTF-8 text"},
    Row{"missing closing quote", "a text must end with \" on its line"},
    Row{"control character U+000A", "a text must end with \" on its line"},
    Row{"control character", "a text must not hold control characters such as a tab"},
    Row{"forbidden character after backslash", "a \\ in a text must be written \\\\"},
    Row{"parsing object key - unexpected '}'", "there must be no comma before }"},
    Row{"object key - unexpected end", "a } is missing at the end"},
    Row{"parsing object key", "here must be a key in \"quotes\""},
    Row{"object separator - unexpected end", "a } is missing at the end"},
    Row{"parsing object separator", "a key must end with \" and be followed by :"},
    Row{"object - unexpected end", "a } is missing at the end"},
    Row{"parsing object", "before this must be a comma, or } at the end of the object"},
    Row{"array - unexpected end", "a ] is missing at the end"},
    Row{"parsing array", "before this must be a comma, or ] at the end of the list"},
    Row{"unexpected end of input", "ends too early; it must be an object { ... }"},
    Row{"expected end of input", "there must be nothing behind the last }"},
    Row{"value - unexpected ']'", "there must be no comma before ]"},
    Row{"invalid number", "here must be a number such as 30"},
};

}  // namespace

std::string syntax_error_in_words(std::string_view said) {
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& candidate) {
        return said.find(candidate.said) != std::string_view::npos;
    });
    if (row != rows.end()) return std::string(row->words);
    return "here must be a value: a text in \"quotes\", a number, true, false, { or [";
}

}  // namespace dstm::config
