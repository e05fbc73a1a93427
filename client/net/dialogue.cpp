// Names, SASL on the other thread, and what the owner is told (RFC 5572 s4.3, s4.4).
#include "client/net/dialogue.hpp"

#include <algorithm>
#include <utility>

namespace dstm::client {
namespace {

IpAddress to_address(const asio::ip::address& address) {
    if (address.is_v4()) return Ipv4Address(address.to_v4().to_uint());
    return Ipv6Address(address.to_v6().to_bytes());
}

}  // namespace

Dialogue::Dialogue(const Surroundings& around, const SignallingConfig& config, Target server,
                   EventHandler handler)
    : timer_(around.context),
      around_(around),
      config_(config),
      server_(std::move(server)),
      handler_(std::move(handler)),
      resolver_(around.context) {}

// --- finding and ending --------------------------------------------------------------------------

void Dialogue::start() {
    resolver_.async_resolve(
        server_.host, std::to_string(server_.port), asio::ip::tcp::resolver::numeric_service,
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

void Dialogue::resolved(const asio::ip::tcp::resolver::results_type& found) {
    // In the order of the resolver, which is RFC 6724's. Signalling runs over what the tunnel runs
    // over (RFC 5572 Figure 4): the server's addresses of the other family are of no use.
    const auto family = outer_family(config_.type);
    for (const auto& entry : found) {
        if (addresses_.size() == config_.addresses_max) break;
        const auto address = entry.endpoint().address();
        const bool is_new =
            std::find(addresses_.begin(), addresses_.end(), address) == addresses_.end();
        if (is_new && address.is_v4() == (family == Family::ipv4)) addresses_.push_back(address);
    }
    last_trouble_ =
        server_.host + " has no " + (family == Family::ipv4 ? "IPv4" : "IPv6") + " address";
    connect_next();
}

void Dialogue::note_trouble(const asio::ip::address& address, std::uint16_t port,
                            const std::string& what) {
    last_trouble_ = server_.host + " [" + address.to_string() + "]:" + std::to_string(port) + ": " +
                    what;
}

void Dialogue::no_connection() { failed(SessionFailed::Cause::unreachable, last_trouble_); }

void Dialogue::finish() {
    if (closing_) return;
    closing_ = true;
    handler_ = nullptr;
    resolver_.cancel();
    if (is_flushed()) {
        shut();
        return;
    }
    flush();
}

void Dialogue::shut() {
    timer_.cancel();
    close_socket();
}

// --- the session ---------------------------------------------------------------------------------

void Dialogue::arm_timer() {
    const auto limit = deadline();
    if (!limit) {
        timer_.cancel();
        return;
    }
    timer_.expires_after(*limit - around_.clock.now());
    timer_.async_wait([self = shared_from_this()](const ErrorCodeOfAsio& error) {
        if (!error && !self->closing_) self->tell_session(tsp::client::TimePassed{});
    });
}

void Dialogue::tell_session(const SessionEvent& event) {
    run(feed(event, around_.clock.now()));
    if (!closing_) arm_timer();
}

void Dialogue::send(const tsp::TunnelMessage& message) {
    if (!closing_) tell_session(tsp::client::CommandChosen{message});
}

void Dialogue::run(const tsp::client::Actions& actions) {
    for (const auto& action : actions) {
        if (closing_) return;
        const bool is_failure = std::holds_alternative<tsp::client::Failed>(action);
        if (is_failure && tries_next()) return;
        std::visit([this](const auto& concrete) { run_one(concrete); }, action);
    }
}

void Dialogue::run_one(const tsp::client::Send& action) { transmit(action.bytes); }

void Dialogue::run_one(const tsp::client::Close&) {
    failed(SessionFailed::Cause::lost, "the dialogue ended");
}

void Dialogue::run_one(const tsp::client::ChooseMechanism& action) {
    auto& blocking = around_.blocking;
    asio::post(blocking, [self = shared_from_this(), offered = action.mechanisms]() mutable {
        // Everything touched here is set once in the constructor, or goes over in the post below.
        auto client = SaslClient::create(self->config_.identity, self->server_.host);
        auto start = client ? client->start(self->config_.mechanisms, offered)
                            : Result<SaslClient::Start>(tl::unexpected(client.error()));
        auto shared = client ? std::make_shared<SaslClient>(std::move(*client)) : nullptr;
        auto& context = self->around_.context;
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
    asio::post(around_.blocking, [self = shared_from_this(), sasl = sasl_, action]() mutable {
        auto response = sasl->step(action.challenge);
        const bool unproven = action.is_final && response && !sasl->is_complete();
        auto& context = self->around_.context;
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
    const auto both = ends();
    if (!both) {
        failed(SessionFailed::Cause::lost, "the connection is gone");
        return;
    }
    tell(SessionOpened{{to_address(both->local), both->local_port},
                       {to_address(both->peer), both->peer_port}});
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
