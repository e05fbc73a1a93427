// Puts the client into the background, and tells the foreground whether it started; ends it.
#pragma once

#include <functional>
#include <string>

#include "client/exit_code.hpp"
#include "common/base/result.hpp"

namespace dstm::client {

using Started = std::function<void(const Result<void>&)>;

// Forks. The child leads a session of its own, writes its log to `log_file` and runs `body`, which
// calls the function it is given once. Returns in the parent, when that was called or the child
// ended. To be called before any thread is made.
[[nodiscard]] Result<void> start_in_background(const std::string& log_file,
                                               const std::function<ExitCode(Started)>& body);

// Whatever other threads are about.
[[noreturn]] void end_process(ExitCode code);

}  // namespace dstm::client
