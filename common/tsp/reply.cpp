// Lines of a reply (RFC 5572 s4.4.3, Appendix B).
#include "common/tsp/reply.hpp"

#include <algorithm>

#include "common/tsp/status.hpp"

namespace dstm::tsp {
namespace {

constexpr std::size_t detail_size_max = 200;

bool is_printable(char c) { return c >= 0x20 && c < 0x7f; }

std::string printable(std::string_view text, char replacement) {
    std::string out(text.substr(0, detail_size_max));
    std::ranges::replace_if(
        out, [](char c) { return !is_printable(c); }, replacement);
    return out;
}

}  // namespace

std::string format_status_line(std::uint16_t code, std::string_view detail) {
    const auto base =
        static_cast<std::uint16_t>(code >= redirect_offset ? code - redirect_offset : code);
    const auto text = detail.empty() ? std::string(title(base)) : printable(detail, ' ');
    return std::to_string(code) + " " + text + "\r\n";
}

std::optional<StatusLine> parse_status_line(std::string_view line) {
    const auto space = line.find(' ');
    const auto digits = line.substr(0, space);
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    // Four digits and nothing else could be base64.
    const bool has_text = space != std::string_view::npos;
    if (digits.size() != 3 && !(digits.size() == 4 && has_text)) return std::nullopt;
    if (!std::ranges::all_of(digits, is_digit)) return std::nullopt;
    int code = 0;
    for (const char digit : digits) code = code * 10 + (digit - '0');
    if (code < (digits.size() == 4 ? redirect_offset : 100) || code > 1599) return std::nullopt;
    const auto text = has_text ? line.substr(space + 1) : std::string_view{};
    return StatusLine{static_cast<std::uint16_t>(code), printable(text, '?')};
}

std::string frame(std::string_view body) {
    std::string out = "Content-length: " + std::to_string(body.size()) + "\r\n";
    out += body;
    return out;
}

}  // namespace dstm::tsp
