// Between the watch, the counters and the engine.
#include "client/demand.hpp"

#include <utility>

#include "common/log/log.hpp"

namespace dstm::client {
namespace {

constexpr int idle_checks = 10;  // within the idle timeout

}  // namespace

Demand::Demand(boost::asio::io_context& context, DemandConfig config, Duration idle_timeout,
               Driver& driver, const Clock& clock, std::function<std::uint64_t()> own_packets)
    : context_(context),
      config_(std::move(config)),
      idle_timeout_(idle_timeout),
      driver_(driver),
      clock_(clock),
      own_packets_(std::move(own_packets)),
      idle_watch_(idle_timeout),
      idle_check_(context),
      next_try_(context) {}

Result<void> Demand::start() {
    watch_.reset();
    auto watch = DemandWatch::start(context_, clock_, config_, [this] { seen(); });
    if (!watch) return tl::unexpected(watch.error());
    watch_.emplace(std::move(*watch));
    if (leased_ && !driver_.engine().binding()) watch_->stand_in_for(*leased_);
    return {};
}

// Later, and not when the host changes: a try that fails changes the host as well.
void Demand::start_or_try_later() {
    const auto watching = start();
    if (watching) return;
    log_warning("CLIENT_DEMAND_FAILED", "{}", to_string(watching.error()));
    next_try_.after(idle_timeout_ / idle_checks, [this] {
        if (!watch_ && driver_.engine().state() == State::dormant) start_or_try_later();
    });
}

void Demand::observe(const Announce& announcement) {
    using What = Announce::What;
    if (announcement.what == What::up) tunnel_is_up();
    if (announcement.what == What::down) tunnel_is_down();
    if (announcement.what == What::dormant) tunnel_is_wanted_again();
    // Nothing of ours may stand in the way of the host's own.
    if (announcement.what == What::aside) {
        watch_.reset();
        leased_.reset();
    }
}

bool Demand::restore() {
    if (!watch_) return false;
    if (watch_->is_intact()) return watch_->restore_routes();
    start_or_try_later();
    return watch_.has_value();
}

void Demand::tunnel_is_up() {
    leased_ = std::get<Ipv4Address>(driver_.engine().binding()->offer.inner);
    if (watch_) watch_->release(*leased_);
    idle_watch_.reset();
    look_whether_idle();
}

void Demand::tunnel_is_down() {
    idle_check_.cancel();
    if (watch_ && leased_) watch_->stand_in_for(*leased_);
}

// What came while the last lease was on its way back has been waiting since.
void Demand::tunnel_is_wanted_again() {
    if (!watch_) start_or_try_later();
    if (watch_ && watch_->has_demand()) driver_.handle(DemandSeen{});
}

void Demand::seen() {
    const auto& binding = driver_.engine().binding();
    // Taken although there is a tunnel: its routes are not there, or were not a moment ago.
    if (binding) return watch_->release(std::get<Ipv4Address>(binding->offer.inner));
    driver_.handle(DemandSeen{});
}

void Demand::look_whether_idle() {
    // First: the tunnel may be down when this returns, and there is nothing to look at then.
    idle_check_.after(idle_timeout_ / idle_checks, [this] { look_whether_idle(); });
    if (watch_ && idle_watch_.is_idle(watch_->uses(), own_packets_(), clock_.now())) {
        driver_.handle(DemandGone{});
    }
}

}  // namespace dstm::client
