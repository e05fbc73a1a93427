// The tunnels in the maps: written, read and counted without system calls; those in no pool need
// one when they come and when they go. Knows generations (data_plane.hpp), not routes and not
// packets.
//
// One writer: the caller takes turns. The programs read at any moment; a change of a client's
// address is seen whole or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/base/result.hpp"
#include "common/tunnel/spec.hpp"
#include "tep/bpf/layout.h"
#include "tep/bpf/mapped_array.hpp"
#include "tep/bpf/peer_index.hpp"
#include "tep/bpf/programs.hpp"
#include "tep/bpf/seen_down.hpp"
#include "tep/bpf/slots.hpp"

namespace dstm::tep::bpf {

// What of a tunnel is neither in its spec nor counted.
struct Way {
    std::uint16_t next_hop = 0;
    std::uint16_t path_mtu = 0;  // 0 = that of the next hop
};

struct TunnelView {
    Ipv4Address inner;
    const dstm_entry& entry;
    const dstm_record& record;
    std::uint32_t last_seen_down;  // as in SeenEntry
};

class EntryTable {
public:
    // With what the maps hold already, but for tunnels that a writer was killed over: who knows
    // them installs them again. `programs` must outlive the table.
    [[nodiscard]] static Result<EntryTable> open(Programs& programs);

    // As DataPlane::add and remove say. `expires` is a tick (layout.h). invalid: not a v4v6
    // tunnel. exhausted: no room for another tunnel outside the pools.
    [[nodiscard]] Result<void> put(const TunnelSpec& spec, Way way, std::uint32_t expires);
    [[nodiscard]] Result<void> remove(Ipv4Address inner, Generation up_to);
    // As it was in other maps, with its counters; not what is half written there. Nothing stands
    // for this address.
    [[nodiscard]] Result<void> restore(Ipv4Address inner, dstm_entry entry, dstm_record record);
    void set_way(Ipv4Address inner, Way way);
    // Of all tunnels that lead to this outer address.
    void set_way(const Ipv6Address& peer, Way way);

    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] bool holds(Ipv4Address inner) const;
    // As it is now; none where nothing is installed.
    [[nodiscard]] std::optional<SeenEntry> find(Ipv4Address inner) const;
    // At what all tunnels have counted, at this tick (seen_down.hpp).
    void look(std::uint32_t now);
    // Some tunnel leads to this outer address.
    [[nodiscard]] bool leads_to(const Ipv6Address& peer) const { return peers_.contains(peer); }
    // Of what is installed; a copy, counters as they are now.
    void for_each(const std::function<void(const TunnelView&)>& visit) const;

private:
    struct Pool {
        Ipv4Prefix prefix;
        Slot first = 0;
        MappedArray<dstm_entry> entries;
        MappedArray<dstm_record> records;
    };
    // Where it stands, or would stand; null: outside the pools, and not there.
    struct Place {
        dstm_entry* entry = nullptr;
        dstm_record* record = nullptr;
        Slot number = 0;  // among those of all pools and, behind them, of those outside
    };

    explicit EntryTable(Programs& programs) : programs_(&programs) {}
    [[nodiscard]] Result<void> open_pools();
    [[nodiscard]] Result<void> open_outside();
    [[nodiscard]] Result<void> mend_keys();
    [[nodiscard]] bool adopt(Place place);
    [[nodiscard]] Place place_of(Ipv4Address inner) const;
    [[nodiscard]] Place tunnel_of(Ipv4Address inner) const;  // null also where none is installed
    [[nodiscard]] Place place_in(Slot slot) const;
    [[nodiscard]] dstm_entry& entry_at(Slot number) const;
    void begin(Place place, const dstm_entry& fresh, const dstm_record& record);
    [[nodiscard]] Result<void> begin_outside(Ipv4Address inner, const dstm_entry& fresh,
                                             const dstm_record& record);
    void end_outside(Ipv4Address inner);
    [[nodiscard]] __u64 lead_to(Slot slot, Ipv4Address inner) const;

    Programs* programs_;
    std::vector<Pool> pools_;
    MappedArray<dstm_entry> outside_entries_;
    MappedArray<dstm_outside_record> outside_records_;
    std::unordered_map<Ipv4Address, Slot> outside_;
    FreeSlots free_{DSTM_OUTSIDE_MAX};
    Slot in_pools_ = 0;            // places
    SeenDown seen_down_;           // by number of the place
    PeerIndex<Ipv6Address> peers_;  // and the places of their tunnels
    std::size_t size_ = 0;
};

[[nodiscard]] Ipv6Address peer_of(const dstm_entry& entry);

// The drop counters of the programs, summed over the CPUs, by enum dstm_drop.
[[nodiscard]] std::vector<std::uint64_t> read_drops(const Programs& programs);
[[nodiscard]] std::string_view name_of(dstm_drop drop);

}  // namespace dstm::tep::bpf
