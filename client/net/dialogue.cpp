// SASL on the other thread, and what the owner is told (RFC 5572 s4.3, s4.4).
#include "client/net/dialogue.hpp"

#include <utility>

#include "client/advice.hpp"

namespace dstm::client {

Dialogue::Dialogue(const Surroundings& around, const SignallingConfig& config,
                   std::shared_ptr<ServerAddresses> addresses, EventHandler handler)
    : timer_(around.context),
      around_(around),
      config_(config),
      addresses_(std::move(addresses)),
      handler_(std::move(handler)) {}

// --- beginning and ending ------------------------------------------------------------------------

void Dialogue::start() {
    addresses_->wait([self = weak_from_this()] {
        const auto dialogue = self.lock();
        if (dialogue && !dialogue->closing_) dialogue->try_addresses();
    });
    // Posted: nothing is told from within a call.
    asio::post(around_.context, [self = shared_from_this()] {
        if (!self->closing_) self->try_addresses();
    });
}

void Dialogue::no_connection() {
    failed(SessionFailed::Cause::unreachable, addresses_->trouble(), true);
}

void Dialogue::finish() {
    if (closing_) return;
    closing_ = true;
    handler_ = nullptr;
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
    timer_.after(*limit - around_.clock.now(), [self = shared_from_this()] {
        if (!self->closing_) self->tell_session(tsp::client::TimePassed{});
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
        std::visit([this](const auto& concrete) { run_one(concrete); }, action);
    }
}

void Dialogue::run_one(const tsp::client::Send& action) { transmit(action.bytes); }

void Dialogue::run_one(const tsp::client::Close&) {
    failed(SessionFailed::Cause::lost, "the dialogue ended", true);
}

void Dialogue::run_one(const tsp::client::ChooseMechanism& action) {
    using Begun = std::pair<std::shared_ptr<SaslClient>, Result<SaslClient::Start>>;
    auto& prepared = around_.prepared;
    auto ready = prepared.server == server_name() ? std::exchange(prepared.client, nullptr)
                                                  : nullptr;
    const auto begin = [identity = config_.identity, accepted = config_.mechanisms,
                        server = server_name(), offered = action.mechanisms,
                        client = std::move(ready)]() mutable -> Begun {
        if (!client) {
            auto made = SaslClient::create(identity, server);
            if (!made) return {nullptr, tl::unexpected(made.error())};
            client = std::make_shared<SaslClient>(std::move(*made));
        }
        return {client, client->start(accepted, offered)};
    };
    const bool is_begun =
        around_.blocking.run(begin, [self = shared_from_this()](const Begun& begun) {
            const auto& [client, start] = begun;
            if (self->closing_) return;
            if (!start) return self->fail_locally(start.error().context);
            self->sasl_ = client;
            self->tell_session(
                tsp::client::MechanismChosen{start->mechanism, start->initial_response});
        });
    if (!is_begun) fail_for_now("earlier authentications are still at work");
}

void Dialogue::run_one(const tsp::client::ContinueAuthentication& action) {
    if (!sasl_) {
        fail_locally("the server went on with an authentication that had not begun");
        return;
    }
    const auto step = [sasl = sasl_, challenge = action.challenge] {
        return sasl->step(challenge);
    };
    const bool is_begun = around_.blocking.run(
        step, [self = shared_from_this(),
               is_final = action.is_final](const Result<std::string>& response) {
            if (self->closing_) return;
            if (!response) {
                self->fail_locally(response.error().context);
            } else if (is_final && !self->sasl_->is_complete()) {
                self->fail_locally("the server did not show that it knows the password");
            } else {
                self->tell_session(tsp::client::AuthenticationStepDone{false, *response});
            }
        });
    if (!is_begun) fail_for_now("earlier authentications are still at work");
}

void Dialogue::run_one(const tsp::client::Authenticated&) {
    // A bare 200 in the middle of a mutual exchange comes from somebody who could not finish it.
    if (!sasl_ || !sasl_->is_complete()) {
        fail_locally("the server did not show that it knows the password");
        return;
    }
    const auto both = ends();
    if (!both) {
        failed(SessionFailed::Cause::lost, "the connection is gone", true);
        return;
    }
    tell(SessionOpened{{from_asio(both->local), both->local_port},
                       {from_asio(both->peer), both->peer_port},
                       addresses_->has_more()});
}

void Dialogue::run_one(const tsp::client::CommandAnswered& action) {
    tell(Answered{action.status, action.text, action.message, action.brokers});
}

void Dialogue::run_one(const tsp::client::Failed& action) {
    SessionFailed event;
    event.status = action.status;
    event.brokers = action.brokers;
    event.text = action.text.empty() ? "the dialogue with the server failed" : action.text;
    const bool is_refusal = action.cause == tsp::client::Failed::Cause::refused;
    if (is_refusal) event.cause = SessionFailed::Cause::refused;
    if (auto text = silence()) {
        event.cause = SessionFailed::Cause::unreachable;
        event.text = std::move(*text);
    }
    fail_with(std::move(event), !is_refusal || may_differ_elsewhere(action.status));
}

void Dialogue::fail_locally(const std::string& text) {
    failed(SessionFailed::Cause::local, text, false);
}

void Dialogue::fail_for_now(const std::string& text) {
    failed(SessionFailed::Cause::unreachable, text, false);
}

void Dialogue::failed(SessionFailed::Cause cause, std::string text, bool is_here_alone) {
    SessionFailed event;
    event.cause = cause;
    event.text = std::move(text);
    fail_with(std::move(event), is_here_alone);
}

void Dialogue::fail_with(SessionFailed event, bool is_here_alone) {
    event.has_others = is_here_alone && addresses_->has_more();
    tell(event);
    finish();
}

void Dialogue::tell(const Event& event) {
    // The handler may close this dialogue, and with it the handler itself.
    const auto handler = handler_;
    if (handler) handler(event);
}

}  // namespace dstm::client
