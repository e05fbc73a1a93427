// A client on demand: tells the engine when the tunnel is wanted and when it is no longer used
// (docs/decisions/on-demand.md).
#pragma once

#include <cstdint>
#include <optional>

#include "client/driver.hpp"
#include "client/host/demand_watch.hpp"
#include "client/idle_watch.hpp"
#include "common/io/timer.hpp"

namespace dstm::client {

class Demand {
public:
    // All of what is referred to outlives it.
    Demand(boost::asio::io_context& context, DemandConfig config, Duration idle_timeout,
           Driver& driver, const HostNetwork& host, const Clock& clock);

    // Fails as DemandWatch::start() does.
    [[nodiscard]] Result<void> start(dataplane::Netlink& netlink);
    void tunnel_is_up();
    void tunnel_is_down();

private:
    void seen();
    void look_whether_idle();

    boost::asio::io_context& context_;
    DemandConfig config_;
    Duration idle_timeout_;
    Driver& driver_;
    const HostNetwork& host_;
    const Clock& clock_;
    std::optional<DemandWatch> watch_;
    IdleWatch idle_watch_;
    io::Timer idle_check_;
    std::uint64_t keepalives_before_ = 0;  // of this tunnel
};

}  // namespace dstm::client
