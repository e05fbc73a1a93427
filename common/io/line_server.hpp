// A UNIX socket on which one line asks and one line answers: the operator's way into a daemon.
// Does not know what is in a line. Bounds: connections, size of a line, idle time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/io/fwd.hpp"

namespace dstm::io {

struct LineServerLimits {
    std::size_t line_size_max = 64 * 1024;
    std::size_t connections_max = 32;
    Duration idle_max = std::chrono::seconds(60);  // between lines, and to take an answer
};

class LineServer {
public:
    // Gets a line without its end, gives the answer without one.
    using Answer = std::function<std::string(const std::string& line)>;

    // The file gets mode 0660, replaces one on which nobody listens, and goes with the server.
    [[nodiscard]] static Result<std::unique_ptr<LineServer>> listen(asio::io_context& context,
                                                                    const std::string& path,
                                                                    Answer answer,
                                                                    LineServerLimits limits = {});
    ~LineServer();
    LineServer(const LineServer&) = delete;
    LineServer& operator=(const LineServer&) = delete;

private:
    struct State;
    LineServer(std::shared_ptr<State> state, std::string path);
    std::shared_ptr<State> state_;
    std::string path_;
};

}  // namespace dstm::io
