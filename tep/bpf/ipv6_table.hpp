// The tunnels with IPv6 inside in the maps, each under its address and under its prefix. Knows
// generations (data_plane.hpp), not routes and not packets.
//
// One writer: the caller takes turns. The programs read at any moment, and see an entry whole.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>

#include "common/base/result.hpp"
#include "common/tunnel/spec.hpp"
#include "tep/bpf/layout.h"
#include "tep/bpf/programs.hpp"

namespace dstm::tep::bpf {

struct Ipv6TunnelView {
    Ipv6Address inner;
    const dstm_entry& entry;  // counters are those of the address and of the prefix together
    const dstm_ipv6_record& record;

    [[nodiscard]] std::optional<Ipv6Prefix> prefix() const;
    [[nodiscard]] IpEndpoint client() const;
};

class Ipv6Table {
public:
    // With what the maps hold already. `programs` must outlive the table.
    [[nodiscard]] static Result<Ipv6Table> open(Programs& programs);

    // As DataPlane::add and remove say. `expires` is a tick (layout.h). exhausted: no room for
    // another tunnel, or for prefixes of another length.
    [[nodiscard]] Result<void> put(const TunnelSpec& spec, std::uint32_t expires);
    [[nodiscard]] Result<void> remove(const Ipv6Address& inner, Generation up_to);
    // Of the path to one client; 0: as its route says.
    void set_path_mtu(const Ipv4Address& client, std::uint16_t path_mtu);

    [[nodiscard]] std::size_t size() const { return records_.size(); }
    // An address of some tunnel, or behind one.
    [[nodiscard]] bool holds(const Ipv6Address& inner) const;
    // Some tunnel leads to this client, written as dstm_entry::peer.
    [[nodiscard]] bool leads_to(std::uint64_t peer) const { return peers_.contains(peer); }
    void for_each(const std::function<void(const Ipv6TunnelView&)>& visit) const;

private:
    struct Known {
        dstm_ipv6_record record{};
        std::uint64_t peer = 0;
    };

    explicit Ipv6Table(Programs& programs) : programs_(&programs) {}
    void know(const Ipv6Address& inner, const dstm_ipv6_record& record, std::uint64_t peer);
    void forget(const Ipv6Address& inner);
    [[nodiscard]] Result<void> write(const dstm_ipv6_key& key, dstm_entry entry);
    [[nodiscard]] dstm_entry read(const dstm_ipv6_key& key) const;
    void drop_prefix(const dstm_ipv6_record& record);
    void tell_lengths();

    Programs* programs_;
    std::unordered_map<Ipv6Address, Known> records_;          // as in the map
    std::unordered_map<std::uint64_t, std::uint32_t> peers_;  // and how many tunnels lead there
    // Of prefixes, and how many of each; the longest first.
    std::map<std::uint32_t, std::uint32_t, std::greater<>> lengths_;
};

}  // namespace dstm::tep::bpf
