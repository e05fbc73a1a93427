// The data plane that works on every host: a TUN device and a raw IPv6 socket, in user space.
//
// Carries v4v6 (RFC 2473). It knows nothing of leases, TSP or the endpoint link; what happens to a
// packet is decided in carrier.hpp, this is the ring of sockets and threads around it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/data_plane.hpp"

namespace dstm::dataplane {

struct TunPlaneConfig {
    enum class Role {
        endpoint,  // many tunnels, found by inner address
        client,    // one tunnel; `inner` of its spec is this host's own address
    };

    Role role = Role::endpoint;
    std::string device = "dstm0";

    // Endpoint: this host's own outer address. A client leaves it empty: it uses the outer_client
    // of the tunnel that is installed, and changes with it (a move).
    Ipv6Address outer;

    // Endpoint: this host's own inner address. Given to the device as /32 (so that the kernel
    // answers echo), source of the ICMP errors that the plane sends.
    std::optional<Ipv4Address> inner;

    // Endpoint: routed to the device. Beneath each lies a blackhole route of the highest metric,
    // which is what remains when the process is killed: nothing loops.
    std::vector<Ipv4Prefix> pools;

    bool hairpin = true;    // endpoint: client to client
    bool mss_clamp = true;  // in SYN, both ways

    // MTU of the device. 0: endpoint as large as possible, client what the path allows. A client's
    // device never goes above this value.
    std::uint32_t device_mtu = 0;

    std::size_t tunnels_max = std::size_t{1} << 20;  // endpoint

    // Client: told, on the plane's thread, when the outer path MTU is first known and whenever it
    // changes. The device's MTU has been adapted before. Must not call the plane.
    std::function<void(std::uint32_t path_mtu)> path_mtu_changed;
};

// Creates the device, brings it up, and starts carrying. All of it is undone by the destructor,
// which returns promptly. Needs CAP_NET_ADMIN and CAP_NET_RAW. `clock` must outlive the plane and
// is read from its thread too.
//
// invalid: a value of the configuration cannot work. conflict: the device belongs to another
// process. unavailable: the host lacks the address, the TUN device or the right.
//
// add() returns, besides what DataPlane says: refused for a tunnel type that is not carried here;
// invalid for addresses that cannot be (inner in no pool, an outer that is not this host's);
// exhausted when the table is full, for a client when it has a tunnel with another inner address;
// unavailable, for a client, when its outer address is not (yet) on the host.
[[nodiscard]] Result<std::unique_ptr<DataPlane>> make_tun_plane(const TunPlaneConfig& config,
                                                                const Clock& clock);

}  // namespace dstm::dataplane
