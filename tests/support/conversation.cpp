// One signalling dialogue in memory. See conversation.hpp.
#include "support/conversation.hpp"

#include <algorithm>
#include <utility>

namespace dstm::support {
namespace {

tsp::ServerSessionConfig server_config() {
    tsp::ServerSessionConfig config;
    config.tunnel_types = {tsp::RequestType::v4v6, tsp::RequestType::v6v4,
                           tsp::RequestType::v6udpv4};
    config.mechanisms = {"EXTERNAL"};
    return config;
}

template <class... Handlers>
struct Overloaded : Handlers... {
    using Handlers::operator()...;
};

}  // namespace

Conversation::Conversation(BrokerWorld& world, std::string user,
                           const server::SessionPeer& peer, Hooks hooks)
    : world_(world),
      user_(std::move(user)),
      hooks_(std::move(hooks)),
      client_(tsp::ClientSessionConfig{}),
      server_(server_config(), world.scheduler.clock.now()),
      server_life_(world.server_life()) {
    session_ = world.broker().open(peer);
}

bool Conversation::server_lives() const {
    return world_.has_server() && world_.server_life() == server_life_;
}

void Conversation::start() {
    watch_deadlines();
    feed_client(tsp::client::Connected{});
}

void Conversation::command(const tsp::TunnelMessage& message) {
    feed_client(tsp::client::CommandChosen{message});
}

void Conversation::cut() {
    if (is_over_) return;
    if (server_lives()) feed_server(tsp::PeerClosed{});
    end();
}

void Conversation::end() {
    if (std::exchange(is_over_, true)) return;
    if (server_lives()) world_.broker().close(session_);
    hooks_.over();
}

// Timers of both sessions, looked at twice a second; and the end of a server that was killed.
void Conversation::watch_deadlines() {
    world_.scheduler.post(std::chrono::milliseconds(500), [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self || self->is_over_) return;
        if (!self->server_lives()) return self->end();
        const Instant now = self->world_.scheduler.clock.now();
        const auto of_server = self->server_.deadline();
        if (of_server && *of_server <= now) self->feed_server(tsp::TimePassed{});
        const auto of_client = self->client_.deadline();
        if (of_client && *of_client <= now) self->feed_client(tsp::client::TimePassed{});
        if (!self->is_over_) self->watch_deadlines();
    });
}

template <class Event>
void Conversation::feed_client(const Event& event) {
    if (is_over_) return;
    for (const auto& action : client_.handle(event, world_.scheduler.clock.now())) {
        if (!is_over_) carry_out(action);
    }
}

template <class Event>
void Conversation::feed_server(const Event& event) {
    if (is_over_ || !server_lives()) return;
    for (const auto& action : server_.handle(event, world_.scheduler.clock.now())) {
        if (!is_over_) carry_out(action);
    }
}

void Conversation::carry_out(const tsp::client::Action& action) {
    namespace client = tsp::client;
    std::visit(Overloaded{
                   [this](const client::Send& send) { to_server(send.bytes); },
                   [this](const client::ChooseMechanism&) {
                       feed_client(client::MechanismChosen{"EXTERNAL", user_});
                   },
                   [this](const client::ContinueAuthentication& step) {
                       if (!step.is_final) {
                           feed_client(client::AuthenticationStepDone{false, user_});
                       }
                   },
                   [this](const client::Authenticated&) { hooks_.ready(); },
                   [this](const client::CommandAnswered& answer) { hooks_.answered(answer); },
                   [this](const client::Failed&) { end(); },
                   [this](const client::Close&) { end(); },
               },
               action);
}

void Conversation::carry_out(const tsp::ServerAction& action) {
    std::visit(Overloaded{
                   [this](const tsp::Send& send) { to_client(send.bytes); },
                   [this](const tsp::StartAuthentication& start) {
                       authenticate(start.initial_response.value_or(""));
                   },
                   [this](const tsp::ContinueAuthentication& step) { authenticate(step.response); },
                   [this](const tsp::RequestTunnel& asked) { request(asked.message); },
                   [this](const tsp::ConfirmTunnel&) {
                       hooks_.accept_arrived();
                       world_.broker().accept(session_);
                   },
                   [this](const tsp::DeclineTunnel&) { world_.broker().reject(session_); },
                   [](const tsp::ReportViolation&) {},
                   [this](const tsp::Close&) { end(); },
               },
               action);
}

void Conversation::authenticate(const std::string& user) {
    using Outcome = tsp::AuthenticationStepDone::Outcome;
    if (user.empty()) {
        feed_server(tsp::AuthenticationStepDone{Outcome::challenge, ""});
        return;
    }
    world_.broker().authenticated(session_, user);
    feed_server(tsp::AuthenticationStepDone{Outcome::success, ""});
}

void Conversation::request(const tsp::TunnelMessage& message) {
    world_.broker().request(session_, message,
                            [weak = weak_from_this()](tsp::TunnelAnswered answer) {
                                if (const auto self = weak.lock()) self->feed_server(answer);
                            });
}

void Conversation::to_server(std::string bytes) {
    post(last_to_server_,
         [this, bytes = std::move(bytes)] { feed_server(tsp::BytesReceived{bytes}); });
}

void Conversation::to_client(std::string bytes) {
    post(last_to_client_,
         [this, bytes = std::move(bytes)] { feed_client(tsp::client::BytesReceived{bytes}); });
}

// A stream keeps its order, however slow.
void Conversation::post(Duration& last, std::function<void()> event) {
    const Duration now = world_.scheduler.clock.now().time_since_epoch();
    last = std::max(last, now + hooks_.delay());
    world_.scheduler.post(last - now, [weak = weak_from_this(), event = std::move(event)] {
        if (const auto self = weak.lock(); self && !self->is_over_) event();
    });
}

}  // namespace dstm::support
