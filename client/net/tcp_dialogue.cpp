// The stream around tsp::ClientSession.
#include "client/net/tcp_dialogue.hpp"

#include <algorithm>
#include <utility>

namespace dstm::client {

TcpDialogue::TcpDialogue(const Surroundings& around, const SignallingConfig& config,
                         std::shared_ptr<ServerAddresses> addresses, EventHandler handler)
    : Dialogue(around, config, std::move(addresses), std::move(handler)) {}

std::shared_ptr<TcpDialogue> TcpDialogue::self() {
    return std::static_pointer_cast<TcpDialogue>(shared_from_this());
}

tsp::client::Actions TcpDialogue::feed(const SessionEvent& event, Instant now) {
    if (!session_) return {};
    return std::visit([&](const auto& one) { return session_->handle(one, now); }, event);
}

std::optional<Instant> TcpDialogue::deadline() const {
    return session_ ? session_->deadline() : std::nullopt;
}

std::optional<Dialogue::Ends> TcpDialogue::ends() const {
    if (!stream_) return std::nullopt;
    ErrorCodeOfAsio error;
    const auto local = stream_->socket().local_endpoint(error);
    const auto peer = error ? Tcp::endpoint() : stream_->socket().remote_endpoint(error);
    if (error) return std::nullopt;
    return Ends{local.address(), local.port(), peer.address(), peer.port()};
}

// Begins with the next address, which then has its head start.
void TcpDialogue::connect_next() {
    if (stream_) return;
    const auto address = addresses().take();
    if (!address) {
        if (attempts_.empty() && !addresses().is_looking()) no_connection();
        return;
    }
    attempts_.push_back(std::make_shared<Attempt>(around().context, *address));
    has_head_start_ = true;
    connect(attempts_.back());
    timer_.after(config().attempt_delay, [self = self()] {
        if (self->is_closing()) return;
        self->has_head_start_ = false;
        self->connect_next();
    });
}

void TcpDialogue::try_addresses() {
    if (!has_head_start_) connect_next();
}

void TcpDialogue::connect(const std::shared_ptr<Attempt>& attempt) {
    attempt->timeout.after(config().connect_timeout, [attempt] {
        attempt->is_too_late = true;
        ErrorCodeOfAsio ignored;
        attempt->socket.close(ignored);
    });
    attempt->socket.async_connect(
        {attempt->address, port()}, [self = self(), attempt](ErrorCodeOfAsio error) {
            attempt->timeout.cancel();
            if (self->is_closing() || self->stream_) return;
            if (attempt->is_too_late) error = asio::error::timed_out;
            if (!error) return self->connected(attempt);
            self->addresses().note_trouble(attempt->address, error.message());
            self->attempts_.remove(attempt);
            self->timer_.cancel();
            self->has_head_start_ = false;
            self->connect_next();
        });
}

void TcpDialogue::connected(const std::shared_ptr<Attempt>& attempt) {
    timer_.cancel();
    attempts_.remove(attempt);
    give_up_attempts();
    ErrorCodeOfAsio ignored;
    attempt->socket.set_option(Tcp::no_delay(true), ignored);
    auto stream = make_stream(std::move(attempt->socket));
    if (!stream) return failed(SessionFailed::Cause::local, stream.error().context, false);
    stream_ = std::move(*stream);
    timer_.after(config().connect_timeout, [self = self()] {
        ErrorCodeOfAsio unused;
        if (!self->session_) self->stream_->socket().close(unused);
    });
    stream_->begin([self = self()](const ErrorCodeOfAsio& error) {
        if (!self->is_closing()) self->begun(error);
    });
}

Result<std::unique_ptr<io::ByteStream>> TcpDialogue::make_stream(Tcp::socket socket) const {
    const auto& tls = config().tls;
    if (!tls) return io::make_plain_stream(std::move(socket));
    const auto& name = tls->server_name.empty() ? server_name() : tls->server_name;
    return io::make_tls_client_stream(std::move(socket),
                                      {tls->ca, tls->certificate, tls->key}, name);
}

void TcpDialogue::begun(const ErrorCodeOfAsio& error) {
    timer_.cancel();
    if (error) {
        // A server that is not who it should be will not be so a second later.
        const auto cause = io::is_bad_certificate(error) ? SessionFailed::Cause::local
                                                         : SessionFailed::Cause::lost;
        return failed(cause, "TLS with " + server_name() + ": " + error.message(), true);
    }
    auto session = config().session;
    if (addresses().has_more()) {
        session.greeting_timeout = std::min(session.answer_timeout, config().greeting_timeout);
    }
    session_.emplace(session);
    read_more();
    tell_session(tsp::client::Connected{});
}

// Those that were too slow may be needed yet, in the order in which they began.
void TcpDialogue::give_up_attempts() {
    ErrorCodeOfAsio ignored;
    while (!attempts_.empty()) {
        attempts_.back()->socket.close(ignored);
        addresses().give_back(attempts_.back()->address);
        attempts_.pop_back();
    }
}

void TcpDialogue::read_more() {
    stream_->read_some(
        asio::buffer(inbox_), [self = self()](const ErrorCodeOfAsio& error, std::size_t count) {
            if (self->is_closing()) return;
            if (error) {
                self->tell_session(tsp::client::PeerClosed{});
                // An idle session has nothing to say about it, its owner wants to know.
                self->failed(SessionFailed::Cause::lost, "the server closed the connection", true);
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
    stream_->write(asio::buffer(outbox_.front()),
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
    timer_.after(config().flush_timeout, [self = self()] { self->shut(); });
}

void TcpDialogue::close_socket() {
    give_up_attempts();
    if (!stream_) return;
    ErrorCodeOfAsio ignored;
    stream_->socket().shutdown(Tcp::socket::shutdown_both, ignored);
    stream_->socket().close(ignored);
}

}  // namespace dstm::client
