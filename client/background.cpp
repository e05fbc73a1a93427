// fork, setsid and a pipe, as background.hpp says.
#include "client/background.hpp"

#include <array>
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <unistd.h>

namespace dstm::client {
namespace {

constexpr char started_mark = '+';

// The child's word to the parent: one mark, or the error's text.
void tell(int pipe_end, const Result<void>& started) {
    const auto text = started ? std::string(1, started_mark) : started.error().context;
    const auto written = write(pipe_end, text.data(), text.size());
    (void)written;  // a parent that has gone does not listen
    close(pipe_end);
}

[[noreturn]] void live_as_child(int pipe_end, const std::string& log_file,
                                const std::function<ExitCode(Started)>& body) {
    setsid();
    const int null = open("/dev/null", O_RDWR);
    const int log =
        open(log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOCTTY, 0600);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(log >= 0 ? log : null, STDERR_FILENO);
    for (const int descriptor : {null, log}) {
        if (descriptor > STDERR_FILENO) close(descriptor);
    }
    const auto code = body([pipe_end](const Result<void>& started) { tell(pipe_end, started); });
    end_process(code);
}

}  // namespace

// The destructors of exit() would run beside threads that are still inside a library (errands.hpp).
void end_process(ExitCode code) {
    std::fflush(nullptr);
    _exit(static_cast<int>(code));
}

Result<void> start_in_background(const std::string& log_file,
                                 const std::function<ExitCode(Started)>& body) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return tl::unexpected(error_from_errno(errno, "pipe"));
    const auto child = fork();
    if (child < 0) {
        const int error = errno;
        close(ends[0]);
        close(ends[1]);
        return tl::unexpected(error_from_errno(error, "fork"));
    }
    if (child == 0) {
        close(ends[0]);
        live_as_child(ends[1], log_file, body);
    }
    close(ends[1]);
    std::string word;
    std::array<char, 512> buffer{};
    for (;;) {
        const auto count = read(ends[0], buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        word.append(buffer.data(), static_cast<std::size_t>(count));
    }
    close(ends[0]);
    if (word == std::string(1, started_mark)) return {};
    return fail(ErrorCode::unavailable,
                word.empty() ? "the client ended while it started; see " + log_file : word);
}

}  // namespace dstm::client
