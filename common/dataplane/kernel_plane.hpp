// The data plane that is the kernel's own: an ip6tnl device (RFC 2473) for each far end of v4v6, a
// sit device (RFC 4213) for each of v6v4, made by netlink. The daemon carries no packet; without
// it the devices go on.
//
// Endpoint: every device lets in only what comes from its tunnels' inner addresses, whatever
// the host's rp_filter says, and the route to an inner address leads into its device. A move to
// another outer address is a new device, then the route, then the end of the old device. What
// came from no client, or is for none, is dropped at a device of the endpoint's own.
//
// Knows nothing of leases, TSP or the endpoint link. docs/decisions/kernel-data-plane.md
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/data_plane.hpp"

namespace dstm::dataplane {

struct KernelPlaneConfig {
    enum class Role {
        endpoint,  // a device for each far end, found by inner address
        client,    // one tunnel; `inner` of its spec is this host's own address
    };

    Role role = Role::endpoint;

    // A client's only device. At an endpoint the device of its own addresses; tunnels are
    // called dstm0-1, dstm0-2 and so on, and the device of IPv6 in IPv4 dstm0-sit.
    std::string device = "dstm0";

    // Endpoint only, from here on. This host's own addresses, outside and inside: the inner ones
    // are given to the device, so that the kernel answers echo. Without `outer_ipv4` it carries
    // v4v6 only.
    std::optional<Ipv6Address> outer;
    std::optional<Ipv4Address> inner;
    std::vector<Ipv4Prefix> pools;
    std::optional<Ipv4Address> outer_ipv4;
    std::optional<Ipv6Address> inner_ipv6;
    std::vector<Ipv6Prefix> pools_ipv6;

    // An IPv4 inner address may lie in no pool: the route to it is its tunnel's in any case. Not
    // without hairpin, for what is from client to client is then known by the pools.
    bool outside_pools = false;

    bool hairpin = true;             // client to client
    bool mss_clamp = true;           // in SYN, both ways
    std::size_t tunnels_max = 4096;  // a device costs the kernel about 43 kB
};

// What make_kernel_plane() would fail with for want of something in the kernel or of rights: makes
// a device of this type and removes it again. v6udpv4: always refused, there is no such device.
[[nodiscard]] Result<void> probe_kernel_plane(TunnelType type);

// Endpoint: takes over the tunnels that an earlier daemon left, without a packet lost, and leaves
// its own behind when it is destroyed; those that have expired go. Client: the device goes with
// the plane. Needs CAP_NET_ADMIN, an endpoint CAP_NET_RAW too (else it does not hear what clients
// say of their paths). `clock` must outlive the plane and is read from its thread too.
//
// invalid: a value of the configuration cannot work. conflict: another program holds the device,
// or a pool is routed elsewhere. unavailable: probe_kernel_plane() says why.
//
// add() returns, besides what DataPlane says: refused for a type that is not carried; invalid for
// addresses that cannot be; exhausted when the table is full, when one far end has more tunnels
// than its device can remember, and for a client when it has a tunnel with another inner address;
// unavailable when the outer address is not on this host.
[[nodiscard]] Result<std::unique_ptr<DataPlane>> make_kernel_plane(const KernelPlaneConfig& config,
                                                                   const Clock& clock);

// Whether devices that an endpoint's plane has left are there.
[[nodiscard]] bool is_kernel_plane_left(const std::string& device);

// Removes everything that an endpoint's plane of this configuration has left: what that was.
// conflict: a living daemon holds it.
[[nodiscard]] Result<std::vector<std::string>> detach_kernel_plane(const KernelPlaneConfig& config);

// Removes the device that a killed client left; false when this is no such device.
[[nodiscard]] Result<bool> remove_kernel_client(const std::string& device);

}  // namespace dstm::dataplane
