// Between the watch, the counters and the engine.
#include "client/demand.hpp"

#include <utility>

namespace dstm::client {
namespace {

constexpr int idle_checks = 10;  // within the idle timeout

}  // namespace

Demand::Demand(boost::asio::io_context& context, DemandConfig config, Duration idle_timeout,
               Driver& driver, const HostNetwork& host, const Clock& clock)
    : context_(context),
      config_(std::move(config)),
      idle_timeout_(idle_timeout),
      driver_(driver),
      host_(host),
      clock_(clock),
      idle_watch_(idle_timeout),
      idle_check_(context) {}

Result<void> Demand::start(dataplane::Netlink& netlink) {
    auto watch = DemandWatch::start(context_, netlink, config_, [this] { seen(); });
    if (!watch) return tl::unexpected(watch.error());
    watch_.emplace(std::move(*watch));
    return {};
}

void Demand::tunnel_is_up() {
    watch_->release();
    keepalives_before_ = driver_.keepalives();
    idle_watch_.reset();
    look_whether_idle();
}

void Demand::tunnel_is_down() { idle_check_.cancel(); }

void Demand::seen() {
    // Taken in the moment before the routes of the tunnel were there.
    if (driver_.engine().state() == State::up) return watch_->release();
    driver_.handle(DemandSeen{});
}

void Demand::look_whether_idle() {
    const auto counters = host_.counters();
    if (!counters) return;
    const auto packets = counters->packets_up + counters->packets_down;
    const auto keepalives = driver_.keepalives() - keepalives_before_;
    if (idle_watch_.is_idle(packets, keepalives, clock_.now())) driver_.handle(DemandGone{});
    idle_check_.after(idle_timeout_ / idle_checks, [this] { look_whether_idle(); });
}

}  // namespace dstm::client
