// What the client changes on this host: the tunnel's device (which belongs to the data plane) and
// the routes into it. Every change is on record before it is made, so that a killed client's next
// start undoes it. No shell commands.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/host/state_directory.hpp"
#include "client/ports.hpp"
#include "common/dataplane/data_plane.hpp"
#include "common/dataplane/netlink.hpp"

namespace dstm::client {

struct TunnelHostConfig {
    std::string device;
    std::vector<Ipv4Prefix> routes;
    std::uint32_t route_metric = 0;
};

// A plane brings its device with it and takes it away when it is destroyed.
using MakePlane = std::function<Result<std::unique_ptr<dataplane::DataPlane>>()>;

class TunnelHost final : public HostNetwork {
public:
    TunnelHost(TunnelHostConfig config, StateDirectory& state, dataplane::Netlink netlink,
               MakePlane make_plane);
    ~TunnelHost() override;

    // Undoes what an earlier life left behind; to be called once, before the first install.
    void recover();

    [[nodiscard]] Result<void> install(const TunnelSpec& spec) override;
    [[nodiscard]] Result<void> set_routes() override;
    [[nodiscard]] Result<void> clear_routes() override;
    [[nodiscard]] Result<void> remove(const IpAddress& inner) override;
    [[nodiscard]] std::optional<dataplane::TunnelCounters> counters() const override;

private:
    [[nodiscard]] dataplane::Route route_of(const Ipv4Prefix& destination, int device) const;

    TunnelHostConfig config_;
    StateDirectory& state_;
    dataplane::Netlink netlink_;
    MakePlane make_plane_;
    std::unique_ptr<dataplane::DataPlane> plane_;
    Ipv4Address inner_;
    std::vector<Ipv4Prefix> routes_set_;
};

}  // namespace dstm::client
