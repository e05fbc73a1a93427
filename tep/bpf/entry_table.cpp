// Writing entries under the eyes of the programs: the order of stores makes a move whole.
#include "tep/bpf/entry_table.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/base/assert.hpp"

namespace dstm::tep::bpf {
namespace {

tl::unexpected<Error> fail_newer(Ipv4Address inner, Generation standing) {
    return fail(ErrorCode::conflict,
                "tunnel " + inner.to_string() + " has generation " + std::to_string(standing));
}

dstm_entry make_entry(const Ipv6Address& peer, Way way, std::uint32_t expires) {
    dstm_entry entry{};
    std::memcpy(entry.peer, peer.bytes().data(), sizeof(entry.peer));
    entry.state = DSTM_ENTRY_CARRIED;
    entry.expires = expires;
    entry.next_hop = way.next_hop;
    entry.path_mtu = way.path_mtu;
    return entry;
}

// Counters and last_seen stay: the programs count on while this happens. The record changes while
// the entry says so, for whoever finds both after a crash in the middle.
void rewrite(dstm_entry& shared, const dstm_entry& fresh, dstm_record& standing,
             const dstm_record& record) {
    const auto version = (shared.state & ~(DSTM_ENTRY_VERSION_STEP - 1)) + DSTM_ENTRY_VERSION_STEP;
    publish(shared.state, version | DSTM_ENTRY_WRITING);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    standing = record;
    publish(shared.peer[0], fresh.peer[0]);
    publish(shared.peer[1], fresh.peer[1]);
    publish(shared.expires, fresh.expires);
    publish(shared.next_hop, fresh.next_hop);
    publish(shared.path_mtu, fresh.path_mtu);
    publish(shared.state, version | fresh.state);
}

// By a daemon that died: its peer may be half of two. The server installs the tunnel again.
bool is_half_written(const dstm_entry& entry) {
    return (entry.state & DSTM_ENTRY_WRITING) != 0;
}

void clear_counters(dstm_entry& entry) {
    entry.last_seen = 0;
    entry.packets_up = entry.bytes_up = entry.packets_down = entry.bytes_down = 0;
}

}  // namespace

Ipv6Address peer_of(const dstm_entry& entry) {
    Ipv6Address::Bytes bytes;
    std::memcpy(bytes.data(), entry.peer, bytes.size());
    return Ipv6Address(bytes);
}

void EntryTable::release_peer(const dstm_entry& entry) {
    const auto found = peers_.find(peer_of(entry));
    if (found != peers_.end() && --found->second == 0) peers_.erase(found);
}

Result<EntryTable> EntryTable::open(Programs& programs) {
    EntryTable table(programs);
    const auto& pools = programs.settings().pools;
    for (std::size_t i = 0; i < pools.size(); ++i) {
        const auto count = std::size_t{1} << (32 - pools[i].length);
        auto entries = MappedArray<dstm_entry>::map(programs.pool_entries(i), count);
        if (!entries) return tl::unexpected(entries.error());
        auto records = MappedArray<dstm_record>::map(programs.pool_records(i), count);
        if (!records) return tl::unexpected(records.error());
        for (std::size_t k = 0; k < count; ++k) {
            auto& entry = entries->elements()[k];
            auto& record = records->elements()[k];
            if (is_half_written(entry)) rewrite(entry, dstm_entry{}, record, dstm_record{});
            if (record.generation == 0) continue;
            ++table.size_;
            table.hold_peer(peer_of(entry));
        }
        table.pools_.push_back({pools[i], std::move(*entries), std::move(*records)});
    }
    table.read_outside();
    return table;
}

void EntryTable::read_outside() {
    __u32 key = 0;
    const __u32* before = nullptr;
    while (bpf_map_get_next_key(programs_->outside_records(), before, &key) == 0) {
        before = &key;
        dstm_record record{};
        dstm_entry entry{};
        if (bpf_map_lookup_elem(programs_->outside_records(), &key, &record) != 0) continue;
        if (bpf_map_lookup_elem(programs_->outside(), &key, &entry) != 0) continue;
        outside_.emplace(Ipv4Address(key), record);
        hold_peer(peer_of(entry));
        ++size_;
    }
    programs_->set_outside_count(static_cast<std::uint32_t>(outside_.size()));
}

EntryTable::Slot EntryTable::slot(Ipv4Address inner) const {
    for (const auto& pool : pools_) {
        if (!pool.prefix.contains(inner)) continue;
        const auto index = inner.host_order() - pool.prefix.address.host_order();
        return {&pool.entries.elements()[index], &pool.records.elements()[index]};
    }
    return {};
}

Result<void> EntryTable::put(const TunnelSpec& spec, Way way, std::uint32_t expires) {
    const auto* inner = std::get_if<Ipv4Address>(&spec.inner);
    const auto* peer = std::get_if<Ipv6Address>(&spec.outer_client.address);
    if (spec.type != TunnelType::v4v6 || inner == nullptr || peer == nullptr) {
        return fail(ErrorCode::invalid, "not a v4v6 tunnel");
    }
    const auto fresh = make_entry(*peer, way, expires);
    const dstm_record record{spec.generation, to_unix(spec.expires_at)};
    const auto [entry, standing] = slot(*inner);
    if (entry == nullptr) return put_outside(*inner, fresh, record);
    if (standing->generation > spec.generation) return fail_newer(*inner, standing->generation);
    const bool is_new = standing->generation == 0;
    if (is_new || peer_of(*entry) != *peer) {
        hold_peer(*peer);
        if (!is_new) release_peer(*entry);
    }
    if (is_new) {
        clear_counters(*entry);
        ++size_;
    }
    rewrite(*entry, fresh, *standing, record);
    return {};
}

Result<void> EntryTable::put_outside(Ipv4Address inner, const dstm_entry& fresh,
                                     const dstm_record& record) {
    const auto found = outside_.find(inner);
    if (found != outside_.end() && found->second.generation > record.generation) {
        return fail_newer(inner, found->second.generation);
    }
    auto entry = fresh;
    const __u32 key = inner.host_order();
    if (dstm_entry before{};
        found != outside_.end() && bpf_map_lookup_elem(programs_->outside(), &key, &before) == 0) {
        entry.last_seen = before.last_seen;
        entry.packets_up = before.packets_up;
        entry.bytes_up = before.bytes_up;
        entry.packets_down = before.packets_down;
        entry.bytes_down = before.bytes_down;
        release_peer(before);
    }
    return write_outside(inner, entry, record);
}

// The record first: an entry without one would never be found again.
Result<void> EntryTable::write_outside(Ipv4Address inner, const dstm_entry& entry,
                                       const dstm_record& record) {
    const __u32 key = inner.host_order();
    if (bpf_map_update_elem(programs_->outside_records(), &key, &record, BPF_ANY) != 0 ||
        bpf_map_update_elem(programs_->outside(), &key, &entry, BPF_ANY) != 0) {
        if (errno != E2BIG) {
            return tl::unexpected(error_from_errno(errno, "writing " + inner.to_string()));
        }
        return fail(ErrorCode::exhausted, "outside the pools there is room for " +
                                              std::to_string(DSTM_OUTSIDE_MAX) + " tunnels");
    }
    hold_peer(peer_of(entry));
    if (outside_.insert_or_assign(inner, record).second) ++size_;
    programs_->set_outside_count(static_cast<std::uint32_t>(outside_.size()));
    return {};
}

Result<void> EntryTable::restore(Ipv4Address inner, dstm_entry entry, dstm_record record) {
    const auto place = slot(inner);
    if (place.entry == nullptr) return write_outside(inner, entry, record);
    *place.record = record;
    *place.entry = entry;
    hold_peer(peer_of(entry));
    ++size_;
    return {};
}

Result<void> EntryTable::remove(Ipv4Address inner, Generation up_to) {
    const auto [entry, standing] = slot(inner);
    if (entry == nullptr) return remove_outside(inner, up_to);
    if (standing->generation == 0) {
        return fail(ErrorCode::not_found, "no tunnel for " + inner.to_string());
    }
    if (standing->generation > up_to) return fail_newer(inner, standing->generation);
    release_peer(*entry);
    rewrite(*entry, dstm_entry{}, *standing, dstm_record{});
    --size_;
    return {};
}

Result<void> EntryTable::remove_outside(Ipv4Address inner, Generation up_to) {
    const auto found = outside_.find(inner);
    if (found == outside_.end()) {
        return fail(ErrorCode::not_found, "no tunnel for " + inner.to_string());
    }
    if (found->second.generation > up_to) return fail_newer(inner, found->second.generation);
    const __u32 key = inner.host_order();
    if (dstm_entry entry{}; bpf_map_lookup_elem(programs_->outside(), &key, &entry) == 0) {
        release_peer(entry);
    }
    bpf_map_delete_elem(programs_->outside(), &key);
    bpf_map_delete_elem(programs_->outside_records(), &key);
    outside_.erase(found);
    --size_;
    programs_->set_outside_count(static_cast<std::uint32_t>(outside_.size()));
    return {};
}

void EntryTable::set_way(Ipv4Address inner, Way way) {
    if (const auto place = slot(inner); place.entry != nullptr) {
        publish(place.entry->next_hop, __u16{way.next_hop});
        publish(place.entry->path_mtu, __u16{way.path_mtu});
        return;
    }
    const __u32 key = inner.host_order();
    dstm_entry entry{};
    if (bpf_map_lookup_elem(programs_->outside(), &key, &entry) != 0) return;
    entry.next_hop = way.next_hop;
    entry.path_mtu = way.path_mtu;
    bpf_map_update_elem(programs_->outside(), &key, &entry, BPF_EXIST);
}

bool EntryTable::holds(Ipv4Address inner) const {
    const auto place = slot(inner);
    return place.entry != nullptr ? place.record->generation != 0 : outside_.contains(inner);
}

std::optional<dstm_entry> EntryTable::find(Ipv4Address inner) const {
    if (!holds(inner)) return std::nullopt;
    if (const auto place = slot(inner); place.entry != nullptr) return *place.entry;
    const __u32 key = inner.host_order();
    dstm_entry entry{};
    if (bpf_map_lookup_elem(programs_->outside(), &key, &entry) != 0) return std::nullopt;
    return entry;
}

void EntryTable::for_each(const std::function<void(const TunnelView&)>& visit) const {
    for (const auto& pool : pools_) {
        const auto records = pool.records.elements();
        const auto entries = pool.entries.elements();
        const auto first = pool.prefix.address.host_order();
        for (std::size_t i = 0; i < records.size(); ++i) {
            if (records[i].generation == 0) continue;
            visit({Ipv4Address(first + static_cast<std::uint32_t>(i)), entries[i], records[i]});
        }
    }
    for (const auto& [inner, record] : outside_) {
        const __u32 key = inner.host_order();
        dstm_entry entry{};
        if (bpf_map_lookup_elem(programs_->outside(), &key, &entry) != 0) continue;
        visit({inner, entry, record});
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

std::uint32_t tick_now() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const auto nanoseconds = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                             static_cast<std::uint64_t>(now.tv_nsec);
    return static_cast<std::uint32_t>(nanoseconds >> DSTM_TICK_SHIFT);
}

std::uint32_t tick_at(WallTime wall, const Clock& clock) {
    using std::chrono::nanoseconds;
    using std::chrono::system_clock;
    // `clock` tells whole seconds; where in the second it is, the host's clock tells.
    const auto host = system_clock::now();
    const auto shift = clock.wall() - std::chrono::floor<std::chrono::seconds>(host);
    const auto left = std::chrono::duration_cast<nanoseconds>(wall - (host + shift)).count();
    if (left <= 0) return 0;
    const auto ticks = (static_cast<std::uint64_t>(left) >> DSTM_TICK_SHIFT) + tick_now();
    return ticks > 0xffffffff ? 0xffffffff : static_cast<std::uint32_t>(ticks);
}

WallTime wall_of_tick(std::uint32_t tick, const Clock& clock) {
    if (tick == 0) return WallTime{};
    const auto ago = static_cast<std::uint64_t>(tick_now() - tick) << DSTM_TICK_SHIFT;
    return clock.wall() - std::chrono::seconds(ago / 1'000'000'000);
}

}  // namespace dstm::tep::bpf
