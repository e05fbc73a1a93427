// Outcomes find the owner through self_, which is empty after the end.
#include "dstm-server/net/session_owner.hpp"

#include <utility>

#include "common/base/assert.hpp"
#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::server::net {
namespace {

tsp::AuthenticationStepDone event_of(AuthenticationStep step) {
    tsp::AuthenticationStepDone event;
    event.data = std::move(step.data);
    using From = AuthenticationStep::Outcome;
    using To = tsp::AuthenticationStepDone::Outcome;
    switch (step.outcome) {
        case From::challenge: event.outcome = To::challenge; break;
        case From::success: event.outcome = To::success; break;
        case From::failure: event.outcome = To::failure; break;
        case From::unavailable: event.outcome = To::unavailable; break;
    }
    return event;
}

}  // namespace

SessionOwner::SessionOwner(SessionPeer peer, std::string certified_name, const SessionEdges& edges,
                           Tell tell)
    : peer_(std::move(peer)),
      channel_{peer_.remote, peer_.tls, std::move(certified_name)},
      edges_(edges),
      tell_(std::move(tell)),
      id_(edges_.tunnels.open(peer_)) {}

SessionOwner::~SessionOwner() { end(); }

void SessionOwner::end() {
    *self_ = nullptr;
    conversation_.reset();
    if (const auto id = std::exchange(id_, 0); id != 0) edges_.tunnels.close(id);
}

// Never from within a call: a session is not reentrant.
void SessionOwner::tell_later(Event event) {
    asio::post(edges_.events, [self = self_, event = std::move(event)] {
        if (!*self) return;
        const auto tell = (*self)->tell_;  // it may destroy this owner
        tell(event);
    });
}

void SessionOwner::carry_out(tsp::StartAuthentication& action) {
    if (!edges_.throttle.admit(peer_.remote.address, edges_.clock.now())) {
        return tell_later(tsp::AuthenticationStepDone{
            tsp::AuthenticationStepDone::Outcome::unavailable, ""});
    }
    std::optional<Secret> initial;
    if (action.initial_response) initial.emplace(std::move(*action.initial_response));
    conversation_ = edges_.authenticator.start(action.mechanism, std::move(initial), channel_,
                                               [self = self_](AuthenticationStep step) {
                                                   if (*self) (*self)->step_done(std::move(step));
                                               });
}

void SessionOwner::carry_out(tsp::ContinueAuthentication& action) {
    DSTM_ASSERT(conversation_ != nullptr);
    conversation_->step(Secret(std::move(action.response)),
                        [self = self_](AuthenticationStep step) {
                            if (*self) (*self)->step_done(std::move(step));
                        });
}

void SessionOwner::step_done(AuthenticationStep step) {
    if (step.outcome != AuthenticationStep::Outcome::challenge) conversation_.reset();
    if (step.outcome == AuthenticationStep::Outcome::success) {
        log_info("AUTH_SUCCEEDED", "peer={} user={}", to_string(peer_.remote),
                 log::quoted(step.user));
        user_ = step.user;
        // Before the session learns of it: the command may be there already.
        edges_.tunnels.authenticated(id_, std::move(step.user));
    }
    const auto tell = tell_;  // it may destroy this owner
    tell(event_of(std::move(step)));
}

bool SessionOwner::may_request() {
    const auto now = edges_.clock.now();
    return edges_.throttle.admit(peer_.remote.address, now) &&
           (user_.empty() || edges_.throttle.admit_user(user_, now));
}

void SessionOwner::carry_out(tsp::RequestTunnel& action) {
    if (!may_request()) {
        tsp::TunnelAnswered answer;
        answer.status = tsp::Status::too_busy;
        answer.is_last = true;  // the next try pays for a connection
        return tell_later(std::move(answer));
    }
    edges_.tunnels.request(id_, action.message, [self = self_](tsp::TunnelAnswered answer) {
        if (!*self) return;
        (*self)->report_refusal(answer);
        (*self)->tell_later(std::move(answer));
    });
}

// What is malformed is reported by the session.
void SessionOwner::report_refusal(const tsp::TunnelAnswered& answer) const {
    if (answer.status == tsp::Status::success || answer.status == tsp::Status::invalid_format) {
        return;
    }
    log_info("TSP_REFUSED", "peer={} status={} text={}", to_string(peer_.remote),
             static_cast<int>(answer.status), log::quoted(answer.detail));
}

void SessionOwner::carry_out(tsp::ConfirmTunnel&) { edges_.tunnels.accept(id_); }
void SessionOwner::carry_out(tsp::DeclineTunnel&) { edges_.tunnels.reject(id_); }

void SessionOwner::carry_out(tsp::ReportViolation& action) {
    log_warning("TSP_VIOLATION", "peer={} what={}", to_string(peer_.remote),
                log::quoted(action.what));
}

}  // namespace dstm::server::net
