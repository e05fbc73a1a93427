// The sockets, timers and the other thread around tsp::ClientSession (RFC 5572 s4.3, s4.4).
#include "client/net/dialogue.hpp"

#include <utility>

namespace dstm::client {
namespace {

Ipv6Address to_ipv6(const asio::ip::address& address) {
    return Ipv6Address(address.to_v6().to_bytes());
}

}  // namespace

Dialogue::Dialogue(asio::io_context& context, asio::thread_pool& blocking, const Clock& clock,
                   const TcpSignallingConfig& config, Target server, EventHandler handler)
    : context_(context),
      blocking_(blocking),
      clock_(clock),
      config_(config),
      server_(std::move(server)),
      handler_(std::move(handler)),
      resolver_(context),
      socket_(context),
      timer_(context),
      session_(config.session) {}

// --- finding and connecting ----------------------------------------------------------------------

void Dialogue::start() {
    resolver_.async_resolve(
        server_.host, std::to_string(server_.port), Tcp::resolver::numeric_service,
        [self = shared_from_this()](const ErrorCodeOfAsio& error, const auto& found) {
            if (self->closing_) return;
            if (error) {
                self->failed(SessionFailed::Cause::unreachable,
                             self->server_.host + ": " + error.message());
            } else {
                self->resolved(found);
            }
        });
}

void Dialogue::resolved(const Tcp::resolver::results_type& found) {
    // In the order of the resolver, which is RFC 6724's. v4v6 is signalled over IPv6 (RFC 5572
    // Figure 4): an IPv4 address of the server is of no use.
    for (const auto& entry : found) {
        if (addresses_.size() == config_.addresses_max) break;
        if (entry.endpoint().address().is_v6()) addresses_.push_back(entry.endpoint());
    }
    last_trouble_ = server_.host + " has no IPv6 address";
    connect_next();
}

void Dialogue::connect_next() {
    if (addresses_.empty()) {
        failed(SessionFailed::Cause::unreachable, last_trouble_);
        return;
    }
    const auto address = addresses_.front();
    addresses_.pop_front();
    ErrorCodeOfAsio ignored;
    socket_.close(ignored);
    gave_up_waiting_ = false;
    timer_.expires_after(config_.connect_timeout);
    timer_.async_wait([self = shared_from_this()](const ErrorCodeOfAsio& error) {
        if (error || self->closing_) return;
        self->gave_up_waiting_ = true;
        ErrorCodeOfAsio unused;
        self->socket_.close(unused);
    });
    socket_.async_connect(address, [self = shared_from_this(), address](ErrorCodeOfAsio error) {
        if (self->closing_) return;
        self->timer_.cancel();
        if (self->gave_up_waiting_) error = asio::error::timed_out;
        if (!error) {
            self->connected();
            return;
        }
        self->last_trouble_ = self->server_.host + " [" + address.address().to_string() + "]:" +
                              std::to_string(address.port()) + ": " + error.message();
        self->connect_next();
    });
}

void Dialogue::connected() {
    ErrorCodeOfAsio ignored;
    socket_.set_option(Tcp::no_delay(true), ignored);
    read_more();
    tell_session(tsp::client::Connected{});
}

// --- the socket ----------------------------------------------------------------------------------

void Dialogue::read_more() {
    socket_.async_read_some(
        asio::buffer(inbox_),
        [self = shared_from_this()](const ErrorCodeOfAsio& error, std::size_t count) {
            if (self->closing_) return;
            if (error) {
                self->tell_session(tsp::client::PeerClosed{});
                // An idle session has nothing to say about it, its owner wants to know.
                self->failed(SessionFailed::Cause::lost, "the server closed the connection");
                return;
            }
            self->tell_session(
                tsp::client::BytesReceived{std::string_view(self->inbox_.data(), count)});
            if (!self->closing_) self->read_more();
        });
}

void Dialogue::write_more() {
    asio::async_write(socket_, asio::buffer(outbox_.front()),
                      [self = shared_from_this()](const ErrorCodeOfAsio& error, std::size_t) {
                          // A failed write shows as a failed read as well, which tells it.
                          if (error) {
                              self->outbox_.clear();
                          } else {
                              self->outbox_.pop_front();
                          }
                          if (!self->outbox_.empty()) {
                              self->write_more();
                          } else if (self->closing_) {
                              self->shut();
                          }
                      });
}

void Dialogue::finish() {
    if (closing_) return;
    closing_ = true;
    handler_ = nullptr;
    resolver_.cancel();
    if (outbox_.empty()) {
        shut();
        return;
    }
    timer_.expires_after(config_.flush_timeout);
    timer_.async_wait([self = shared_from_this()](const ErrorCodeOfAsio& error) {
        if (!error) self->shut();
    });
}

void Dialogue::shut() {
    ErrorCodeOfAsio ignored;
    timer_.cancel();
    socket_.shutdown(Tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
}

void Dialogue::arm_timer() {
    const auto deadline = session_.deadline();
    if (!deadline) {
        timer_.cancel();
        return;
    }
    timer_.expires_after(*deadline - clock_.now());
    timer_.async_wait([self = shared_from_this()](const ErrorCodeOfAsio& error) {
        if (!error && !self->closing_) self->tell_session(tsp::client::TimePassed{});
    });
}

// --- the session ---------------------------------------------------------------------------------

template <class SessionEvent>
void Dialogue::tell_session(const SessionEvent& event) {
    run(session_.handle(event, clock_.now()));
    if (!closing_) arm_timer();
}

void Dialogue::send(const tsp::TunnelMessage& message) {
    if (!closing_) tell_session(tsp::client::CommandChosen{message});
}

void Dialogue::run(const tsp::client::Actions& actions) {
    for (const auto& action : actions) {
        if (closing_) return;
        std::visit([this](const auto& concrete) { run_one(concrete); }, action);
    }
}

void Dialogue::run_one(const tsp::client::Send& action) {
    outbox_.push_back(action.bytes);
    if (outbox_.size() == 1) write_more();
}

void Dialogue::run_one(const tsp::client::Close&) {
    failed(SessionFailed::Cause::lost, "the dialogue ended");
}

void Dialogue::run_one(const tsp::client::ChooseMechanism& action) {
    asio::post(blocking_, [self = shared_from_this(), offered = action.mechanisms]() mutable {
        // Everything touched here is set once in the constructor, or goes over in the post below.
        auto client = SaslClient::create(self->config_.identity, self->server_.host);
        auto start = client ? client->start(self->config_.mechanisms, offered)
                            : Result<SaslClient::Start>(tl::unexpected(client.error()));
        auto shared = client ? std::make_shared<SaslClient>(std::move(*client)) : nullptr;
        auto& context = self->context_;
        asio::post(context, [self = std::move(self), shared = std::move(shared),
                             start = std::move(start)] {
            if (self->closing_) return;
            if (!start) {
                self->fail_locally(start.error().context);
                return;
            }
            self->sasl_ = shared;
            self->tell_session(
                tsp::client::MechanismChosen{start->mechanism, start->initial_response});
        });
    });
}

void Dialogue::run_one(const tsp::client::ContinueAuthentication& action) {
    if (!sasl_) {
        fail_locally("the server went on with an authentication that had not begun");
        return;
    }
    asio::post(blocking_, [self = shared_from_this(), sasl = sasl_, action]() mutable {
        auto response = sasl->step(action.challenge);
        const bool unproven = action.is_final && response && !sasl->is_complete();
        auto& context = self->context_;
        asio::post(context, [self = std::move(self), unproven, response = std::move(response)] {
            if (self->closing_) return;
            if (!response) {
                self->fail_locally(response.error().context);
            } else if (unproven) {
                self->fail_locally("the server did not show that it knows the password");
            } else {
                self->tell_session(tsp::client::AuthenticationStepDone{false, *response});
            }
        });
    });
}

void Dialogue::run_one(const tsp::client::Authenticated&) {
    // A bare 200 in the middle of a mutual exchange comes from somebody who could not finish it.
    if (!sasl_ || !sasl_->is_complete()) {
        fail_locally("the server did not show that it knows the password");
        return;
    }
    ErrorCodeOfAsio error;
    const auto local = socket_.local_endpoint(error);
    const auto peer = error ? Tcp::endpoint() : socket_.remote_endpoint(error);
    if (error) {
        failed(SessionFailed::Cause::lost, "connection: " + error.message());
        return;
    }
    tell(SessionOpened{to_ipv6(local.address()), {to_ipv6(peer.address()), peer.port()}});
}

void Dialogue::run_one(const tsp::client::CommandAnswered& action) {
    tell(Answered{action.status, action.text, action.message, action.brokers});
}

void Dialogue::run_one(const tsp::client::Failed& action) {
    using Cause = tsp::client::Failed::Cause;
    SessionFailed event;
    event.status = action.status;
    event.brokers = action.brokers;
    event.text = action.text;
    switch (action.cause) {
        case Cause::refused: event.cause = SessionFailed::Cause::refused; break;
        case Cause::malformed:
        case Cause::timed_out:
        case Cause::closed: event.cause = SessionFailed::Cause::lost; break;
    }
    if (event.text.empty()) event.text = "the dialogue with the server failed";
    tell(event);
    finish();
}

void Dialogue::fail_locally(const std::string& text) { failed(SessionFailed::Cause::local, text); }

void Dialogue::failed(SessionFailed::Cause cause, std::string text) {
    SessionFailed event;
    event.cause = cause;
    event.text = std::move(text);
    tell(event);
    finish();
}

void Dialogue::tell(const Event& event) {
    // The handler may close this dialogue, and with it the handler itself.
    const auto handler = handler_;
    if (handler) handler(event);
}

}  // namespace dstm::client
