// Lines over a UNIX socket; does not know what is in a line.
#include "client/control_socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <set>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/io/asio.hpp"

namespace dstm::client {
namespace {

using Local = asio::local::stream_protocol;

constexpr std::size_t line_size_max = 4096;
constexpr std::size_t reply_size_max = 65536;
constexpr std::size_t connections_max = 32;

// One connection: a line in, a line out.
class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(Local::socket socket, Control& control)
        : socket_(std::move(socket)), control_(&control), request_(line_size_max) {}

    void start(std::function<void()> ended) {
        ended_ = std::move(ended);
        asio::async_read_until(
            socket_, request_, '\n',
            [self = shared_from_this()](const ErrorCodeOfAsio& error, std::size_t size) {
                if (error || self->control_ == nullptr) {
                    self->end();
                    return;
                }
                const auto data = self->request_.data();
                const std::string line(asio::buffers_begin(data),
                                       asio::buffers_begin(data) + static_cast<long>(size));
                self->watch();
                self->control_->handle(
                    line, self.get(),
                    [weak = self->weak_from_this()](std::string reply) {
                        if (const auto here = weak.lock()) here->send(std::move(reply));
                    });
            });
    }

    // The control goes away; a reply on its way is still sent.
    void detach() {
        if (control_ != nullptr) control_->withdraw(this);
        control_ = nullptr;
        ended_ = nullptr;
        if (reply_.empty()) end();
    }

private:
    // Notices that the asker has gone before the answer came.
    void watch() {
        socket_.async_read_some(asio::buffer(&unwanted_, 1),
                                [self = shared_from_this()](const ErrorCodeOfAsio&, std::size_t) {
                                    if (self->reply_.empty()) self->end();
                                });
    }

    void send(std::string reply) {
        reply_ = std::move(reply);
        asio::async_write(socket_, asio::buffer(reply_),
                          [self = shared_from_this()](const ErrorCodeOfAsio&, std::size_t) {
                              self->end();
                          });
    }

    void end() {
        if (control_ != nullptr) control_->withdraw(this);
        ErrorCodeOfAsio ignored;
        socket_.close(ignored);
        if (const auto ended = std::exchange(ended_, nullptr)) ended();
    }

    Local::socket socket_;
    Control* control_;
    asio::streambuf request_;
    std::string reply_;
    char unwanted_ = 0;
    std::function<void()> ended_;
};

sockaddr_un to_sockaddr(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return address;
}

// A descriptor that closes itself.
struct Descriptor {
    int number = -1;
    ~Descriptor() { if (number >= 0) ::close(number); }
};

bool connect_to(const Descriptor& socket, const std::string& path) {
    const auto address = to_sockaddr(path);
    return ::connect(socket.number, reinterpret_cast<const sockaddr*>(&address),
                     sizeof(address)) == 0;
}

}  // namespace

struct ControlSocket::State : std::enable_shared_from_this<ControlSocket::State> {
    State(asio::io_context& context, std::string socket_path, Control& to)
        : acceptor(context), path(std::move(socket_path)), control(to) {}

    Local::acceptor acceptor;
    std::string path;
    Control& control;
    std::set<std::shared_ptr<Connection>> connections;

    void accept() {
        acceptor.async_accept([self = shared_from_this()](const ErrorCodeOfAsio& error,
                                                          Local::socket socket) {
            if (!self->acceptor.is_open()) return;
            if (!error && self->connections.size() < connections_max) {
                auto connection = std::make_shared<Connection>(std::move(socket), self->control);
                self->connections.insert(connection);
                connection->start([self, connection] { self->connections.erase(connection); });
            }
            self->accept();
        });
    }
};

Result<ControlSocket> ControlSocket::listen(asio::io_context& context, const std::string& path,
                                            Control& control) {
    const Descriptor probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (connect_to(probe, path)) {
        return fail(ErrorCode::conflict, "a client already listens on " + path);
    }
    if (errno == ECONNREFUSED) ::unlink(path.c_str());
    if (const auto slash = path.rfind('/'); slash != std::string::npos && slash > 0) {
        ::mkdir(path.substr(0, slash).c_str(), 0755);
    }
    auto state = std::make_shared<State>(context, path, control);
    ErrorCodeOfAsio error;
    state->acceptor.open(Local(), error);
    // From the first moment nobody else's: the mode is set by the mask, not afterwards.
    const auto mask = ::umask(0177);
    if (!error) state->acceptor.bind(Local::endpoint(path), error);
    ::umask(mask);
    if (!error) state->acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
        return tl::unexpected(error_from_errno(error.value(), "control socket " + path));
    }
    state->accept();
    return ControlSocket(std::move(state));
}

ControlSocket::ControlSocket(std::shared_ptr<State> state) : state_(std::move(state)) {}
ControlSocket::ControlSocket(ControlSocket&&) noexcept = default;

ControlSocket::~ControlSocket() {
    if (!state_) return;
    ErrorCodeOfAsio ignored;
    state_->acceptor.close(ignored);
    ::unlink(state_->path.c_str());
    const auto connections = std::exchange(state_->connections, {});
    for (const auto& connection : connections) connection->detach();
}

Result<std::string> ask_running_client(const std::string& path, const std::string& request,
                                       std::optional<Duration> timeout) {
    const Descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!connect_to(socket, path)) {
        const int error = errno;
        if (error == ECONNREFUSED || error == ENOENT) {
            return fail(ErrorCode::not_found, "no dstm-client listens on " + path);
        }
        return tl::unexpected(error_from_errno(error, "connect to " + path));
    }
    const auto line = request + '\n';
    if (::send(socket.number, line.data(), line.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(line.size())) {
        return tl::unexpected(error_from_errno(errno, "send to " + path));
    }
    const auto until = std::chrono::steady_clock::now() + timeout.value_or(Duration{0});
    std::string reply;
    while (reply.empty() || reply.back() != '\n') {
        int wait = -1;
        if (timeout) {
            const auto left = std::chrono::ceil<Duration>(until - std::chrono::steady_clock::now());
            wait = static_cast<int>(std::max<Duration::rep>(0, left.count()));
        }
        pollfd readable{socket.number, POLLIN, 0};
        const int ready = ::poll(&readable, 1, wait);
        if (ready < 0 && errno == EINTR) continue;
        if (ready == 0) return fail(ErrorCode::timed_out, "no answer from the client in time");
        std::array<char, 4096> buffer{};
        const auto count = ::recv(socket.number, buffer.data(), buffer.size(), 0);
        if (count <= 0 || reply.size() > reply_size_max) {
            return fail(ErrorCode::closed, "the client ended without an answer");
        }
        reply.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return reply;
}

}  // namespace dstm::client
