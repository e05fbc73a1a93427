// The end of the tunnel in the machine: what was leased goes back when the host stops or cannot use
// it, and somebody hears of it when it does not.
#include <utility>

#include "client/advice.hpp"
#include "client/engine.hpp"
#include "common/tsp/status.hpp"

namespace dstm::client {
namespace {

bool may_pass(const Error& error) {
    return error.code == ErrorCode::unavailable || error.code == ErrorCode::not_found ||
           error.code == ErrorCode::timed_out;
}

}  // namespace

void Engine::tear_down() {
    state_ = State::tearing_down;
    retry_at_.reset();
    attempt_by_.reset();
    const bool has_left = std::exchange(move_, std::nullopt).has_value();
    echo_at_.reset();
    echo_answer_by_.reset();
    stop_by_ = now_.at + config_.limits.stop_timeout;

    // The host first: it must be clean even if nobody answers any more.
    if (binding_ || pending_) {
        const auto inner = pending_ ? pending_->offer.inner : binding_->offer.inner;
        out_.push_back(ClearRoutes{});
        out_.push_back(RemoveTunnel{inner});
        announce(Announce::What::down, "stopped");
    }
    binding_.reset();
    pending_.reset();
    // A create may be in flight; the server takes everything back when the session goes.
    if (!lease_ || now_.at >= lease_->ends_at) return finish_stop();
    if (dialogue_ == Dialogue::deleting) return;
    if (dialogue_ == Dialogue::open && !has_left) {
        session_was_idle_ = true;
        send_delete();
    } else {
        disconnect();
        connect(lease_->server);
    }
}

// The lease was taken and cannot be used. This host may only have left the address it asked from,
// or lost the device: then the lease, which connections live on, is kept for one more attempt.
void Engine::install_failed(const Error& error, bool is_changed) {
    const auto inner = std::exchange(pending_, std::nullopt)->offer.inner;
    Failure failure{"this host cannot build the tunnel: " + to_string(error), 0, !may_pass(error)};
    const bool has_left = move_ || !asked_from_;
    const bool is_kept = !failure.permanent && (failures_ == 0 || has_left);
    // Another server's tunnel would fail on this host in the same way.
    targets_.clear();
    is_to_find_ = false;
    // Nothing of the tunnel was changed: it stands where it was.
    if (is_kept && binding_ && !is_changed && error.code == ErrorCode::unavailable) {
        disconnect();
        return attempt_failed(std::move(failure));
    }
    out_.push_back(ClearRoutes{});
    out_.push_back(RemoveTunnel{inner});
    if (binding_) announce(Announce::What::down, "the tunnel could not be changed");
    binding_.reset();
    echo_at_.reset();
    echo_answer_by_.reset();
    if (is_kept) {
        disconnect();
        return attempt_failed(std::move(failure));
    }
    move_.reset();
    giving_back_ = std::move(failure);
    if (dialogue_ == Dialogue::open) {
        session_was_idle_ = true;
        send_delete();
    } else {
        connect(Target(current_));
    }
    attempt_by_ = now_.at + config_.limits.attempt_timeout;
    state_ = working_state();
}

// The connection from the place that was left is dead, or soon will be.
void Engine::give_back_from(const std::optional<IpAddress>& source) {
    if (!source || source == place() || dialogue_ == Dialogue::none) return;
    // What failed at one place may not at another.
    if (giving_back_) giving_back_->permanent = false;
    const auto by = attempt_by_;
    disconnect();
    connect(Target(current_));
    attempt_by_ = by;
}

void Engine::send_delete() {
    dialogue_ = Dialogue::deleting;
    session_idle_at_.reset();
    out_.push_back(
        SendCommand{delete_request(given_type_, config_.wishes.host_id, local_.address)});
}

void Engine::delete_answered(const Answered& event) {
    disconnect();
    if (state_ == State::tearing_down && tsp::is_temporary(event.status)) {
        // The server may still be busy with a renewal that this stop cut short.
        retry_at_ = now_.at + config_.limits.delete_retry;
    } else if (event.status != static_cast<std::uint16_t>(tsp::Status::success)) {
        not_given_back(explain(event.status, event.text));
    } else if (lease_ && lease_->peer != peer_->address) {
        // The server's other addresses may be another machine's, which knows no such lease.
        not_given_back("another machine than the lease's answered");
    } else {
        delete_is_over();
    }
}

void Engine::not_given_back(const std::string& why) {
    announce(Announce::What::lease_not_returned, why + "; the lease ends by itself");
    delete_is_over();
}

void Engine::delete_is_over() {
    if (state_ == State::tearing_down) return finish_stop();
    lease_.reset();
    attempt_failed(*std::exchange(giving_back_, std::nullopt));
}

void Engine::finish_stop() {
    disconnect();
    stop_by_.reset();
    retry_at_.reset();
    giving_back_.reset();
    lease_.reset();
    failures_ = 0;
    state_ = State::stopped;
    if (!std::exchange(may_come_back_, false)) return;
    if (native_way_) {
        stand_aside();
    } else if (config_.on_demand) {
        rest();
    } else {
        begin_attempt();
    }
}

}  // namespace dstm::client
