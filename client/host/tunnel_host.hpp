// What the client changes on this host: the tunnel's device (which belongs to the data plane), the
// routes into it, and a delegated prefix behind it. Every change is on record before it is made, so
// that a killed client's next start undoes it. No shell commands.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/host/inside_network.hpp"
#include "client/host/kept_routes.hpp"
#include "client/host/state_directory.hpp"
#include "client/ports.hpp"
#include "common/dataplane/data_plane.hpp"
#include "common/dataplane/netlink.hpp"

namespace dstm::client {

struct TunnelHostConfig {
    std::string device;
    std::vector<dataplane::IpPrefix> routes;  // of the inner family
    std::uint32_t route_metric = 0;
    std::optional<InsideConfig> inside = std::nullopt;
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

    // After any change of the host: sets what others have taken away of what stands. True:
    // something was missing and is there again.
    [[nodiscard]] bool restore();

    [[nodiscard]] Result<void> install(const TunnelSpec& spec) override;
    [[nodiscard]] Result<void> set_routes() override;
    [[nodiscard]] Result<void> clear_routes() override;
    [[nodiscard]] Result<void> remove(const IpAddress& inner) override;
    [[nodiscard]] std::optional<dataplane::TunnelCounters> counters() const override;
    [[nodiscard]] std::optional<std::uint32_t> mtu() override;
    [[nodiscard]] Result<void> use_smallest_mtu() override;

private:
    [[nodiscard]] dataplane::Route route_of(const dataplane::IpPrefix& destination,
                                            int device) const;
    [[nodiscard]] bool restore_address();
    void apply_inside();
    void leave_inside();
    void forget();

    TunnelHostConfig config_;
    StateDirectory& state_;
    dataplane::Netlink netlink_;
    MakePlane make_plane_;
    KeptRoutes routes_;
    InsideNetwork inside_network_;
    std::unique_ptr<dataplane::DataPlane> plane_;
    IpAddress inner_;
    std::optional<HostChanges> recorded_;
    std::optional<InsideChanges> inside_;  // on record, and perhaps made
    bool inside_failed_ = false;  // which is told once
};

}  // namespace dstm::client
