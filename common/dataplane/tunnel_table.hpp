// Which tunnels stand: by inner address, and the far ends that they lead to. No packets, no I/O;
// what DataPlane says of generations is done here.
//
// Several tunnels may lead to one far end (two leases of one host). What is known of a path is
// known of the far end, not of the tunnel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "common/dataplane/data_plane.hpp"
#include "common/dataplane/path_mtu.hpp"

namespace dstm::dataplane {

struct FarEnd {
    Ipv6Address address;
    PathMtu path_mtu;
    Instant link_checked_at;
    std::size_t tunnels = 0;
};

struct Tunnel {
    TunnelSpec spec;
    TunnelCounters counters;
    Ipv4Address inner;
    FarEnd* far_end = nullptr;  // owned by the table, never null in it
};

class TunnelTable {
public:
    explicit TunnelTable(std::size_t tunnels_max) : tunnels_max_(tunnels_max) {}

    // conflict: what stands is newer. exhausted: the table is full.
    [[nodiscard]] Result<void> check_put(const TunnelSpec& spec) const;
    // Adds or replaces what check_put() allows. `path_mtu` is taken when the far end is not known
    // yet.
    void put(const TunnelSpec& spec, const Ipv6Address& far_end, const PathMtu& path_mtu,
             Instant now);
    [[nodiscard]] Result<void> remove(Ipv4Address inner, Generation up_to);

    // Null when there is none. Valid until the next put or remove.
    [[nodiscard]] Tunnel* find(Ipv4Address inner);
    [[nodiscard]] const Tunnel* find(Ipv4Address inner) const;
    [[nodiscard]] FarEnd* find_far_end(const Ipv6Address& address);

    // One of them; null when the table is empty. A client has no more than one.
    [[nodiscard]] Tunnel* any();
    [[nodiscard]] std::size_t size() const { return tunnels_.size(); }
    [[nodiscard]] std::vector<InstalledTunnel> list() const;

private:
    FarEnd* hold(const Ipv6Address& address, const PathMtu& path_mtu, Instant now);
    void release(FarEnd* far_end);

    std::size_t tunnels_max_;
    std::unordered_map<Ipv4Address, Tunnel> tunnels_;
    std::unordered_map<Ipv6Address, FarEnd> far_ends_;
};

}  // namespace dstm::dataplane
