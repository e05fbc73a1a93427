// The tunnels with IPv6 inside in the maps: each has a slot, to which its address and its prefix
// lead; written, read and counted there without system calls. Knows generations (data_plane.hpp),
// not routes and not packets.
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
#include "tep/bpf/mapped_array.hpp"
#include "tep/bpf/peer_index.hpp"
#include "tep/bpf/programs.hpp"
#include "tep/bpf/seen_down.hpp"
#include "tep/bpf/slots.hpp"

namespace dstm::tep::bpf {

struct Ipv6TunnelView {
    Ipv6Address inner;
    const dstm_entry& entry;  // as it is now
    const dstm_ipv6_record& record;
    std::uint32_t last_seen_down;  // as in SeenEntry

    [[nodiscard]] std::optional<Ipv6Prefix> prefix() const;
    [[nodiscard]] IpEndpoint client() const;
};

class Ipv6Table {
public:
    // With what the maps hold already; what a writer that was killed left half done is mended.
    // `programs` must outlive the table.
    [[nodiscard]] static Result<Ipv6Table> open(Programs& programs);

    // As DataPlane::add and remove say. `expires` is a tick (layout.h), `path_mtu` as below.
    // exhausted: no room for another tunnel, or for prefixes of another length.
    [[nodiscard]] Result<void> put(const TunnelSpec& spec, std::uint32_t expires,
                                   std::uint16_t path_mtu = 0);
    [[nodiscard]] Result<void> remove(const Ipv6Address& inner, Generation up_to);
    // As it was in other maps, with its counters; not what is half gone there. Nothing stands for
    // this address.
    [[nodiscard]] Result<void> restore(const dstm_entry& entry, const dstm_ipv6_record& record);
    // Of the path to one client; 0: as its route says.
    void set_path_mtu(const Ipv4Address& client, std::uint16_t path_mtu);

    [[nodiscard]] std::size_t size() const { return slots_.size(); }
    // As it is now; none where nothing is installed.
    [[nodiscard]] std::optional<SeenEntry> find(const Ipv6Address& inner) const;
    // As EntryTable's.
    void look(std::uint32_t now) { seen_down_.look(0, entries_.elements(), now); }
    // An address of some tunnel, or behind one.
    [[nodiscard]] bool holds(const Ipv6Address& inner) const;
    // Some tunnel leads to this client, written as dstm_entry::peer.
    [[nodiscard]] bool leads_to(std::uint64_t peer) const { return peers_.contains(peer); }
    void for_each(const std::function<void(const Ipv6TunnelView&)>& visit) const;

private:
    explicit Ipv6Table(Programs& programs)
        : programs_(&programs), free_(ipv6_slots_of(programs.settings())) {}
    void read_slots();
    [[nodiscard]] Result<void> mend_keys();
    void know(Slot slot);
    void forget(Slot slot);
    [[nodiscard]] Result<void> change(Slot slot, const dstm_entry& entry,
                                      const dstm_ipv6_record& record);
    [[nodiscard]] Result<void> check_length(const dstm_ipv6_record& record) const;
    [[nodiscard]] Result<void> write_keys(Slot slot, const dstm_ipv6_record& record);
    void release(Slot slot);
    [[nodiscard]] __u64 lead_to(Slot slot, const dstm_ipv6_key& key) const;
    [[nodiscard]] Result<void> write_key(const dstm_ipv6_key& key, Slot slot);
    [[nodiscard]] std::optional<__u64> lead_of(const dstm_ipv6_key& key) const;
    void drop_key(const dstm_ipv6_key& key, Slot slot);
    void tell_lengths();

    Programs* programs_;
    MappedArray<dstm_entry> entries_;
    MappedArray<dstm_ipv6_record> records_;
    std::unordered_map<Ipv6Address, Slot> slots_;
    std::unordered_map<std::uint64_t, std::uint32_t> peers_;  // and how many tunnels lead there
    PeerIndex<Ipv4Address> clients_;  // several peers may be behind one address
    // Of prefixes, and how many of each; the longest first.
    std::map<std::uint32_t, std::uint32_t, std::greater<>> lengths_;
    bool untold_ = false;  // the programs know other lengths
    FreeSlots free_;
    SeenDown seen_down_;
};

}  // namespace dstm::tep::bpf
