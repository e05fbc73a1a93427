// What the tun data plane changes on the host: its device's addresses, MTU and routes, blackholes
// beneath the pools, receive offload of the outer interfaces. The destructor puts back what does
// not go with the device. Knows no packets and no tunnels.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/host_changes.hpp"
#include "common/dataplane/inner_packet.hpp"
#include "common/dataplane/netlink.hpp"

namespace dstm::dataplane {

// Of the blackhole route beneath each pool: below every route that an operator may set for (part
// of) it.
constexpr std::uint32_t blackhole_metric = std::numeric_limits<std::uint32_t>::max();

class TunHost {
public:
    // The device is there.
    [[nodiscard]] static Result<TunHost> open(const std::string& device);
    TunHost(TunHost&&) noexcept = default;
    TunHost& operator=(TunHost&&) = delete;
    ~TunHost();

    // IPv6 on the device, without an address of its own making; where it is so, nothing happens.
    void enable_ipv6();
    // No router solicitations and multicast reports. Its addresses and routes of IPv6 go.
    void disable_ipv6();

    [[nodiscard]] Result<void> set_up();
    [[nodiscard]] std::uint32_t mtu() const { return mtu_; }
    [[nodiscard]] Result<void> set_mtu(std::uint32_t mtu);
    // As /32 or /128. What is there already, and what is not when removed, is no error.
    [[nodiscard]] Result<void> add_address(const IpAddress& address);
    [[nodiscard]] Result<void> remove_address(const IpAddress& address);

    // Into the device, and beneath it a blackhole, which is what a killed process leaves. conflict:
    // it is routed elsewhere; then nothing has changed.
    [[nodiscard]] Result<void> route_pool(const IpPrefix& pool,
                                          const std::optional<IpAddress>& source);
    // What the device has besides goes: pools and addresses of an earlier process, which was told
    // others. The routes of single tunnels stay.
    [[nodiscard]] Result<void> remove_others();
    // Puts back what the device lost of it while it was down, but for what others have led
    // elsewhere meanwhile. False: nothing was missing. A host that fails keeps no other away.
    [[nodiscard]] Result<bool> restore();
    [[nodiscard]] int device_index() const { return device_index_; }
    // Into the device. conflict: a route to it leads elsewhere.
    [[nodiscard]] Result<void> route_host(const IpAddress& host);
    [[nodiscard]] Result<void> remove_host_route(const IpAddress& host);
    // They stay when this object goes.
    void leave_blackholes() { blackholes_.clear(); }
    // Of the device only, the other interfaces are the operator's; warns when the host forwards
    // nothing at all of this version.
    void forward(Version version);

    // Of the interface that has this address. `record`: see GroOff. unavailable: none has it.
    [[nodiscard]] Result<void> turn_gro_off(const IpAddress& outer, const std::string& record);
    void restore_gro() { gro_.clear(); }

private:
    TunHost(Netlink netlink, std::string device, int device_index)
        : netlink_(std::move(netlink)), device_(std::move(device)), device_index_(device_index) {}

    [[nodiscard]] Result<void> route_into_device(const Route& route);
    [[nodiscard]] Route host_route(const IpAddress& host) const;

    Netlink netlink_;
    std::string device_;
    int device_index_;
    std::uint32_t mtu_ = 0;  // 0: as the kernel made it
    std::vector<GroOff> gro_;
    std::vector<IpAddress> addresses_;
    std::vector<Route> routes_;  // of the pools
    std::unordered_set<IpAddress> hosts_;
    std::vector<Route> blackholes_;  // to be removed
};

}  // namespace dstm::dataplane
