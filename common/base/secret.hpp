// A string that cannot be printed and is wiped when it goes.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace dstm {

class Secret {
public:
    Secret() = default;
    explicit Secret(std::string value) : value_(std::move(value)) {}
    Secret(const Secret&) = default;
    Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.wipe(); }
    Secret& operator=(const Secret& other) {
        if (this != &other) {
            wipe();
            value_ = other.value_;
        }
        return *this;
    }
    Secret& operator=(Secret&& other) noexcept {
        if (this != &other) {
            wipe();
            value_ = std::move(other.value_);
            other.wipe();
        }
        return *this;
    }
    ~Secret() { wipe(); }

    [[nodiscard]] bool empty() const { return value_.empty(); }
    // The one way to the plain text; the name is meant to be found in a review.
    [[nodiscard]] std::string_view reveal() const { return value_; }

private:
    void wipe() {
        // Volatile, so that the compiler keeps the writes to memory that is about to be freed.
        volatile char* bytes = value_.data();
        for (std::size_t i = 0; i < value_.size(); ++i) bytes[i] = 0;
        value_.clear();
    }

    std::string value_;
};

}  // namespace dstm
