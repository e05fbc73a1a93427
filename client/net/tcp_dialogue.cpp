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
    return Ends{local.address(), peer.address(), peer.port()};
}

void TcpDialogue::connect_next() {
    if (addresses_.empty()) {
        no_connection();
        return;
    }
    const auto address = addresses_.front();
    addresses_.pop_front();
    ErrorCodeOfAsio ignored;
    socket_.close(ignored);
    gave_up_waiting_ = false;
    timer_.expires_after(config().connect_timeout);
    timer_.async_wait([self = self()](const ErrorCodeOfAsio& error) {
        if (error || self->is_closing()) return;
        self->gave_up_waiting_ = true;
        ErrorCodeOfAsio unused;
        self->socket_.close(unused);
    });
    socket_.async_connect({address, port()}, [self = self(), address](ErrorCodeOfAsio error) {
        if (self->is_closing()) return;
        self->timer_.cancel();
        if (self->gave_up_waiting_) error = asio::error::timed_out;
        if (!error) {
            self->connected();
            return;
        }
        self->note_trouble(address, self->port(), error.message());
        self->connect_next();
    });
}

void TcpDialogue::connected() {
    ErrorCodeOfAsio ignored;
    socket_.set_option(Tcp::no_delay(true), ignored);
    read_more();
    tell_session(tsp::client::Connected{});
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
    ErrorCodeOfAsio ignored;
    socket_.shutdown(Tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
}

}  // namespace dstm::client
