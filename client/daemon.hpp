// The client as a process: makes every part, joins them, and runs until the engine has stopped.
#pragma once

#include <functional>
#include <optional>

#include "client/config.hpp"
#include "client/exit_code.hpp"
#include "common/base/clock.hpp"
#include "common/base/result.hpp"

namespace dstm::client {

struct RunOptions {
    // A person waits: a refusal that will stand ends the process.
    bool ends_on_refusal = false;
    // Prints the address, and why it failed, for a person.
    bool prints = false;
    // Begins with the first `up` over the control socket instead of at once.
    bool waits_for_request = false;
    // Gives up when the tunnel is not up by then.
    std::optional<Duration> timeout;
    // Called once: the control socket listens, or why the process cannot start.
    std::function<void(const Result<void>&)> started;
};

// SIGTERM, SIGINT and SIGHUP stop it in order, a second one at once.
[[nodiscard]] ExitCode run_client(const Settings& settings, const RunOptions& options);

}  // namespace dstm::client
