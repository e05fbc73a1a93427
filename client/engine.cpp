// The dialogue in the machine: whom to ask, when, and what to make of the answer. The tunnel is in
// engine_tunnel.cpp, its way back in engine_end.cpp.
#include "client/engine.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "client/advice.hpp"
#include "client/redirect.hpp"
#include "common/base/assert.hpp"
#include "common/log/log.hpp"
#include "common/tsp/status.hpp"

namespace dstm::client {
namespace {

constexpr auto status_success = static_cast<std::uint16_t>(tsp::Status::success);
constexpr int rebinding_share = 8;

}  // namespace

std::string_view to_string(State state) {
    switch (state) {
        case State::stopped: return "stopped";
        case State::aside: return "aside";
        case State::dormant: return "dormant";
        case State::connecting: return "connecting";
        case State::signalling: return "signalling";
        case State::up: return "up";
        case State::renewing: return "renewing";
        case State::waiting: return "waiting";
        case State::tearing_down: return "tearing-down";
    }
    return "unknown";
}

Engine::Engine(EngineConfig config)
    : config_(std::move(config)),
      random_(config_.seed),
      servers_(config_.servers),
      last_good_(config_.last_good),
      given_type_(config_.wishes.type) {}

Actions Engine::handle(const Event& event, Moment now) {
    now_ = now;
    out_.clear();
    std::visit([this](const auto& concrete) { on(concrete); }, event);
    return std::exchange(out_, {});
}

std::optional<Instant> Engine::deadline() const {
    std::optional<Instant> first;
    const auto consider = [&first](const std::optional<Instant>& timer) {
        if (timer && (!first || *timer < *first)) first = timer;
    };
    for (const auto& timer : {attempt_by_, retry_at_, stop_by_, session_idle_at_, echo_at_,
                              echo_answer_by_}) {
        consider(timer);
    }
    if (move_) consider(move_->at);
    if (binding_ && state_ != State::tearing_down) {
        consider(binding_->ends_at);
        if (state_ == State::up) consider(binding_->renew_at);
    }
    return first;
}

// --- what the user and the clock want ------------------------------------------------------------

void Engine::on(const StartRequested&) {
    if (state_ == State::aside || (state_ == State::stopped && native_way_)) {
        stand_aside();
        return;
    }
    if (state_ == State::stopped && config_.on_demand) {
        rest();
        return;
    }
    if (state_ == State::waiting) failures_ = 0;
    const bool is_idle =
        state_ == State::stopped || state_ == State::dormant || state_ == State::waiting;
    if (is_idle) begin_attempt();
}

void Engine::on(const RenewRequested&) {
    if (state_ == State::aside) stand_aside();
    if (state_ == State::dormant) rest();
    const bool waits_to_retry = state_ == State::waiting ||
                                (state_ == State::renewing && dialogue_ == Dialogue::none);
    if (waits_to_retry) begin_attempt();
    if (state_ == State::up) renew();
}

void Engine::on(const StopRequested&) {
    may_come_back_ = false;
    if (state_ == State::stopped || state_ == State::tearing_down) return;
    tear_down();
}

bool Engine::has_no_tunnel_to_come() const {
    return state_ == State::stopped || state_ == State::aside || state_ == State::dormant ||
           state_ == State::tearing_down;
}

void Engine::on(const NativeWayChanged& event) {
    native_way_ = event.exists;
    if (!native_way_ && state_ == State::aside) {
        if (config_.on_demand) return rest();
        begin_attempt();
    } else if (native_way_ && state_ == State::dormant) {
        stand_aside();
    } else if (native_way_ && !has_no_tunnel_to_come()) {
        may_come_back_ = true;
        tear_down();
    }
}

void Engine::on(const DemandSeen&) {
    if (state_ != State::dormant) return;
    failures_ = 0;
    begin_attempt();
}

void Engine::on(const DemandGone&) {
    if (!config_.on_demand || (state_ != State::up && state_ != State::renewing)) return;
    may_come_back_ = true;
    tear_down();
}

void Engine::rest() {
    state_ = State::dormant;
    announce(Announce::What::dormant, "an address is leased when it is needed");
}

void Engine::stand_aside() {
    state_ = State::aside;
    announce(Announce::What::aside, "this host has a way of its own, and \"native-ipv4\" is "
                                    "\"exclusive\"");
}

void Engine::on(const TimePassed&) {
    const auto passed = [this](std::optional<Instant>& timer) {
        if (!timer || now_.at < *timer) return false;
        timer.reset();
        return true;
    };
    if (passed(stop_by_)) return not_given_back("no answer from the server in time");
    if (passed(attempt_by_)) {
        disconnect();
        if (giving_back_) {
            not_given_back("no answer from the server in time");
        } else {
            attempt_failed({"the server did not finish the dialogue in time"});
        }
    }
    if (passed(session_idle_at_) && dialogue_ == Dialogue::open) disconnect();
    // Before the keepalive: this host may have slept past the end of both.
    if (binding_ && !pending_ && now_.at >= binding_->ends_at) lease_ended();
    if (const auto by = echo_answer_by_; passed(echo_answer_by_)) keepalive_missed(*by);
    if (passed(echo_at_)) keepalive_due();
    if (move_ && now_.at >= move_->at) move();
    if (passed(retry_at_)) {
        if (state_ == State::tearing_down) {
            connect(Target(current_));
        } else {
            begin_attempt();
        }
    }
    if (state_ == State::up && now_.at >= binding_->renew_at) renew();
}

// --- where this host is --------------------------------------------------------------------------

IpEndpoint Engine::peer() const {
    if (has_local_end()) return *peer_;
    if (binding_ && state_ == State::up) return binding_->peer;
    if (const auto literal = parse_ip_address(current_.host)) return {*literal, current_.port};
    if (peer_) return *peer_;
    // The first addresses that are global; neither is anybody's.
    const bool is_v4 = outer_family(config_.wishes.type) == Family::ipv4;
    if (is_v4) return {*Ipv4Address::parse("1.0.0.0"), 0};
    return {*Ipv6Address::parse("2000::"), 0};
}

bool Engine::has_local_end() const {
    return dialogue_ != Dialogue::none && dialogue_ != Dialogue::finding &&
           dialogue_ != Dialogue::connecting;
}

// Where what is running will end, or what stands has its end.
std::optional<IpAddress> Engine::place() const {
    if (has_local_end()) return local_.address;
    if (binding_ && state_ == State::up) return binding_->outer.address;
    return asked_from_;
}

// A move that waits may be done by then: the kernel reports one in several pieces.
void Engine::now_at(const std::optional<IpAddress>& place) {
    asked_from_ = place;
    if (move_ && move_->to == place) move_.reset();
}

void Engine::on(const AttemptBegan& event) { now_at(event.source); }

// RFC 5572 s2.3: a client signals again when its outer address changes. Also when it is back where
// the tunnel is: a dialogue from elsewhere that has begun may have moved it.
void Engine::on(const OuterAddressChanged& event) {
    if (state_ == State::tearing_down || giving_back_) return give_back_from(event.source);
    if (has_no_tunnel_to_come()) return;
    if (!event.source || event.source == place()) {
        if (!event.source) asked_from_.reset();
        move_.reset();
        return;
    }
    const bool is_too_soon = moved_at_ && now_.at < *moved_at_ + config_.limits.move_interval;
    if (is_too_soon || pending_) {
        const auto from = is_too_soon ? *moved_at_ : now_.at;
        move_ = Move{*event.source, from + config_.limits.move_interval};
        return;
    }
    move();
}

void Engine::move() {
    moved_at_ = now_.at;
    is_tunnel_sound_ = false;
    failures_ = 0;
    begin_attempt();
}

// --- the dialogue --------------------------------------------------------------------------------

State Engine::working_state() const {
    if (binding_) return State::renewing;
    const bool has_nobody =
        dialogue_ == Dialogue::finding || dialogue_ == Dialogue::connecting;
    return has_nobody ? State::connecting : State::signalling;
}

// RFC 2131 s4.4.5: only towards the end of the lease is anybody asked (rebinding), who may give
// another address. While the tunnel carries nothing there is nothing to keep.
bool Engine::keeps_its_server() const {
    return binding_ && is_tunnel_sound_ &&
           now_.at < binding_->ends_at - binding_->offer.lease / rebinding_share;
}

void Engine::begin_attempt() {
    disconnect();
    move_.reset();
    targets_.clear();
    visited_.clear();
    redirects_ = 0;
    is_to_find_ = config_.servers.empty() && !keeps_its_server();
    if (!is_to_find_ && !keeps_its_server()) return try_servers();
    if (!binding_) return find_servers();
    // After a move the DNS may be slow or out of reach, and this one knows the lease.
    targets_ = {binding_->server};
    connect_next();
}

void Engine::find_servers() {
    is_to_find_ = false;
    retry_at_.reset();
    dialogue_ = Dialogue::finding;
    out_.push_back(FindServers{});
    attempt_by_ = now_.at + config_.limits.attempt_timeout;
    state_ = working_state();
}

void Engine::on(const ServersFound& event) {
    if (dialogue_ != Dialogue::finding) return;
    dialogue_ = Dialogue::none;
    // What was found once may serve while the DNS does not.
    if (!event.servers.empty()) servers_ = event.servers;
    if (servers_.empty()) return attempt_failed({event.trouble});
    try_servers();
}

// The one that gave the last lease knows it. One that the DNS names no longer does not come first.
void Engine::try_servers() {
    const auto is_last_good = [this](const Target& server) { return server == last_good_; };
    const bool is_listed = std::any_of(servers_.begin(), servers_.end(), is_last_good);
    if (last_good_ && (is_listed || !good_was_listed_)) targets_.push_back(*last_good_);
    std::remove_copy_if(servers_.begin(), servers_.end(), std::back_inserter(targets_),
                        is_last_good);
    std::erase_if(targets_, [this](const Target& server) { return visited_.contains(server); });
    if (targets_.empty()) return attempt_failed(last_failure_);
    connect_next();
}

void Engine::connect_next() {
    DSTM_ASSERT(!targets_.empty());
    const auto target = targets_.front();
    targets_.pop_front();
    connect(target);
    attempt_by_ = now_.at + config_.limits.attempt_timeout;
    state_ = working_state();
}

void Engine::connect(const Target& target) {
    current_ = target;
    visited_.insert(target);
    retry_at_.reset();
    session_idle_at_.reset();
    session_was_idle_ = false;
    dialogue_ = Dialogue::connecting;
    out_.push_back(Connect{target});
}

// The server's other addresses may be another machine's.
void Engine::connect_elsewhere() {
    dialogue_ = Dialogue::connecting;
    out_.push_back(Connect{current_, true});
    if (state_ == State::tearing_down) return;
    attempt_by_ = now_.at + config_.limits.attempt_timeout;
    state_ = working_state();
}

void Engine::disconnect() {
    attempt_by_.reset();
    session_idle_at_.reset();
    if (dialogue_ == Dialogue::none) return;
    dialogue_ = Dialogue::none;
    out_.push_back(Disconnect{});
}

void Engine::renew() {
    if (dialogue_ != Dialogue::open) {
        begin_attempt();
        return;
    }
    targets_.clear();
    std::remove_copy(servers_.begin(), servers_.end(), std::back_inserter(targets_),
                     current_);
    visited_ = {current_};
    redirects_ = 0;
    session_was_idle_ = true;
    session_idle_at_.reset();
    attempt_by_ = now_.at + config_.limits.attempt_timeout;
    send_create();
}

// A repeated create is an update (RFC 5572 s4.7.1).
void Engine::send_create() {
    dialogue_ = Dialogue::creating;
    asked_at_ = now_;
    state_ = working_state();
    out_.push_back(SendCommand{create_request(config_.wishes, local_.address)});
}

void Engine::on(const SessionOpened& event) {
    if (dialogue_ != Dialogue::connecting) return;
    local_ = event.local;
    peer_ = event.peer;
    has_others_ = event.has_others;
    now_at(local_.address);
    if (state_ == State::tearing_down || giving_back_) {
        send_delete();
    } else {
        send_create();
    }
}

void Engine::on(const SessionFailed& event) {
    const auto was = std::exchange(dialogue_, Dialogue::none);
    session_idle_at_.reset();
    // Either side may close after accept; the tunnel lives on.
    if (was == Dialogue::none || was == Dialogue::open) return;
    const bool connection_was_stale =
        session_was_idle_ && event.cause == SessionFailed::Cause::lost;
    if (connection_was_stale) {
        connect(Target(current_));
        return;
    }
    const bool is_refused = event.cause == SessionFailed::Cause::refused;
    Failure failure{event.text, 0, event.cause == SessionFailed::Cause::local};
    if (is_refused) {
        failure = {explain(event.status, event.text), event.status, is_permanent(event.status)};
    }
    if (event.has_others && event.brokers.empty()) {
        last_failure_ = std::move(failure);
        connect_elsewhere();
    } else if (state_ == State::tearing_down || giving_back_) {
        not_given_back(failure.text);
    } else if (!event.brokers.empty()) {
        follow_redirect(event.brokers);
    } else {
        attempt_failed(std::move(failure));
    }
}

void Engine::on(const Answered& event) {
    if (dialogue_ == Dialogue::deleting) return delete_answered(event);
    if (dialogue_ != Dialogue::creating) return;
    dialogue_ = Dialogue::open;
    if (!event.brokers.empty()) {
        disconnect();
        follow_redirect(event.brokers);
    } else if (event.status != status_success) {
        disconnect();
        Failure failure{explain(event.status, event.text), event.status,
                        is_permanent(event.status)};
        if (has_others_ && may_differ_elsewhere(event.status)) {
            last_failure_ = std::move(failure);
            connect_elsewhere();
            return;
        }
        attempt_failed(std::move(failure));
    } else {
        take_offer(event);
    }
}

// RFC 5572 s4.7.4 and Appendix B: code + 1000 and a list of brokers. What was still to be tried
// before is tried after them.
void Engine::follow_redirect(const std::vector<tsp::Broker>& brokers) {
    ++redirects_;
    if (redirects_ > config_.limits.redirects) {
        attempt_failed({"the servers redirect in too many steps"});
        return;
    }
    auto found = read_redirect(
        brokers, {outer_family(config_.wishes.type), current_.port, config_.limits.brokers});
    const auto named = found.size();
    std::erase_if(found, [this](const Target& target) { return visited_.contains(target); });
    if (found.empty()) {
        attempt_failed({named > 0 ? "the servers redirect in a circle"
                                  : "the server redirects to no server that this host can ask"});
        return;
    }
    std::erase_if(targets_, [&found](const Target& target) {
        return std::find(found.begin(), found.end(), target) != found.end();
    });
    targets_.insert(targets_.begin(), found.begin(), found.end());
    announce(Announce::What::redirected, log::quoted(targets_.front().host));
    connect_next();
}

void Engine::attempt_failed(Failure failure) {
    last_failure_ = failure;
    attempt_by_.reset();
    if (!targets_.empty()) return connect_next();
    if (is_to_find_) return find_servers();
    Announce announcement{};
    announcement.what =
        failure.status != 0 ? Announce::What::refused : Announce::What::failed;
    announcement.text = std::move(failure.text);
    announcement.status = failure.status;
    announcement.permanent = failure.permanent;
    out_.push_back(std::move(announcement));
    if (failure.permanent && config_.ends_on_refusal && !binding_) {
        state_ = State::stopped;
        move_.reset();
        return;
    }
    if (failure.permanent) {
        retry_after(config_.limits.retry_refused);
        return;
    }
    // 1 s, doubled up to the limit. Past the sixth doubling it stands at the limit anyway.
    const auto doublings = std::min(failures_, 16U);
    ++failures_;
    retry_after(std::min(config_.limits.retry_first * (1 << doublings), config_.limits.retry_max));
}

void Engine::retry_after(Duration base) {
    // Half of the time is left to chance, so that the clients of a server that was away do not
    // come back together.
    const auto in = jittered(base, 0.5);
    retry_at_ = now_.at + in;
    state_ = binding_ ? State::renewing : State::waiting;
    Announce announcement{};
    announcement.what = Announce::What::retrying;
    announcement.text = last_failure_.text;
    announcement.in = in;
    out_.push_back(std::move(announcement));
}

void Engine::announce(Announce::What what, std::string text) {
    Announce announcement{};
    announcement.what = what;
    announcement.text = std::move(text);
    out_.push_back(std::move(announcement));
}

Duration Engine::jittered(Duration base, double smallest_share) {
    std::uniform_real_distribution<double> share(smallest_share, 1.0);
    const auto whole = static_cast<double>(base.count());
    return Duration(static_cast<Duration::rep>(whole * share(random_)));
}

}  // namespace dstm::client
