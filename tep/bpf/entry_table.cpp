// Where the entry of an address stands, and in which order it is written: a writer may be killed at
// any point, and the next one must know what is whole.
#include "tep/bpf/entry_table.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/base/assert.hpp"
#include "common/dataplane/generation.hpp"
#include "tep/bpf/ticks.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::fail_newer;

dstm_entry make_entry(const Ipv6Address& peer, Way way, std::uint32_t expires) {
    dstm_entry entry{};
    std::memcpy(entry.peer, peer.bytes().data(), sizeof(entry.peer));
    entry.expires = expires;
    entry.next_hop = way.next_hop;
    entry.path_mtu = way.path_mtu;
    return entry;
}

void write_way(dstm_entry& shared, Way way) {
    publish(shared.next_hop, __u16{way.next_hop});
    publish(shared.path_mtu, __u16{way.path_mtu});
}

// The generation last: an entry that moved, with the record of before, is installed again.
void write_record(dstm_record& shared, const dstm_record& record) {
    publish(shared.expires_at, record.expires_at);
    publish(shared.generation, record.generation);
}

}  // namespace

Ipv6Address peer_of(const dstm_entry& entry) {
    Ipv6Address::Bytes bytes;
    std::memcpy(bytes.data(), entry.peer, bytes.size());
    return Ipv6Address(bytes);
}

Result<EntryTable> EntryTable::open(Programs& programs) {
    EntryTable table(programs);
    if (auto opened = table.open_pools(); !opened) return tl::unexpected(opened.error());
    if (auto opened = table.open_outside(); !opened) return tl::unexpected(opened.error());
    return table;
}

Result<void> EntryTable::open_pools() {
    const auto& pools = programs_->settings().pools;
    for (std::size_t i = 0; i < pools.size(); ++i) {
        const auto count = std::size_t{1} << (32 - pools[i].length);
        auto entries = MappedArray<dstm_entry>::map(programs_->pool_entries(i), count);
        if (!entries) return tl::unexpected(entries.error());
        auto records = MappedArray<dstm_record>::map(programs_->pool_records(i), count);
        if (!records) return tl::unexpected(records.error());
        for (std::size_t k = 0; k < count; ++k) {
            static_cast<void>(adopt({&entries->elements()[k], &records->elements()[k],
                                     in_pools_ + static_cast<Slot>(k)}));
        }
        pools_.push_back({pools[i], in_pools_, std::move(*entries), std::move(*records)});
        in_pools_ += static_cast<Slot>(count);
    }
    return {};
}

// Whether a tunnel is there. The peer of an entry that is not carried may be half of two.
bool EntryTable::adopt(Place place) {
    if (place.record->generation == 0) return false;
    if (!is_carried(*place.entry)) {
        end_use(*place.entry);
        *place.record = {};
        return false;
    }
    peers_.add(peer_of(*place.entry), place.number);
    seen_down_.begin(place.number, *place.entry, tick_now());
    ++size_;
    return true;
}

Result<void> EntryTable::open_outside() {
    auto entries = MappedArray<dstm_entry>::map(programs_->outside_entries(), DSTM_OUTSIDE_MAX);
    if (!entries) return tl::unexpected(entries.error());
    outside_entries_ = std::move(*entries);
    auto records =
        MappedArray<dstm_outside_record>::map(programs_->outside_records(), DSTM_OUTSIDE_MAX);
    if (!records) return tl::unexpected(records.error());
    outside_records_ = std::move(*records);
    for (Slot slot = 0; slot < DSTM_OUTSIDE_MAX; ++slot) {
        if (!adopt(place_in(slot))) continue;
        free_.keep(slot);
        outside_.emplace(Ipv4Address(outside_records_.elements()[slot].inner), slot);
    }
    programs_->set_outside_count(static_cast<std::uint32_t>(outside_.size()));
    return mend_keys();
}

// As Ipv6Table's.
Result<void> EntryTable::mend_keys() {
    const int map = programs_->outside_slots();
    const auto right = drop_wrong_keys<__u32>(map, [&](__u32 key, __u64 lead) {
        const auto found = outside_.find(Ipv4Address(key));
        return found != outside_.end() && lead == lead_to(found->second, found->first);
    });
    if (!right) return tl::unexpected(right.error());
    if (*right == outside_.size()) return {};
    for (const auto& [inner, slot] : outside_) {
        if (auto led = write_key(map, inner.host_order(), lead_to(slot, inner)); !led) return led;
    }
    return {};
}

