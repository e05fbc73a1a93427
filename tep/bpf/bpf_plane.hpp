// The fast data plane of an endpoint: BPF programs in the kernel for what is usual, and the tun
// data plane beneath them for all the rest, under the same rules.
//
// The programs carry v4v6 (RFC 2473), v6v4 (RFC 4213) and v6udpv4. Knows nothing of leases, TSP or
// the endpoint link.
#pragma once

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
#include "common/dataplane/netlink.hpp"
#include "common/dataplane/tun_plane_config.hpp"

namespace dstm::tep::bpf {

// What goes from interface to interface without the kernel's routing, and so past a firewall's
// forward rules. Everything else, and what is not plain, goes through the kernel as ever.
enum class Shortcut {
    automatic,  // tc as long as nobody looks at forwarded packets of this family, else none
    none,
    tc,   // on every interface with an IPv4 or IPv6 route
    xdp,  // the same where the driver can; tc on the others
};

struct Interface {
    std::string name;
    Shortcut shortcut = Shortcut::automatic;  // then as for all
};

struct BpfPlaneConfig {
    std::string device = "dstm0";
    Ipv6Address outer;                 // this host's own outer address
    std::optional<Ipv4Address> inner;  // this host's own inner address
    std::vector<Ipv4Prefix> pools;     // at most 8, none larger than a /10, none overlapping
    bool hairpin = true;
    bool mss_clamp = true;

    // As in TunPlaneConfig.
    std::optional<Ipv4Address> outer_ipv4;
    std::optional<Ipv6Address> inner_ipv6;
    std::vector<Ipv6Prefix> pools_ipv6;
    std::uint16_t udp_port = 0;
    dataplane::TspDatagram tsp_datagram;
    std::function<void()> device_gone;

    // Where packets from clients come in. Empty: the interface that has the outer address, those
    // that IPv6 routes with a gateway lead to, and those by which packets to clients leave.
    std::vector<Interface> interfaces;
    Shortcut shortcut = Shortcut::automatic;

    std::size_t tunnels_max = std::size_t{1} << 20;

    // Device, programs, maps and tunnels outlive the plane and its process, and go on carrying;
    // the next plane of this device takes them over. detach() ends that.
    bool lasting = false;
};

// Loads the programs, creates the device and starts carrying. All of it is undone by the
// destructor, or by detach() when it is to last. Needs CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and
// CAP_NET_RAW.
// `clock` must outlive the plane.
//
// Errors as for make_tun_plane; besides, invalid: pools that overlap, are too many or too large;
// refused: the kernel's verifier does not take a program, with its reason; unavailable: no right
// to load programs; conflict: maps of another's or of a newer version, or another's
// filter, are in the way. What an earlier plane left goes on carrying when this one fails. add() as
// there, and a tunnel's inner address may lie in no pool: it gets a route of its own.
[[nodiscard]] Result<std::unique_ptr<dataplane::DataPlane>> make_bpf_plane(
    const BpfPlaneConfig& config, const Clock& clock);

// What this plane would do here, or why it cannot. What it makes for this goes again.
[[nodiscard]] Result<std::string> probe();

// Removes what a lasting plane left: programs from interfaces, pins, the device with its routes,
// the blackhole routes beneath `pools` and beneath those that it had; settings of interfaces are
// put back. What is not there is no error; what is pinned there and not ours stays. Returns what
// was found and removed, for the operator. conflict: a process holds the device. refused: without
// the rights of root it cannot be seen whether all of it is gone.
[[nodiscard]] Result<std::vector<std::string>> detach(
    const std::string& device, const std::vector<dataplane::IpPrefix>& pools);

// There is something for detach() to take back.
[[nodiscard]] bool is_left(const std::string& device);

}  // namespace dstm::tep::bpf
