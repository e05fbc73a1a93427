// Cuts the byte stream of a TSP connection into its pieces: lines (RFC 5572 s4.4.2) and bodies
// after a Content-length line (s4.4.3). It knows no phase: who reads decides which piece is next.
//
// Sizes are judged before the bytes arrive: a length over the limit, or a line that has no end
// within it, is an error at once. An error is final; do not read on.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace dstm::tsp {

struct FramingLimits {
    std::size_t line_size_max = 4096;  // without the line end
    std::size_t body_size_max = 8192;  // the number in Content-length
};

class Framing {
public:
    explicit Framing(FramingLimits limits) : limits_(limits) {}

    void append(std::string_view bytes);

    // The next line without its end, CR LF or bare LF; nullopt: more bytes are needed.
    [[nodiscard]] Result<std::optional<std::string>> next_line();
    // The bytes counted by the next Content-length line. Empty lines before that line are skipped,
    // because peers disagree whether the CR LF after the XML is counted.
    [[nodiscard]] Result<std::optional<std::string>> next_body();
    // Everything up to and with `end`, of body_size_max bytes at most: XML that nobody counted.
    [[nodiscard]] Result<std::optional<std::string>> next_until(std::string_view end);

    // Old clients put one NUL after the line AUTHENTICATE: drop it if the next byte is one.
    void tolerate_nul() { nul_tolerated_ = true; }

    [[nodiscard]] std::size_t buffered() const { return buffer_.size() - consumed_; }
    // Bytes of a piece are here, the rest is not. Meaningful after a read gave nullopt.
    [[nodiscard]] bool has_partial() const { return buffered() > 0 || body_size_.has_value(); }
    // Largest input that can wait to be read without being wrong: one line and one body.
    [[nodiscard]] std::size_t buffered_max() const;

private:
    [[nodiscard]] std::string_view unread() const;
    [[nodiscard]] Result<bool> read_header();
    void drop_tolerated_nul();
    [[nodiscard]] std::string take(std::size_t size, std::size_t skip);

    FramingLimits limits_;
    std::string buffer_;
    std::size_t consumed_ = 0;              // bytes of buffer_ already given out
    std::optional<std::size_t> body_size_;  // Content-length was read, the body was not
    std::size_t empty_lines_ = 0;           // since the last body
    bool nul_tolerated_ = false;
};

}  // namespace dstm::tsp
