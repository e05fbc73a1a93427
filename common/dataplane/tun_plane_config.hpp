// What an endpoint or a client tells the tun data plane once, at its start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::dataplane {

// A datagram of signalling (first nibble 0xF) that came to the UDP port of the data.
using TspDatagram = std::function<void(const IpEndpoint& peer, ConstBytes datagram)>;

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

    // Endpoint: what the types with IPv6 inside need besides. Without `outer_ipv4` it carries v4v6
    // only, and the others stay empty.
    std::optional<Ipv4Address> outer_ipv4;  // this host's own
    std::optional<Ipv6Address> inner_ipv6;  // as `inner`, /128
    std::vector<Ipv6Prefix> pools_ipv6;     // as `pools`; clients' addresses and delegated prefixes

    // Endpoint: of v6udpv4, on outer_ipv4; 0: it is not carried. Client: the endpoint's, to which
    // it signals; 0: the one of RFC 5572, 3653.
    std::uint16_t udp_port = 0;

    // Both roles: told on the plane's thread. Must not call the plane; an endpoint answers later by
    // send_tsp(), a client sends from its own descriptor of the socket.
    TspDatagram tsp_datagram;

    // Client: asked at each add() of a v6udpv4 tunnel for a duplicate of the UDP socket that
    // signals, bound and not connected (RFC 5572 s4.5.2: data uses the very ports of the
    // signalling). While the plane holds it only the plane reads it; it closes it when the tunnel
    // is removed or becomes another type, and at the next add(). Empty: v6udpv4 is not carried.
    std::function<Result<Descriptor>(const TunnelSpec&)> udp_socket;

    bool hairpin = true;    // endpoint: client to client
    bool mss_clamp = true;  // in SYN, both ways

    // MTU of the device. 0: endpoint as large as possible, client what the path allows. A client's
    // device never goes above this value.
    std::uint32_t device_mtu = 0;

    std::size_t tunnels_max = std::size_t{1} << 20;  // endpoint

    // Endpoint, beneath a plane that takes most packets before they come here: receive offload of
    // the outer interface stays as it is. The few packets that do come may then be merged ones.
    bool keep_gro = false;

    // File that says, while receive offload is off because of us, where it was on (GroOff). Empty:
    // a process that is killed leaves it off for good.
    std::string gro_record;

    // Endpoint: the device, its address and routes stay when the plane goes, and a device that an
    // earlier process left is taken over. Without a process it has no carrier, but packets are
    // still routed to it, and programs on its hooks see them.
    bool keep_device = false;

    // Endpoint: a tunnel's inner address may lie in no pool, and gets a route of its own to the
    // device then.
    bool outside_pools = false;

    // Endpoint: told, on the plane's thread, when a packet-too-big message has lowered the path
    // MTU to a far end. Must not call the plane.
    std::function<void(const IpAddress& far_end, std::uint32_t path_mtu)> path_mtu_lowered;

    // Both roles: told, on the plane's thread, that somebody has deleted the device: nothing is
    // carried any more. Must not call the plane.
    std::function<void()> device_gone;

    // Client: told, on the plane's thread, when the outer path MTU is first known and whenever it
    // changes. The device's MTU has been adapted before. Must not call the plane.
    std::function<void(std::uint32_t path_mtu)> path_mtu_changed;
};

}  // namespace dstm::dataplane
