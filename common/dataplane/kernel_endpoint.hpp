// The kernel data plane of an endpoint. Internal to kernel_plane.
//
//   dstm0      remote any   what comes from no client, or is for none, ends here
//   dstm0-1    remote A     only from A's inner addresses; routes to these lead here
//   dstm0-2    remote B     ...
//   dstm0-sit               as dstm0, for IPv6 in IPv4
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/dataplane/kernel_alias.hpp"
#include "common/dataplane/kernel_host.hpp"
#include "common/dataplane/link_news.hpp"
#include "common/dataplane/path_reports.hpp"
#include "common/dataplane/sightings.hpp"

namespace dstm::dataplane {

// One encapsulation and the endpoint's part in it.
struct Carried {
    TunnelType type = TunnelType::v4v6;
    std::string device;
    IpAddress outer;
    std::optional<IpAddress> inner;
    std::vector<IpPrefix> pools;
};

class KernelEndpoint final : public DataPlane {
public:
    KernelEndpoint(const KernelPlaneConfig& config, const Clock& clock, KernelHost host,
                   Descriptor held);

    [[nodiscard]] Result<void> start();
    // Removes every device and route of this configuration; the devices' names.
    [[nodiscard]] Result<std::vector<std::string>> take_down();

    [[nodiscard]] std::string_view name() const override { return "kernel"; }
    [[nodiscard]] Result<void> add(const TunnelSpec& spec) override;
    [[nodiscard]] Result<void> remove(const IpAddress& inner, Generation up_to) override;
    [[nodiscard]] std::vector<InstalledTunnel> list() const override;
    [[nodiscard]] std::vector<TunnelCounters> counters(
        std::span<const IpAddress> inner) const override;
    [[nodiscard]] DropCounters drops() const override;

private:
    struct Device {
        int index = 0;
        std::string name;
        TunnelType type = TunnelType::v4v6;
        std::map<Slot, TunnelSpec> tunnels;  // as its alias says
        std::uint32_t mtu = 0;  // of the routes into it; 0 while nobody said that it is too large
        Instant mtu_told_at = {};
        bool is_down = false;  // by somebody's hand
    };
    struct Tunnel {
        IpAddress far_end;  // of its device
        Slot slot = 0;
        bool is_open = false;   // carries; not any more when its lease is over
        TunnelCounters before;  // to be added to what the device counts; may wrap
        Sightings sightings;
    };
    using Devices = std::map<IpAddress, Device>;  // by far end

    [[nodiscard]] Result<void> adopt(const std::vector<TunnelLink>& links);
    [[nodiscard]] bool adopt_device(const TunnelLink& link, std::uint32_t mtu);
    void adopt_tunnel(Device& device, const IpAddress& far_end, Slot slot);
    [[nodiscard]] Result<void> start_own(const Carried& carried,
                                         const std::vector<TunnelLink>& links);
    [[nodiscard]] Result<int> own_device(const Carried& carried,
                                         const std::vector<TunnelLink>& links);
    // Its address, and what is for the pools.
    [[nodiscard]] Result<void> furnish(const Carried& carried, int device);
    [[nodiscard]] Result<void> route_pool(const Carried& carried, const IpPrefix& pool, int device);
    [[nodiscard]] std::string alias_of_own(const Carried& carried) const;
    [[nodiscard]] bool is_tunnel_device(const std::string& name) const;

    [[nodiscard]] const Carried* carried_as(TunnelType type) const;
    [[nodiscard]] Result<void> check_add(const TunnelSpec& spec) const;
    [[nodiscard]] bool stays(const TunnelSpec& spec) const;
    [[nodiscard]] Result<void> renew(Tunnel& tunnel, const TunnelSpec& spec);
    [[nodiscard]] Result<void> move_in(const TunnelSpec& spec);
    [[nodiscard]] Result<Devices::iterator> find_or_make_device(const TunnelSpec& spec);
    [[nodiscard]] Result<Device> make_device(TunnelType type, const IpAddress& far_end);
    [[nodiscard]] Result<void> prepare_device(const Device& device, const Carried& carried);
    // Lets the tunnel's addresses in and leads theirs there.
    [[nodiscard]] Result<void> open_tunnel(const Device& device, Slot slot);
    void close_tunnel(const Device& device, Slot slot);
    // Takes the tunnel off its device, and the device away with its last one.
    void leave(const Tunnel& tunnel);
    void remove_device(Devices::iterator at);
    void keep_house();
    // Mends what somebody else has done to the devices.
    void look_after_devices();
    void look_after_own(const Carried& carried);
    void look_after(const IpAddress& far_end, Device& device);
    [[nodiscard]] Result<void> make_again(const IpAddress& far_end, Device& device);
    // The routes of all its tunnels, as they should be.
    [[nodiscard]] Result<void> lead_into(const Device& device);
    void hear_of_paths();
    void lower_path(Device& device, std::uint32_t mtu);
    void set_path_mtu(Device& device, std::uint32_t mtu);
    void close_if_over(Tunnel& tunnel);

    [[nodiscard]] std::vector<IngressRule> rules_of(const TunnelSpec& spec, Slot slot) const;
    [[nodiscard]] std::vector<Route> routes_of(const TunnelSpec& spec, const Device& device) const;
    [[nodiscard]] std::vector<InstalledTunnel> listed() const;
    [[nodiscard]] TunnelCounters counted_by(const Device& device) const;
    // When its device has counted so much.
    [[nodiscard]] TunnelCounters counted_for(Tunnel& tunnel, TunnelCounters counters) const;

    const KernelPlaneConfig config_;
    const std::vector<Carried> carried_;
    const Clock& clock_;
    const Descriptor held_;

    mutable std::mutex mutex_;  // guards all that follows
    mutable KernelHost host_;
    std::optional<NftTable> mss_clamp_;
    std::map<TunnelType, int> own_devices_;
    Devices devices_;
    mutable std::map<IpAddress, Tunnel> tunnels_;
    unsigned number_ = 0;  // of the last device made
    Instant look_at_;      // at the counters again, to know when packets passed
    DropCounters gone_;    // counted by devices that are no more
    std::vector<PathReports> path_reports_;
    std::optional<LinkNews> link_news_;
    std::optional<Housekeeper> housekeeper_;
};

}  // namespace dstm::dataplane
