// Accepts, reads a line, answers it, reads the next. One connection is one object that lives by its
// pending operation.
#include "common/io/line_server.hpp"

#include <unistd.h>

#include <utility>

#include "common/io/asio.hpp"
#include "common/io/timer.hpp"
#include "common/io/unix_listener.hpp"

namespace dstm::io {
namespace {

using Unix = asio::local::stream_protocol;
constexpr Duration accept_pause = std::chrono::milliseconds(100);

}  // namespace

struct LineServer::State : std::enable_shared_from_this<State> {
    State(asio::io_context& io, Unix::acceptor open, Answer function, LineServerLimits bounds)
        : context(io),
          acceptor(std::move(open)),
          answer(std::move(function)),
          limits(bounds),
          pause(io) {}

    void accept();

    asio::io_context& context;
    Unix::acceptor acceptor;
    Answer answer;
    LineServerLimits limits;
    Timer pause;
    std::size_t connections = 0;
    bool is_stopped = false;
};

namespace {

// Reads a line, answers it, reads the next. `Owner` is LineServer::State, which is private.
template <class Owner>
class Connection : public std::enable_shared_from_this<Connection<Owner>> {
public:
    Connection(std::shared_ptr<Owner> owner, Unix::socket socket)
        : owner_(std::move(owner)), socket_(std::move(socket)), idle_(owner_->context) {
        ++owner_->connections;
    }
    ~Connection() { --owner_->connections; }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void read() {
        idle_.after(owner_->limits.idle_max, [weak = this->weak_from_this()] {
            if (auto self = weak.lock()) self->close();
        });
        asio::async_read_until(
            socket_, asio::dynamic_buffer(buffer_, owner_->limits.line_size_max), '\n',
            [self = this->shared_from_this()](const ErrorCodeOfAsio& error, std::size_t size) {
                if (error || self->owner_->is_stopped) return self->close();
                self->answer(size);
            });
    }

private:
    void answer(std::size_t size) {
        std::string line = buffer_.substr(0, size - 1);
        buffer_.erase(0, size);
        if (!line.empty() && line.back() == '\r') line.pop_back();
        out_ = owner_->answer(line) + '\n';
        asio::async_write(
            socket_, asio::buffer(out_),
            [self = this->shared_from_this()](const ErrorCodeOfAsio& error, std::size_t) {
                if (error || self->owner_->is_stopped) return self->close();
                self->read();
            });
    }

    void close() {
        idle_.cancel();
        ErrorCodeOfAsio ignored;
        socket_.close(ignored);
    }

    std::shared_ptr<Owner> owner_;
    Unix::socket socket_;
    Timer idle_;
    std::string buffer_;
    std::string out_;
};

}  // namespace

void LineServer::State::accept() {
    acceptor.async_accept(
        [self = shared_from_this()](const ErrorCodeOfAsio& error, Unix::socket socket) {
            if (self->is_stopped) return;
            if (error) {
                self->pause.after(accept_pause, [weak = self->weak_from_this()] {
                    if (auto again = weak.lock(); again && !again->is_stopped) again->accept();
                });
                return;
            }
            if (self->connections < self->limits.connections_max) {
                std::make_shared<Connection<State>>(self, std::move(socket))->read();
            }
            self->accept();
        });
}

Result<std::unique_ptr<LineServer>> LineServer::listen(asio::io_context& context,
                                                       const std::string& path, Answer answer,
                                                       LineServerLimits limits) {
    auto acceptor = open_unix_listener(context, path);
    if (!acceptor) return tl::unexpected<Error>(acceptor.error());
    auto state = std::make_shared<State>(context, std::move(*acceptor), std::move(answer), limits);
    state->accept();
    return std::unique_ptr<LineServer>(new LineServer(std::move(state), path));
}

LineServer::LineServer(std::shared_ptr<State> state, std::string path)
    : state_(std::move(state)), path_(std::move(path)) {}

LineServer::~LineServer() {
    state_->is_stopped = true;
    ErrorCodeOfAsio ignored;
    state_->acceptor.close(ignored);
    ::unlink(path_.c_str());
}

}  // namespace dstm::io
