// One run of a program: started without a shell, fed on its standard input, bounded in time and in
// what is kept of its output. Knows nothing of what the program does.
//
// Event thread only. Destroying it kills the program; `done` is not called then.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/io/fwd.hpp"

namespace dstm::server {

struct ToolResult {
    int exit_code = 0;   // -1: ended by a signal
    std::string output;  // the beginning of both standard outputs; not to be trusted
};

class ToolRun {
public:
    using Finished = std::function<void(Result<ToolResult>)>;

    static constexpr std::size_t output_max = 1024;

    // `arguments` begins with the program's absolute path. `done` is called once, later.
    // timed_out: it was killed.
    [[nodiscard]] static Result<std::unique_ptr<ToolRun>> start(
        asio::io_context& context, const std::vector<std::string>& arguments, std::string input,
        Duration timeout, Finished done);
    ~ToolRun();
    ToolRun(const ToolRun&) = delete;
    ToolRun& operator=(const ToolRun&) = delete;

private:
    struct State;
    explicit ToolRun(std::shared_ptr<State> state) : state_(std::move(state)) {}

    std::shared_ptr<State> state_;
};

}  // namespace dstm::server
