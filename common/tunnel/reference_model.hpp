// What every data plane must do with a packet: slow, obvious, from the RFCs, over whole packets
// as they are on the wire. Tests compare the fast planes with it; nothing else uses it.
//
// v4v6: RFC 2473 (encapsulation, fragmentation, ICMP), RFC 791, RFC 1191, RFC 1122 s3.2.2. v6v4 and
// v6udpv4: RFC 4213, RFC 8200, RFC 4443. All: RFC 6040 (ECN), RFC 2983 (DSCP). It does not
// reassemble outer fragments, does not fragment, and leaves identification and DF of an outer IPv4
// header empty: a kernel does that before and after. Counters are named as in docs/counters.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::model {

using Packet = std::vector<std::uint8_t>;

struct World {
    enum class Role { endpoint, client };
    Role role = Role::endpoint;
    std::optional<Ipv4Address> inner;  // endpoint: its own inner addresses
    std::optional<Ipv6Address> inner_ipv6;
    std::uint16_t udp_port = 3653;  // the endpoint's, of v6udpv4
    bool hairpin = true;
    bool mss_clamp = true;
    std::vector<TunnelSpec> tunnels;  // a client has one or none
    std::uint32_t link_mtu = 1500;
    std::map<IpEndpoint, std::uint32_t> path_mtu;  // by far end, where it is below link_mtu
};

struct Verdict {
    Packet packet;        // goes on; empty when dropped
    std::string counter;  // why it was dropped; empty when it goes on
    Packet answer;        // an ICMP packet for the inner source; empty when there is none

    bool operator==(const Verdict&) const = default;
};

// A whole packet from the outer network in, the inner packet out. A packet that is not for the
// tunnels at all (another protocol, a fragment) has the counter "not_a_tunnel_packet".
[[nodiscard]] Verdict decapsulate(const World& world, const Packet& outer, WallTime now);

// A whole inner packet in, the whole outer packet out.
[[nodiscard]] Verdict encapsulate(const World& world, const Packet& inner, WallTime now);

// An ICMP or ICMPv6 error message (from its type on) about a packet that encapsulate() made. Lowers
// world.path_mtu. The verdict has an answer, or a counter, or neither.
[[nodiscard]] Verdict relay(World& world, const Packet& icmp, WallTime now);

}  // namespace dstm::model
