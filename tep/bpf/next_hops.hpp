// Which way the packets to a client leave: for each outer address an index into the programs'
// table of next hops, kept right as routes, neighbours and interfaces change.
//
// Knows addresses and ways, not tunnels. Index 0 (and that of the second half) stands for "no way": the daemon's socket sends,
// and the kernel says what is wrong.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/base/result.hpp"
#include "tep/bpf/host_network.hpp"
#include "tep/bpf/layout.h"
#include "tep/bpf/mapped_array.hpp"
#include "tep/bpf/programs.hpp"

namespace dstm::tep::bpf {

class NextHops {
public:
    // `network` must outlive this.
    [[nodiscard]] static Result<NextHops> open(const Programs& programs, HostNetwork& network);

    [[nodiscard]] std::uint16_t to(const Ipv6Address& client);

    // No tunnel points any more to where an earlier daemon's did.
    void forget_earlier();

    // Forgets which way leads where: to() asks anew.
    void routes_changed();
    void neighbours_changed(const std::vector<NeighbourNews>& news);

private:
    struct Hop {
        int interface = 0;
        std::optional<Ipv6Address> address;  // of the neighbour; none: one for each packet
        std::uint32_t mtu = 0;
    };

    NextHops(HostNetwork& network, Ipv6Address source) : network_(&network), source_(source) {}
    [[nodiscard]] std::uint16_t find_or_make(const RouteAnswer& route, const Ipv6Address& client);
    void write(std::size_t index);
    void write_link_address(std::size_t index, const std::optional<LinkAddress>& address);

    HostNetwork* network_;
    Ipv6Address source_;
    MappedArray<dstm_next_hop> shared_;
    std::size_t base_ = 0;      // which half of shared_ is ours
    std::vector<Hop> hops_{1};  // as in shared_ from base_ on; the first is "no way"
    // One answer of the kernel serves a whole /64 when the route that matched is no longer one.
    std::unordered_map<std::uint64_t, std::uint16_t> by_network_;
};

}  // namespace dstm::tep::bpf
