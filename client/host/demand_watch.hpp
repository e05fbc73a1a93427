// Waits for the first packet of IPv4 that leaves this host while there is no lease, and lets it and
// its connection succeed once there is one (docs/decisions/on-demand.md).
//
// A TUN device of its own takes the packets, with a placeholder address and routes of a rank just
// below the tunnel's. What was taken is sent again when the tunnel is up; the kernel's NAT gives
// what comes from the placeholder the leased address. It also counts what uses the tunnel.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/demand_queue.hpp"
#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/netlink.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::client {

struct DemandConfig {
    std::string tunnel_device;                // the watch's own is called this and "-w"
    std::vector<dataplane::IpPrefix> routes;  // as the tunnel's
    std::uint32_t route_metric = 0;           // of the tunnel
    DemandLimits limits = {};
};

class DemandWatch {
public:
    // `seen` is called on the context's thread for each packet that is worth a lease; it does not
    // destroy the watch. The host is as it was when the object, or the process, is gone. `clock`
    // outlives it.
    [[nodiscard]] static Result<DemandWatch> start(boost::asio::io_context& context,
                                                   const Clock& clock, const DemandConfig& config,
                                                   std::function<void()> seen);
    DemandWatch(DemandWatch&&) noexcept;
    DemandWatch& operator=(DemandWatch&&) = delete;
    ~DemandWatch();

    // Something waits that was not sent too long ago.
    [[nodiscard]] bool has_demand() const;
    // The tunnel is up: sends what waits into it, and never anywhere else.
    void release(Ipv4Address leased);
    // The tunnel that had this address is gone: its connections shall be heard as well. Until
    // release().
    void stand_in_for(Ipv4Address leased);
    // Packets that this host has sent into tunnels so far and that are worth a lease.
    [[nodiscard]] std::uint64_t uses() const;

    // Somebody else may have removed the device: then nothing of this is left, and it must go.
    [[nodiscard]] bool is_intact() const;
    // True: routes were missing and are there again.
    [[nodiscard]] bool restore_routes();

private:
    struct State;
    explicit DemandWatch(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

}  // namespace dstm::client