__u64 EntryTable::lead_to(Slot slot, Ipv4Address inner) const {
    return dstm_lead(slot, outside_entries_.elements()[slot].state, inner.host_order());
}

EntryTable::Place EntryTable::place_in(Slot slot) const {
    return {&outside_entries_.elements()[slot], &outside_records_.elements()[slot].lease,
            in_pools_ + slot};
}

dstm_entry& EntryTable::entry_at(Slot number) const {
    if (number >= in_pools_) return outside_entries_.elements()[number - in_pools_];
    const auto next = std::ranges::upper_bound(pools_, number, {}, &Pool::first);
    const auto& pool = *std::prev(next);
    return pool.entries.elements()[number - pool.first];
}

EntryTable::Place EntryTable::place_of(Ipv4Address inner) const {
    for (const auto& pool : pools_) {
        if (!pool.prefix.contains(inner)) continue;
        const auto index = inner.host_order() - pool.prefix.address.host_order();
        return {&pool.entries.elements()[index], &pool.records.elements()[index],
                pool.first + index};
    }
    const auto found = outside_.find(inner);
    return found == outside_.end() ? Place{} : place_in(found->second);
}

EntryTable::Place EntryTable::tunnel_of(Ipv4Address inner) const {
    const auto place = place_of(inner);
    return place.entry != nullptr && place.record->generation != 0 ? place : Place{};
}

Result<void> EntryTable::put(const TunnelSpec& spec, Way way, std::uint32_t expires) {
    const auto* inner = std::get_if<Ipv4Address>(&spec.inner);
    const auto* peer = std::get_if<Ipv6Address>(&spec.outer_client.address);
    if (spec.type != TunnelType::v4v6 || inner == nullptr || peer == nullptr) {
        return fail(ErrorCode::invalid, "not a v4v6 tunnel");
    }
    const auto fresh = make_entry(*peer, way, expires);
    const dstm_record record{spec.generation, to_unix(spec.expires_at)};
    const auto place = place_of(*inner);
    if (place.entry == nullptr) return begin_outside(*inner, fresh, record);
    const auto standing = place.record->generation;
    if (standing > spec.generation) return fail_newer(*inner, standing);
    if (standing == 0) {
        begin(place, fresh, record);
        return {};
    }
    if (const auto before = peer_of(*place.entry); before != *peer) {
        peers_.remove(before, place.number);
        peers_.add(*peer, place.number);
    }
    rewrite(*place.entry, fresh);
    write_record(*place.record, record);
    return {};
}

void EntryTable::begin(Place place, const dstm_entry& fresh, const dstm_record& record) {
    write_record(*place.record, record);
    begin_use(*place.entry, fresh);
    peers_.add(peer_of(fresh), place.number);
    seen_down_.begin(place.number, fresh, tick_now());
    ++size_;
}

Result<void> EntryTable::begin_outside(Ipv4Address inner, const dstm_entry& fresh,
                                       const dstm_record& record) {
    const auto slot = free_.take();
    if (!slot) {
        return fail(ErrorCode::exhausted, "outside the pools there is room for " +
                                              std::to_string(DSTM_OUTSIDE_MAX) + " tunnels");
    }
    outside_records_.elements()[*slot].inner = inner.host_order();
    begin(place_in(*slot), fresh, record);
    outside_.emplace(inner, *slot);
    auto written =
        write_key(programs_->outside_slots(), inner.host_order(), lead_to(*slot, inner));
    if (!written) static_cast<void>(remove(inner, record.generation));
    programs_->set_outside_count(static_cast<std::uint32_t>(outside_.size()));
    return written;
}

Result<void> EntryTable::restore(Ipv4Address inner, dstm_entry entry, dstm_record record) {
    if (!is_carried(entry)) return {};
    const auto place = place_of(inner);
    if (place.entry == nullptr) return begin_outside(inner, entry, record);
    begin(place, entry, record);
    return {};
}

Result<void> EntryTable::remove(Ipv4Address inner, Generation up_to) {
    const auto place = tunnel_of(inner);
    if (place.entry == nullptr) {
        return fail(ErrorCode::not_found, "no tunnel for " + inner.to_string());
    }
    if (place.record->generation > up_to) return fail_newer(inner, place.record->generation);
    peers_.remove(peer_of(*place.entry), place.number);
    end_use(*place.entry);
    end_outside(inner);
    *place.record = {};
    --size_;
    return {};
}

