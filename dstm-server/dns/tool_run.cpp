// See the header. The program's three standard streams are one socket pair, so that a write to a
// program that has died is an error and no signal.
#include "dstm-server/dns/tool_run.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {  // glibc 2.36 has forgotten to say so itself
#include <sys/pidfd.h>
}

#include "common/io/asio.hpp"
#include "common/io/timer.hpp"

namespace dstm::server {

namespace {

using Socket = asio::local::stream_protocol::socket;

Result<pid_t> spawn(const std::vector<std::string>& arguments, int stream) {
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    for (int standard : {0, 1, 2}) posix_spawn_file_actions_adddup2(&files, stream, standard);

    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

    std::vector<char*> argv;
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    char locale[] = "LC_ALL=C";
    char* environment[] = {locale, nullptr};
    pid_t pid = -1;
    const int error =
        posix_spawn(&pid, argv.front(), &files, &attributes, argv.data(), environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) {
        return tl::unexpected<Error>(error_from_errno(error, "start " + arguments.front()));
    }
    return pid;
}

}  // namespace

struct ToolRun::State : std::enable_shared_from_this<State> {
    State(asio::io_context& context, std::string text, Finished callback)
        : stream(context),
          exit(context),
          timer(context),
          input(std::move(text)),
          done(std::move(callback)) {}

    void begin(Duration timeout) {
        timer.after(timeout, [this] {
            timed_out = true;
            kill_all();
        });
        exit.async_wait(asio::posix::stream_descriptor::wait_read,
                        [self = shared_from_this()](const ErrorCodeOfAsio& error) {
                            if (!error) self->ended();
                        });
        asio::async_write(stream, asio::buffer(input),
                          [self = shared_from_this()](const ErrorCodeOfAsio&, std::size_t) {
                              // The program's end says what became of it, not this write.
                              ErrorCodeOfAsio ignored;
                              self->stream.shutdown(Socket::shutdown_send, ignored);
                          });
        read();
    }

    // Reads on after the limit, so that the program does not block.
    void read() {
        stream.async_read_some(
            asio::buffer(chunk),
            [self = shared_from_this()](const ErrorCodeOfAsio& error, std::size_t count) {
                self->keep(count);
                if (!error) self->read();
            });
    }

    void keep(std::size_t count) {
        output.append(chunk.data(), std::min(count, output_max - output.size()));
    }

    void kill_all() const {
        if (pid > 0) ::kill(-pid, SIGKILL);
    }

    int reap() {
        int status = 0;
        while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        kill_all();  // what it may have started
        pid = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

    void ended() {
        const int code = reap();
        ErrorCodeOfAsio error;
        stream.non_blocking(true, error);
        while (!error) {
            const std::size_t count = stream.read_some(asio::buffer(chunk), error);
            keep(count);
        }
        close();
        const auto call = std::exchange(done, nullptr);
        if (timed_out) {
            call(fail(ErrorCode::timed_out, "the program did not end in time"));
        } else {
            call(ToolResult{code, std::move(output)});
        }
    }

    void close() {
        timer.cancel();
        ErrorCodeOfAsio ignored;
        stream.close(ignored);
        exit.close(ignored);
    }

    Socket stream;
    asio::posix::stream_descriptor exit;  // readable when the program has ended
    io::Timer timer;
    std::string input;
    Finished done;
    std::string output;
    std::array<char, 1024> chunk{};
    pid_t pid = -1;
    bool timed_out = false;
};

Result<std::unique_ptr<ToolRun>> ToolRun::start(asio::io_context& context,
                                                const std::vector<std::string>& arguments,
                                                std::string input, Duration timeout,
                                                Finished done) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return tl::unexpected<Error>(error_from_errno(errno, "socketpair"));
    }
    const auto state = std::make_shared<State>(context, std::move(input), std::move(done));
    state->stream.assign(asio::local::stream_protocol(), ends[0]);
    const auto pid = spawn(arguments, ends[1]);
    ::close(ends[1]);
    if (!pid) return tl::unexpected<Error>(pid.error());
    state->pid = *pid;
    const int exit = ::pidfd_open(*pid, 0);
    if (exit < 0) {
        const auto error = error_from_errno(errno, "pidfd_open");
        state->kill_all();
        state->reap();
        return tl::unexpected<Error>(error);
    }
    state->exit.assign(exit);
    state->begin(timeout);
    return std::unique_ptr<ToolRun>(new ToolRun(state));
}

ToolRun::~ToolRun() {
    if (state_->pid > 0) {
        state_->kill_all();
        state_->reap();
    }
    state_->close();
}

}  // namespace dstm::server
