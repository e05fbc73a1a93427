// posix_spawn and a pidfd.
#include "client/host/script.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log/log.hpp"

namespace dstm::client {
namespace {

Result<pid_t> start_program(const std::string& path, const std::vector<std::string>& arguments) {
    std::vector<char*> argv{const_cast<char*>(path.c_str())};
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    static char search_path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    const std::array<char*, 2> environment{search_path, nullptr};

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    // A group of its own, so that what it starts can be ended with it; and the signals as a program
    // expects them.
    sigset_t none;
    sigset_t usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    pid_t child = 0;
    const int error = posix_spawn(&child, path.c_str(), &files, &attributes, argv.data(),
                                  environment.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) return tl::unexpected(error_from_errno(error, "start " + path));
    return child;
}

// False: it still runs.
bool wait_for(pid_t child, Duration limit) {
    const int handle = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
    if (handle < 0) return false;
    pollfd end{handle, POLLIN, 0};
    const auto by = std::chrono::steady_clock::now() + limit;
    int count = -1;
    do {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            by - std::chrono::steady_clock::now());
        count = poll(&end, 1, static_cast<int>(std::max<long>(0, left.count())));
    } while (count < 0 && errno == EINTR);
    close(handle);
    return count > 0;
}

}  // namespace

Result<void> run_program(const std::string& path, const std::vector<std::string>& arguments,
                         Duration limit) {
    const auto child = start_program(path, arguments);
    if (!child) return tl::unexpected(child.error());
    const bool has_ended = wait_for(*child, limit);
    if (!has_ended) kill(-*child, SIGKILL);
    int status = 0;
    while (waitpid(*child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!has_ended) return fail(ErrorCode::timed_out, path + " took too long and was killed");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    const auto how = WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status))
                                       : "signal " + std::to_string(WTERMSIG(status));
    return fail(ErrorCode::refused, path + " ended with " + how);
}

void ScriptRunner::run(std::string path, std::vector<std::string> arguments) {
    asio::post(worker_, [path = std::move(path), arguments = std::move(arguments),
                         limit = limit_] {
        const auto done = run_program(path, arguments, limit);
        if (!done) log_warning("CLIENT_SCRIPT_FAILED", "{}", to_string(done.error()));
    });
}

}  // namespace dstm::client
