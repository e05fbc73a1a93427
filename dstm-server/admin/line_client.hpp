// Asks a daemon's admin socket one question and waits for the answer. For dstmctl: it blocks.
#pragma once

#include <string>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"

namespace dstm::server {

// unavailable: nobody listens at `path`. timed_out, closed: no whole line came back.
[[nodiscard]] Result<std::string> ask(const std::string& path, const std::string& line,
                                      Duration timeout = std::chrono::seconds(10));

}  // namespace dstm::server
