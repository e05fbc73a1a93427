// The TCP socket around tsp::ClientSession.
#include "client/net/tcp_dialogue.hpp"

#include <utility>

namespace dstm::client {

TcpDialogue::TcpDialogue(const Surroundings& around, const SignallingConfig& config, Target server,
                         EventHandler handler)
    : Dialogue(around, config, std::move(server), std::move(handler)),
      session_(config.session),
      socket_(around.context) {}

std::shared_ptr<TcpDialogue> TcpDialogue::self() {
    return std::static_pointer_cast<TcpDialogue>(shared_from_this());
}

tsp::client::Actions TcpDialogue::feed(const SessionEvent& event, Instant now) {
    return std::visit([&](const auto& one) { return session_.handle(one, now); }, event);
}

std::optional<Dialogue::Ends> TcpDialogue::ends() const {
    ErrorCodeOfAsio error;
    const auto local = socket_.local_endpoint(error);
    const auto peer = error ? Tcp::endpoint() : socket_.remote_endpoint(error);
    if (error) return std::nullopt;
    return Ends{local.address(), local.port(), peer.address(), peer.port()};
}

// Begins with the next address, and arms its successor's start.
void TcpDialogue::connect_next() {
    if (addresses_.empty()) {
        if (attempts_.empty()) no_connection();
        return;
    }
    const auto address = addresses_.front();
    addresses_.pop_front();
    attempts_.push_back(std::make_shared<Attempt>(around().context));
    connect(attempts_.back(), address);
    if (addresses_.empty()) return;
    timer_.expires_after(config().attempt_delay);
    timer_.async_wait([self = self()](const ErrorCodeOfAsio& error) {
        if (!error && !self->is_closing()) self->connect_next();
    });
}

void TcpDialogue::connect(const std::shared_ptr<Attempt>& attempt,
                          const asio::ip::address& address) {
    attempt->timeout.expires_after(config().connect_timeout);
    attempt->timeout.async_wait([attempt](const ErrorCodeOfAsio& error) {
        if (error) return;
        attempt->is_too_late = true;
        ErrorCodeOfAsio ignored;
        attempt->socket.close(ignored);
    });
    attempt->socket.async_connect(
        {address, port()}, [self = self(), attempt, address](ErrorCodeOfAsio error) {
            attempt->timeout.cancel();
            if (self->is_closing() || self->socket_.is_open()) return;
            if (attempt->is_too_late) error = asio::error::timed_out;
            if (!error) return self->connected(std::move(attempt->socket));
            self->note_trouble(address, self->port(), error.message());
            self->attempts_.remove(attempt);
            self->timer_.cancel();
            self->connect_next();
        });
}

void TcpDialogue::connected(Tcp::socket socket) {
    timer_.cancel();
    socket_ = std::move(socket);
    give_up_attempts();
    ErrorCodeOfAsio ignored;
    socket_.set_option(Tcp::no_delay(true), ignored);
    read_more();
    tell_session(tsp::client::Connected{});
}

void TcpDialogue::give_up_attempts() {
    ErrorCodeOfAsio ignored;
    for (const auto& attempt : std::exchange(attempts_, {})) attempt->socket.close(ignored);
}

void TcpDialogue::read_more() {
    socket_.async_read_some(
        asio::buffer(inbox_), [self = self()](const ErrorCodeOfAsio& error, std::size_t count) {
            if (self->is_closing()) return;
            if (error) {
                self->tell_session(tsp::client::PeerClosed{});
                // An idle session has nothing to say about it, its owner wants to know.
                self->failed(SessionFailed::Cause::lost, "the server closed the connection");
                return;
            }
            self->tell_session(
                tsp::client::BytesReceived{std::string_view(self->inbox_.data(), count)});
            if (!self->is_closing()) self->read_more();
        });
}

void TcpDialogue::transmit(std::string bytes) {
    outbox_.push_back(std::move(bytes));
    if (outbox_.size() == 1) write_more();
}

void TcpDialogue::write_more() {
    asio::async_write(socket_, asio::buffer(outbox_.front()),
                      [self = self()](const ErrorCodeOfAsio& error, std::size_t) {
                          // A failed write shows as a failed read as well, which tells it.
                          if (error) {
                              self->outbox_.clear();
                          } else {
                              self->outbox_.pop_front();
                          }
                          if (!self->outbox_.empty()) {
                              self->write_more();
                          } else if (self->is_closing()) {
                              self->shut();
                          }
                      });
}

void TcpDialogue::flush() {
    timer_.expires_after(config().flush_timeout);
    timer_.async_wait([self = self()](const ErrorCodeOfAsio& error) {
        if (!error) self->shut();
    });
}

void TcpDialogue::close_socket() {
    give_up_attempts();
    ErrorCodeOfAsio ignored;
    socket_.shutdown(Tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
}

}  // namespace dstm::client
