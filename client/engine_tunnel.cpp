// The tunnel in the machine: from an offer to a tunnel on the host, its renewal, its keepalive and
// the end of its lease. The dialogue is in engine.cpp, its way back in engine_end.cpp.
#include <algorithm>
#include <utility>

#include "client/engine.hpp"

namespace dstm::client {
namespace {

constexpr double keepalive_smallest_share = 0.75;  // RFC 5572 s4.6 (N8)

// Whether the tunnel still runs between the same addresses, with the same encapsulation.
bool is_same_place(const Binding& binding, const Offer& offer, const IpEndpoint& outer) {
    return binding.outer.address == outer.address && binding.offer.type == offer.type &&
           binding.offer.endpoint == offer.endpoint;
}

}  // namespace

void Engine::take_offer(const Answered& event) {
    auto offer = event.message
                     ? read_offer(*event.message,
                                  {config_.wishes.type, local_.address, peer_->address})
                     : fail(ErrorCode::invalid, "the server's success came without an offer");
    if (!offer) {
        out_.push_back(SendCommand{bare_request(tsp::Action::reject, config_.wishes.type)});
        disconnect();
        attempt_failed({offer.error().context});
        return;
    }
    // RFC 5572 s4.3: both ends build the tunnel after the accept.
    out_.push_back(SendCommand{bare_request(tsp::Action::accept)});
    given_type_ = request_type(offer->type);
    // The broker has no word for none, and may name its own.
    if (config_.wishes.keepalive_s == 0) offer->keepalive_interval = Duration{0};
    pending_ = Pending{*offer, local_, *peer_, current_};
    lease_ = Lease{current_, peer_->address, asked_at_.at + offer->lease};
    attempt_by_.reset();
    if (!offer->lease_is_exact) {
        announce(Announce::What::lifetime_guessed, std::to_string(offer->lifetime_attribute));
    }
    if (binding_ && binding_->offer.inner != offer->inner) {
        out_.push_back(ClearRoutes{});
        out_.push_back(RemoveTunnel{binding_->offer.inner});
        announce(Announce::What::down, "the server gave another address");
        binding_.reset();
    }
    TunnelSpec spec;
    spec.type = offer->type;
    spec.inner = offer->inner;
    spec.inner_prefix = offer->prefix;
    // RFC 5572 s4.5.2: v6udpv4 carries data between the very ports of the signalling.
    const bool shares_port = offer->type == TunnelType::v6udpv4;
    spec.outer_client = {local_.address, shares_port ? local_.port : std::uint16_t{0}};
    spec.outer_server = offer->endpoint;
    spec.generation = next_generation();
    // The engine takes the tunnel down when the lease ends, by a clock that nobody sets; here the
    // wall clock must not end it earlier.
    spec.expires_at = WallTime::max();
    out_.push_back(InstallTunnel{std::move(spec)});
}

void Engine::on(const TunnelInstalled& event) {
    if (!pending_) return;
    if (event.error) {
        install_failed(*event.error, false);
    } else {
        out_.push_back(SetRoutes{});
    }
}

void Engine::on(const RoutesSet& event) {
    if (!pending_) return;
    if (event.error) {
        install_failed(*event.error, true);
    } else {
        become_up();
    }
}

void Engine::become_up() {
    const auto pending = *std::exchange(pending_, std::nullopt);
    const auto& offer = pending.offer;
    auto what = Announce::What::up;
    auto since = now_.wall;
    if (binding_) {
        const bool stays = is_same_place(*binding_, offer, pending.outer);
        what = stays ? Announce::What::renewed : Announce::What::moved;
        since = binding_->since;
    }
    // From when it was asked for (as RFC 2131 s4.4.5): never longer than the server holds it.
    binding_ = Binding{offer,
                       pending.outer,
                       pending.peer,
                       pending.server,
                       since,
                       asked_at_.at + std::chrono::duration_cast<Duration>(offer.lease) / 2,
                       asked_at_.at + offer.lease,
                       asked_at_.wall + offer.lease};
    last_good_ = pending.server;
    good_was_listed_ = std::find(servers_.begin(), servers_.end(), pending.server) !=
                       servers_.end();
    failures_ = 0;
    last_failure_ = {};
    is_tunnel_sound_ = true;
    targets_.clear();
    if (dialogue_ == Dialogue::open) session_idle_at_ = now_.at + config_.limits.session_idle;
    state_ = State::up;
    announce(what);
    start_keepalive();
}

// RFC 5572 s4.7.1: at its end the endpoint drops the tunnel, whoever may hold the address next.
void Engine::lease_ended() {
    out_.push_back(ClearRoutes{});
    out_.push_back(RemoveTunnel{binding_->offer.inner});
    binding_.reset();
    echo_at_.reset();
    echo_answer_by_.reset();
    announce(Announce::What::down, "the lease ended and could not be renewed");
    const bool is_asking = dialogue_ != Dialogue::none && dialogue_ != Dialogue::open;
    if (config_.on_demand) {
        // Nobody may want it now; the next packet leases anew.
        disconnect();
        retry_at_.reset();
        move_.reset();
        failures_ = 0;
        rest();
    } else if (is_asking) {
        state_ = working_state();
    } else {
        begin_attempt();
    }
}

// --- keepalive, RFC 5572 s4.6: an echo of the inner family inside the tunnel ---------------------

void Engine::start_keepalive() {
    echo_misses_ = 0;
    echo_at_.reset();
    echo_answer_by_.reset();
    const auto interval = binding_->offer.keepalive_interval;
    if (interval > Duration{0}) echo_at_ = now_.at + jittered(interval, keepalive_smallest_share);
}

void Engine::keepalive_due() {
    if (!binding_) return;
    const auto interval = binding_->offer.keepalive_interval;
    out_.push_back(
        SendKeepalive{binding_->offer.inner, *binding_->offer.keepalive_to, ++echo_sequence_});
    // The next echo may be due after three quarters of the interval: the answer counts till then.
    echo_answer_by_ = now_.at + std::min(config_.limits.echo_timeout, interval * 3 / 4);
    echo_at_ = now_.at + jittered(interval, keepalive_smallest_share);
}

void Engine::keepalive_missed(Instant answer_by) {
    if (now_.at >= answer_by + config_.limits.echo_timeout) {
        // So late only when this host slept, and nothing was heard meanwhile: it is asked anew.
        echo_at_ = now_.at;
        return;
    }
    ++echo_misses_;
    if (echo_misses_ >= config_.limits.echo_misses) keepalive_lost();
}

void Engine::on(const KeepaliveAnswered&) {
    // A late answer shows a living tunnel as well.
    echo_misses_ = 0;
    echo_answer_by_.reset();
    is_tunnel_sound_ = true;
}

void Engine::keepalive_lost() {
    echo_misses_ = 0;
    is_tunnel_sound_ = false;
    announce(Announce::What::keepalive_lost,
             std::to_string(config_.limits.echo_misses) + " echoes in a row without an answer");
    // The dialogue is as doubtful as the tunnel: a new connection.
    if (state_ == State::up) begin_attempt();
}

// Grows over restarts and with every install.
Generation Engine::next_generation() {
    const auto by_clock = static_cast<Generation>(std::max<std::int64_t>(0, to_unix(now_.wall))) *
                          1'000'000;
    generation_ = std::max(generation_ + 1, by_clock);
    return generation_;
}

}  // namespace dstm::client
