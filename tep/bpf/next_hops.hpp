// Which way the packets to a client leave: for each outer address an index into the programs'
// table of next hops, kept right as routes, neighbours and interfaces change.
//
// Knows addresses and ways, not tunnels. The first index of each half stands for "no way": the
// daemon's socket sends, and the kernel says what is wrong.
#pragma once

#include <bitset>
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "common/base/result.hpp"
#include "tep/bpf/host_network.hpp"
#include "tep/bpf/layout.h"
#include "tep/bpf/mapped_array.hpp"
#include "tep/bpf/programs.hpp"

namespace dstm::tep::bpf {

class NextHops {
public:
    using Used = std::bitset<DSTM_NEXT_HOPS_MAX>;
    // In the half to which fewer of the places `used` by an earlier daemon's tunnels belong; those
    // that is_ours() lead nowhere any more. `network` must outlive this.
    [[nodiscard]] static Result<NextHops> open(const Programs& programs, HostNetwork& network,
                                               const Used& used);
    [[nodiscard]] bool is_ours(std::uint16_t place) const;

    [[nodiscard]] std::uint16_t to(const Ipv6Address& client);

    // No tunnel points any more to where an earlier daemon's did.
    void forget_earlier();

    // Forgets which way leads where: to() asks anew.
    void routes_changed() {
        answers_.clear();
        may_have_unused_ = true;
    }
    void links_changed();
    // A link could not be asked about: links_changed() is to be called once more.
    [[nodiscard]] bool wants_links() const { return wants_links_; }
    void neighbours_changed(const std::vector<NeighbourNews>& news);
    // News were lost: any neighbour may be another.
    void neighbours_lost();

    // A tunnel has ended or moved.
    void tunnel_left() { may_have_unused_ = true; }
    // Neighbours were more than places, so that some clients' next hop has no link address; and
    // there may be places that no tunnel points to.
    [[nodiscard]] bool wants_room() const { return is_crowded_ && may_have_unused_; }
    // They serve others: to() is to be asked again for all clients.
    void forget_unused(const Used& used);

    // Where next hops are; a new one since this was asked last.
    [[nodiscard]] std::set<int> interfaces();
    [[nodiscard]] bool has_new_interface() const { return has_new_interface_; }

private:
    struct Hop {
        int interface = 0;                   // 0: the place is free
        std::optional<Ipv6Address> address;  // of the neighbour; none: one for each packet
        std::uint32_t mtu = 0;

        auto operator<=>(const Hop&) const = default;
    };

    NextHops(HostNetwork& network, Ipv6Address source) : network_(&network), source_(source) {}
    [[nodiscard]] const RouteAnswer& answer_for(const Ipv6Address& client);
    [[nodiscard]] std::uint16_t place_of(Hop hop);
    [[nodiscard]] bool ask_for_link(int interface);
    void write(std::size_t index);
    void ask_for_neighbour(std::size_t index);
    void write_link_address(std::size_t index, const std::optional<LinkAddress>& address);

    HostNetwork* network_;
    Ipv6Address source_;
    MappedArray<dstm_next_hop> shared_;
    std::size_t base_ = 0;      // which half of shared_ is ours
    std::vector<Hop> hops_{1};  // as in shared_ from base_ on; the first is "no way"
    // What all places on an interface were written with; none: there is no such interface.
    std::map<int, std::optional<Link>> links_;
    std::map<Hop, std::size_t> places_;
    std::deque<std::size_t> free_;  // longest first: a program may still read one
    bool is_crowded_ = false;
    bool may_have_unused_ = false;
    bool has_new_interface_ = false;
    bool wants_links_ = false;
    // By cells of addresses that all have the same routes; without hops: none that programs take.
    std::map<Ipv6Prefix, RouteAnswer> answers_;
    std::set<Ipv6Prefix> refused_;  // was said
};

}  // namespace dstm::tep::bpf
