// Which tunnels stand: by inner address and prefix, and the far ends that they lead to. No packets,
// no I/O; what DataPlane says of generations is done here.
//
// Several tunnels may lead to one far end (two leases of one host). What is known of a path is
// known of the far end, not of the tunnel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/dataplane/data_plane.hpp"
#include "common/dataplane/path_mtu.hpp"

namespace dstm::dataplane {

// The other end of a tunnel as packets name it: the encapsulation they come in and where from.
struct Peer {
    TunnelType type = TunnelType::v4v6;
    IpEndpoint endpoint;  // port 0 except for v6udpv4

    bool operator==(const Peer&) const = default;
};

struct PeerHash {
    std::size_t operator()(const Peer& peer) const noexcept;
};

struct PrefixHash {
    std::size_t operator()(const Ipv6Prefix& prefix) const noexcept;
};

struct FarEnd {
    Peer peer;
    PathMtu path_mtu;
    std::optional<Instant> link_checked_at;  // none: the link's MTU is not known yet
    std::size_t tunnels = 0;
};

struct Tunnel {
    TunnelSpec spec;
    TunnelCounters counters;
    FarEnd* far_end = nullptr;  // owned by the table, never null in it
};

class TunnelTable {
public:
    explicit TunnelTable(std::size_t tunnels_max) : tunnels_max_(tunnels_max) {}
    TunnelTable(const TunnelTable&) = delete;
    TunnelTable& operator=(const TunnelTable&) = delete;

    // conflict: what stands is newer. exhausted: the table is full.
    [[nodiscard]] Result<void> check_put(const TunnelSpec& spec) const;
    // Adds or replaces what check_put() allows. `path_mtu` is taken when the far end is not known
    // yet. A prefix belongs to the tunnel that was put with it last: it is delegated to one client
    // at a time, and one that had it before will lose its tunnel soon.
    void put(const TunnelSpec& spec, const Peer& peer, const PathMtu& path_mtu);
    [[nodiscard]] Result<void> remove(const IpAddress& inner, Generation up_to);

    // Null when there is none. Valid until the next put or remove.
    [[nodiscard]] Tunnel* find(const IpAddress& inner);
    [[nodiscard]] const Tunnel* find(const IpAddress& inner) const;
    // The tunnel behind which the address is: its inner address, or in the longest prefix.
    [[nodiscard]] Tunnel* holder_of(const IpAddress& address);
    [[nodiscard]] FarEnd* find_far_end(const Peer& peer);

    // One of them; null when the table is empty. A client has no more than one.
    [[nodiscard]] Tunnel* any();
    [[nodiscard]] std::size_t size() const { return tunnels_.size(); }
    [[nodiscard]] std::vector<InstalledTunnel> list() const;

private:
    FarEnd* hold(const Peer& peer, const PathMtu& path_mtu);
    void release(FarEnd* far_end);
    void claim_prefix(Tunnel& tunnel);
    void give_up_prefix(const Tunnel& tunnel);

    std::size_t tunnels_max_;
    std::unordered_map<IpAddress, Tunnel> tunnels_;
    std::unordered_map<Peer, FarEnd, PeerHash> far_ends_;
    std::unordered_map<Ipv6Prefix, Tunnel*, PrefixHash> prefixes_;
    // How many prefixes there are of each length, the longest first: those are all that a packet
    // is looked up with.
    std::map<std::uint8_t, std::size_t, std::greater<>> prefix_lengths_;
};

}  // namespace dstm::dataplane
