// The endpoint from start to stop: builds the parts, runs them, takes them down in reverse order.
#pragma once

namespace dstm::tep {

struct Config;

// Returns when SIGTERM or SIGINT has come and everything is down: 0. 1: it could not start, or
// somebody deleted the tunnel device.
[[nodiscard]] int run_daemon(const Config& config);

}  // namespace dstm::tep
