// The splitter of TSP's byte stream (RFC 5572 s4.4.2, s4.4.3).
#include "common/tsp/framing.hpp"

#include <algorithm>
#include <charconv>

namespace dstm::tsp {
namespace {

constexpr std::string_view length_name = "content-length";

// A peer that sends nothing but line ends is not a peer.
constexpr std::size_t empty_lines_max = 8;

// Room for CR LF after the line and after the body.
constexpr std::size_t line_ends_size = 4;

bool is_space(char c) { return c == ' ' || c == '\t'; }

std::string_view trim(std::string_view text) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    return text;
}

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_length_name(std::string_view text) {
    return std::ranges::equal(text, length_name, {}, to_lower);
}

// Digits only: no sign, no hexadecimal, nothing behind. A number too large for size_t comes back
// as the largest, so that it is over every limit.
std::optional<std::size_t> parse_length(std::string_view text) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (text.empty() || !std::ranges::all_of(text, is_digit)) return std::nullopt;
    std::size_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec == std::errc::result_out_of_range) return std::string_view::npos;
    return value;
}

}  // namespace

void Framing::append(std::string_view bytes) {
    buffer_.erase(0, consumed_);
    consumed_ = 0;
    buffer_ += bytes;
}

std::string_view Framing::unread() const { return std::string_view(buffer_).substr(consumed_); }

std::size_t Framing::buffered_max() const {
    return limits_.line_size_max + limits_.body_size_max + line_ends_size;
}

std::string Framing::take(std::size_t size, std::size_t skip) {
    std::string piece(unread().substr(0, size));
    consumed_ += size + skip;
    return piece;
}

void Framing::drop_tolerated_nul() {
    if (!nul_tolerated_ || buffered() == 0) return;
    nul_tolerated_ = false;
    if (unread().front() == '\0') ++consumed_;
}

Result<std::optional<std::string>> Framing::next_line() {
    drop_tolerated_nul();
    const auto bytes = unread();
    const auto end = bytes.find('\n');
    const auto line = bytes.substr(0, end);  // npos: all there is
    const std::size_t ended_by_cr = !line.empty() && line.back() == '\r' ? 1 : 0;
    const auto size = line.size() - ended_by_cr;
    if (size > limits_.line_size_max) {
        return fail(ErrorCode::invalid,
                    "line is longer than " + std::to_string(limits_.line_size_max) + " bytes");
    }
    if (end == std::string_view::npos) return std::nullopt;
    return take(size, ended_by_cr + 1);
}

// True: body_size_ is known.
Result<bool> Framing::read_header() {
    while (true) {
        auto line = next_line();
        if (!line) return tl::unexpected(line.error());
        if (!line->has_value()) return false;
        const std::string_view text = trim(**line);
        if (text.empty()) {
            if (++empty_lines_ > empty_lines_max) {
                return fail(ErrorCode::invalid, "nothing but empty lines");
            }
            continue;
        }
        const auto colon = text.find(':');
        if (colon == std::string_view::npos || !is_length_name(trim(text.substr(0, colon)))) {
            return fail(ErrorCode::invalid, "expected a Content-length line");
        }
        const auto length = parse_length(trim(text.substr(colon + 1)));
        if (!length) return fail(ErrorCode::invalid, "Content-length is not a number");
        if (*length > limits_.body_size_max) {
            return fail(ErrorCode::invalid, "Content-length is over the limit of " +
                                                std::to_string(limits_.body_size_max));
        }
        body_size_ = *length;
        return true;
    }
}

Result<std::optional<std::string>> Framing::next_body() {
    if (!body_size_) {
        const auto known = read_header();
        if (!known) return tl::unexpected(known.error());
        if (!*known) return std::nullopt;
    }
    if (buffered() < *body_size_) return std::nullopt;
    const auto size = *body_size_;
    body_size_.reset();
    empty_lines_ = 0;
    return take(size, 0);
}

Result<std::optional<std::string>> Framing::next_until(std::string_view end) {
    const auto found = unread().find(end);
    const auto size = found == std::string_view::npos ? buffered() : found + end.size();
    if (size > limits_.body_size_max) {
        return fail(ErrorCode::invalid,
                    "message is longer than " + std::to_string(limits_.body_size_max) + " bytes");
    }
    if (found == std::string_view::npos) return std::nullopt;
    return take(size, 0);
}

}  // namespace dstm::tsp
