// See the header.
#include "kea-hook/connection.hpp"

namespace dstm::kea {

namespace {

// Bytes that were dealt with are cut off when they are many, not each time.
constexpr std::size_t cut_at = 64 * 1024;

}  // namespace

void LineBuffer::append(std::string_view bytes) {
    if (start_ == bytes_.size() || start_ >= cut_at) {
        bytes_.erase(0, start_);
        searched_ -= start_;
        start_ = 0;
    }
    bytes_.append(bytes);
}

std::size_t LineBuffer::find_end() {
    const std::size_t end = bytes_.find('\n', searched_);
    searched_ = end == std::string::npos ? bytes_.size() : end;
    return end;
}

bool LineBuffer::has_line() { return find_end() != std::string::npos; }

bool LineBuffer::too_long() {
    const std::size_t end = find_end();
    return (end == std::string::npos ? size() : end - start_) >= line_size_max;
}

std::optional<std::string> LineBuffer::take() {
    const std::size_t end = find_end();
    if (end == std::string::npos) return std::nullopt;
    std::string line = bytes_.substr(start_, end - start_);
    start_ = end + 1;
    searched_ = start_;
    return line;
}

void OutputBuffer::sent(std::size_t count) {
    start_ += count;
    if (start_ == bytes_.size() || start_ >= cut_at) {
        bytes_.erase(0, start_);
        start_ = 0;
    }
}

}  // namespace dstm::kea
