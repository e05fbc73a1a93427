// Runs a program of the operator's: no shell, a fixed environment, one at a time and in order, each
// for a bounded time. Off the event thread.
#pragma once

#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/io/asio.hpp"

namespace dstm::client {

// Blocking. timed_out: it was killed after `limit`. refused: it ended with another status than 0.
[[nodiscard]] Result<void> run_program(const std::string& path,
                                       const std::vector<std::string>& arguments, Duration limit);

class ScriptRunner {
public:
    explicit ScriptRunner(Duration limit = std::chrono::seconds(10)) : limit_(limit) {}
    // Waits for what was asked, each within its bound.
    ~ScriptRunner() { worker_.join(); }

    // A failure is logged (CLIENT_SCRIPT_FAILED); nothing depends on it.
    void run(std::string path, std::vector<std::string> arguments);

private:
    Duration limit_;
    asio::thread_pool worker_{1};
};

}  // namespace dstm::client
