// A client on demand: tells the engine when the tunnel is wanted and when it is no longer used
// (docs/decisions/on-demand.md).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "client/driver.hpp"
#include "client/host/demand_watch.hpp"
#include "client/idle_watch.hpp"
#include "common/io/timer.hpp"

namespace dstm::client {

class Demand {
public:
    // All of what is referred to outlives it. `own_packets` tells how many the client itself has
    // sent into tunnels so far.
    Demand(boost::asio::io_context& context, DemandConfig config, Duration idle_timeout,
           Driver& driver, const Clock& clock, std::function<std::uint64_t()> own_packets);

    // Fails as DemandWatch::start() does.
    [[nodiscard]] Result<void> start();
    void observe(const Announce& announcement);
    // After any change of the host. True: something of the watch was missing and is there again.
    [[nodiscard]] bool restore();

private:
    void start_or_try_later();
    void tunnel_is_up();
    void tunnel_is_down();
    void tunnel_is_wanted_again();
    void seen();
    void look_whether_idle();

    boost::asio::io_context& context_;
    DemandConfig config_;
    Duration idle_timeout_;
    Driver& driver_;
    const Clock& clock_;
    std::function<std::uint64_t()> own_packets_;
    std::optional<DemandWatch> watch_;  // none while the host has a way of its own
    std::optional<Ipv4Address> leased_;
    IdleWatch idle_watch_;
    io::Timer idle_check_;
    io::Timer next_try_;
};

}  // namespace dstm::client
