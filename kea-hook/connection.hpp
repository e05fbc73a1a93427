// One peer of the stream socket as bytes: lines come out of what it sent, what is for it waits
// until it reads. Knows no descriptor and no event loop.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace dstm::kea {

inline constexpr std::size_t line_size_max = std::size_t{1} << 20;  // kea-stream.md, with its LF

// Cuts a byte stream into lines.
class LineBuffer {
public:
    void append(std::string_view bytes);
    // The next whole line without its LF, or nothing yet.
    [[nodiscard]] std::optional<std::string> take();
    [[nodiscard]] bool has_line();
    // The line that is being received can no longer end within the limit.
    [[nodiscard]] bool too_long();
    [[nodiscard]] std::size_t size() const { return bytes_.size() - start_; }

private:
    [[nodiscard]] std::size_t find_end();

    std::string bytes_;
    std::size_t start_ = 0;     // of the first line
    std::size_t searched_ = 0;  // no LF before this position
};

// What waits to be sent.
class OutputBuffer {
public:
    void append(std::string_view bytes) { bytes_.append(bytes); }
    [[nodiscard]] std::string_view waiting() const {
        return std::string_view(bytes_).substr(start_);
    }
    [[nodiscard]] std::size_t size() const { return bytes_.size() - start_; }
    void sent(std::size_t count);

private:
    std::string bytes_;
    std::size_t start_ = 0;
};

}  // namespace dstm::kea
