// Cuts a byte stream into lines that end with LF. It knows neither sockets nor what a line means.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace dstm::server {

class LineBuffer {
public:
    explicit LineBuffer(std::size_t line_size_max) : line_size_max_(line_size_max) {}

    void append(std::string_view bytes) { bytes_.append(bytes); }

    // The next whole line without its LF; nullopt when there is none yet.
    [[nodiscard]] std::optional<std::string> next() {
        const std::size_t end = bytes_.find('\n', searched_);
        if (end == std::string::npos) {
            bytes_.erase(0, taken_);
            taken_ = 0;
            searched_ = bytes_.size();
            return std::nullopt;
        }
        std::string line = bytes_.substr(taken_, end - taken_);
        taken_ = searched_ = end + 1;
        return line;
    }

    // The line that is being received is longer than allowed. To be asked after next() gave none.
    [[nodiscard]] bool is_overlong() const { return bytes_.size() - taken_ > line_size_max_; }

private:
    std::size_t line_size_max_;
    std::string bytes_;
    std::size_t taken_ = 0;     // before this, lines that were given out
    std::size_t searched_ = 0;  // before this, no LF is left
};

}  // namespace dstm::server