void EntryTable::end_outside(Ipv4Address inner) {
    const auto found = outside_.find(inner);
    if (found == outside_.end()) return;
    const __u32 key = inner.host_order();
    bpf_map_delete_elem(programs_->outside_slots(), &key);
    free_.give_back(found->second);
    outside_.erase(found);
    programs_->set_outside_count(static_cast<std::uint32_t>(outside_.size()));
}

void EntryTable::set_way(Ipv4Address inner, Way way) {
    const auto place = place_of(inner);
    if (place.entry != nullptr) write_way(*place.entry, way);
}

void EntryTable::set_way(const Ipv6Address& peer, Way way) {
    peers_.for_each(peer, [&](Slot number) { write_way(entry_at(number), way); });
}

bool EntryTable::holds(Ipv4Address inner) const { return tunnel_of(inner).entry != nullptr; }

std::optional<SeenEntry> EntryTable::find(Ipv4Address inner) const {
    const auto place = tunnel_of(inner);
    if (place.entry == nullptr) return std::nullopt;
    const dstm_entry entry = *place.entry;
    return SeenEntry{entry, seen_down_.last(place.number, entry, tick_now())};
}

void EntryTable::look(std::uint32_t now) {
    for (const auto& pool : pools_) seen_down_.look(pool.first, pool.entries.elements(), now);
    seen_down_.look(in_pools_, outside_entries_.elements(), now);
}

void EntryTable::for_each(const std::function<void(const TunnelView&)>& visit) const {
    const auto now = tick_now();
    for (const auto& pool : pools_) {
        const auto records = pool.records.elements();
        const auto entries = pool.entries.elements();
        const auto first = pool.prefix.address.host_order();
        for (std::size_t i = 0; i < records.size(); ++i) {
            if (records[i].generation == 0) continue;
            const auto index = static_cast<std::uint32_t>(i);
            visit({Ipv4Address(first + index), entries[i], records[i],
                   seen_down_.last(pool.first + index, entries[i], now)});
        }
    }
    for (const auto& [inner, slot] : outside_) {
        const auto place = place_in(slot);
        visit({inner, *place.entry, *place.record,
               seen_down_.last(place.number, *place.entry, now)});
    }
}

std::vector<std::uint64_t> read_drops(const Programs& programs) {
    const int cpus = libbpf_num_possible_cpus();
    DSTM_ASSERT(cpus > 0);
    std::vector<std::uint64_t> per_cpu(static_cast<std::size_t>(cpus));
    std::vector<std::uint64_t> sums(DSTM_DROP_COUNT);
    for (__u32 drop = 0; drop < DSTM_DROP_COUNT; ++drop) {
        if (bpf_map_lookup_elem(programs.drops(), &drop, per_cpu.data()) != 0) continue;
        for (const auto count : per_cpu) sums[drop] += count;
    }
    return sums;
}

std::string_view name_of(dstm_drop drop) {
    switch (drop) {
        case DSTM_DROP_NONE: return "none";
        case DSTM_DROP_OUTER_TRUNCATED: return "outer_truncated";
        case DSTM_DROP_INNER_TRUNCATED: return "inner_truncated";
        case DSTM_DROP_INNER_BAD_VERSION: return "inner_bad_version";
        case DSTM_DROP_INNER_BAD_HEADER_LENGTH: return "inner_bad_header_length";
        case DSTM_DROP_INNER_BAD_TOTAL_LENGTH: return "inner_bad_total_length";
        case DSTM_DROP_BAD_SOURCE: return "bad_source";
        case DSTM_DROP_BAD_DESTINATION: return "bad_destination";
        case DSTM_DROP_SOURCE_CHECK: return "source_check";
        case DSTM_DROP_EXPIRED: return "expired";
        case DSTM_DROP_ECN_CONGESTED: return "ecn_congested";
        case DSTM_DROP_NO_TUNNEL: return "no_tunnel";
        case DSTM_DROP_HAIRPIN_OFF: return "hairpin_off";
        case DSTM_DROP_REDIRECT: return "redirect";
        case DSTM_DROP_NO_HEADROOM: return "no_headroom";
        case DSTM_DROP_ROUTER_SOLICITATION: return "router_solicitation";
        case DSTM_DROP_LINK_LOCAL: return "link_local";
        case DSTM_DROP_COUNT: break;
    }
    return "unknown";
}

}  // namespace dstm::tep::bpf
