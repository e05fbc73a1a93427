// Waits for the first packet of IPv4 that leaves this host while there is no lease, and lets it and
// its connection succeed once there is one (docs/decisions/on-demand.md).
//
// A TUN device of its own takes the packets, with a placeholder address and routes of a rank just
// below the tunnel's. What was taken is sent again when the tunnel is up; the kernel's NAT gives
// what comes from the placeholder the leased address.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

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
    std::size_t packets_max = 64;
    std::size_t bytes_max = 256 * 1024;
};

class DemandWatch {
public:
    // `seen` is called on the context's thread for each packet that is taken. The host is as it was
    // when the object, or the process, is gone.
    [[nodiscard]] static Result<DemandWatch> start(boost::asio::io_context& context,
                                                   dataplane::Netlink& netlink,
                                                   const DemandConfig& config,
                                                   std::function<void()> seen);
    DemandWatch(DemandWatch&&) noexcept;
    DemandWatch& operator=(DemandWatch&&) = delete;
    ~DemandWatch();

    // The tunnel is up: sends what waits. It leaves by the routes as they are now.
    void release();

private:
    struct State;
    explicit DemandWatch(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

}  // namespace dstm::client
