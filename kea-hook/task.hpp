// A command under way. Most are one step; a list or a batch is many, so that Kea's main thread can
// do other things in between.
#pragma once

#include <optional>
#include <string>

#include "kea-hook/reply.hpp"

namespace dstm::kea {

class Task {
public:
    explicit Task(std::string name) : name_(std::move(name)) {}
    virtual ~Task() = default;
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;

    // The answer, when there is one. Never throws: what Kea throws becomes an answer.
    [[nodiscard]] std::optional<Reply> step();

protected:
    [[nodiscard]] virtual std::optional<Reply> advance() = 0;

private:
    std::string name_;
};

}  // namespace dstm::kea
