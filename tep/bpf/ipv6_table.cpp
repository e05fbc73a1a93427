// An entry is written before a key leads to it, and no key leads to it any more before its slot
// serves another tunnel.
#include "tep/bpf/ipv6_table.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "common/dataplane/generation.hpp"
#include "tep/bpf/ticks.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::fail_newer;

void copy(__u64 (&out)[2], const Ipv6Address& address) {
    std::memcpy(out, address.bytes().data(), sizeof out);
}

Ipv6Address address_of(const __u64 (&words)[2]) {
    Ipv6Address::Bytes bytes;
    std::memcpy(bytes.data(), words, bytes.size());
    return Ipv6Address(bytes);
}

constexpr std::uint32_t address_length = 128;

dstm_ipv6_key key_of(const dstm_ipv6_record& record) {
    return {{record.inner[0], record.inner[1]}, address_length, 0};
}

dstm_ipv6_key prefix_key_of(const dstm_ipv6_record& record) {
    return {{record.prefix[0], record.prefix[1]}, record.prefix_length, 0};
}

bool is_key_of(const dstm_ipv6_key& key, const dstm_ipv6_record& record) {
    const auto& words = key.length == address_length ? record.inner : record.prefix;
    return record.lease.generation != 0 && words[0] == key.address[0] &&
           words[1] == key.address[1] &&
           (key.length == address_length || key.length == record.prefix_length);
}

bool has_same_prefix(const dstm_ipv6_record& one, const dstm_ipv6_record& other) {
    return one.prefix_length == other.prefix_length && one.prefix[0] == other.prefix[0] &&
           one.prefix[1] == other.prefix[1];
}

dstm_ipv6_key key_around(const Ipv6Address& inner, std::uint32_t length) {
    auto bytes = inner.bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const auto before = static_cast<std::uint32_t>(8 * i);
        const auto kept = length - std::min(length, before);
        if (kept < 8) bytes[i] = static_cast<std::uint8_t>(bytes[i] & ~(0xffU >> kept));
    }
    dstm_ipv6_key key{};
    copy(key.address, Ipv6Address(bytes));
    key.length = length;
    return key;
}

// As programs/ipv6_inside.bpf.h reads it.
std::uint64_t peer_of(const IpEndpoint& client) {
    const auto address = std::get<Ipv4Address>(client.address).host_order();
    return std::uint64_t{client.port} << 32 | htonl(address);
}

Ipv4Address address_of_peer(std::uint64_t peer) {
    return Ipv4Address(ntohl(static_cast<std::uint32_t>(peer)));
}

dstm_ipv6_record record_of(const TunnelSpec& spec) {
    dstm_ipv6_record record{};
    copy(record.inner, std::get<Ipv6Address>(spec.inner));
    record.lease = {spec.generation, to_unix(spec.expires_at)};
    if (!spec.inner_prefix) return record;
    copy(record.prefix, spec.inner_prefix->address);
    record.prefix_length = spec.inner_prefix->length;
    return record;
}

// What has no generation is no tunnel: half of a record is never taken for one.
void write_record(dstm_ipv6_record& shared, dstm_ipv6_record record) {
    const auto generation = std::exchange(record.lease.generation, 0);
    publish(shared.lease.generation, __u64{0});
    std::atomic_thread_fence(std::memory_order_seq_cst);
    shared = record;
    publish(shared.lease.generation, __u64{generation});
}

}  // namespace

std::optional<Ipv6Prefix> Ipv6TunnelView::prefix() const {
    if (record.prefix_length == 0) return std::nullopt;
    return Ipv6Prefix{address_of(record.prefix), static_cast<std::uint8_t>(record.prefix_length)};
}

IpEndpoint Ipv6TunnelView::client() const {
    return {address_of_peer(entry.peer[0]), static_cast<std::uint16_t>(entry.peer[0] >> 32)};
}

Result<Ipv6Table> Ipv6Table::open(Programs& programs) {
    Ipv6Table table(programs);
    const auto count = ipv6_slots_of(programs.settings());
    auto entries = MappedArray<dstm_entry>::map(programs.ipv6_entries(), count);
    if (!entries) return tl::unexpected(entries.error());
    table.entries_ = std::move(*entries);
    auto records = MappedArray<dstm_ipv6_record>::map(programs.ipv6_records(), count);
    if (!records) return tl::unexpected(records.error());
    table.records_ = std::move(*records);
    table.read_slots();
    if (auto mended = table.mend_keys(); !mended) return tl::unexpected(mended.error());
    table.tell_lengths();
    return table;
}

// A writer that was killed while it installed or removed a tunnel leaves one that is not carried;
// its slot is free.
void Ipv6Table::read_slots() {
    const auto records = records_.elements();
    for (Slot slot = 0; slot < records.size(); ++slot) {
        if (records[slot].lease.generation == 0) continue;
        if (!is_carried(entries_.elements()[slot])) {
            records[slot] = {};
            continue;
        }
        free_.keep(slot);
        seen_down_.begin(slot, entries_.elements()[slot], tick_now());
        know(slot);
    }
}

// A key that leads to a slot of another's tunnel would let that one use the address.
Result<void> Ipv6Table::mend_keys() {
    std::size_t wanted = slots_.size();
    for (const auto& [length, count] : lengths_) wanted += count;
    const auto right = drop_wrong_keys<dstm_ipv6_key>(
        programs_->ipv6_slots(), [&](const dstm_ipv6_key& key, __u64 lead) {
            const auto slot = static_cast<Slot>(lead);
            return slot < free_.end() && is_key_of(key, records_.elements()[slot]) &&
                   lead == lead_to(slot, key);
        });
    if (!right) return tl::unexpected(right.error());
    if (*right == wanted) return {};
    for (const auto& [inner, slot] : slots_) {
        if (auto led = write_keys(slot, records_.elements()[slot]); !led) return led;
    }
    return {};
}

void Ipv6Table::know(Slot slot) {
    const auto& record = records_.elements()[slot];
    slots_[address_of(record.inner)] = slot;
    const auto peer = entries_.elements()[slot].peer[0];
    ++peers_[peer];
    clients_.add(address_of_peer(peer), slot);
    if (record.prefix_length != 0 && ++lengths_[record.prefix_length] == 1) untold_ = true;
}

void Ipv6Table::forget(Slot slot) {
    const auto& record = records_.elements()[slot];
    const auto peer = entries_.elements()[slot].peer[0];
    if (--peers_.at(peer) == 0) peers_.erase(peer);
    clients_.remove(address_of_peer(peer), slot);
    if (record.prefix_length != 0 && --lengths_[record.prefix_length] == 0) {
        lengths_.erase(record.prefix_length);
        untold_ = true;
    }
    slots_.erase(address_of(record.inner));
}

Result<void> Ipv6Table::check_length(const dstm_ipv6_record& record) const {
    if (record.prefix_length == 0 || lengths_.contains(record.prefix_length) ||
        lengths_.size() < DSTM_PREFIX_LENGTHS_MAX) {
        return {};
    }
    return fail(ErrorCode::exhausted, "prefixes of more than " +
                                          std::to_string(DSTM_PREFIX_LENGTHS_MAX) +
                                          " lengths cannot be carried");
}

Result<void> Ipv6Table::put(const TunnelSpec& spec, std::uint32_t expires,
                            std::uint16_t path_mtu) {
    const auto record = record_of(spec);
    dstm_entry entry{};
    entry.peer[0] = peer_of(spec.outer_client);
    entry.state = DSTM_ENTRY_CARRIED;
    entry.expires = expires;
    entry.path_mtu = path_mtu;
    const auto standing = slots_.find(std::get<Ipv6Address>(spec.inner));
    if (standing == slots_.end()) return restore(entry, record);
    return change(standing->second, entry, record);
}

Result<void> Ipv6Table::restore(const dstm_entry& entry, const dstm_ipv6_record& record) {
    if (auto checked = check_length(record); !checked) return checked;
    if (!is_carried(entry)) return {};
    const auto slot = free_.take();
    if (!slot) return fail(ErrorCode::exhausted, "the map of IPv6 tunnels is full");
    begin_use(entries_.elements()[*slot], entry);
    seen_down_.begin(*slot, entry, tick_now());
    write_record(records_.elements()[*slot], record);
    know(*slot);
    tell_lengths();
    auto written = write_keys(*slot, record);
    if (!written) release(*slot);
    return written;
}

// Counters stay: the programs count on while this happens.
Result<void> Ipv6Table::change(Slot slot, const dstm_entry& fresh,
                               const dstm_ipv6_record& record) {
    auto& entry = entries_.elements()[slot];
    auto& standing = records_.elements()[slot];
    const auto earlier = standing;
    if (earlier.lease.generation > record.lease.generation) {
        return fail_newer(address_of(earlier.inner), earlier.lease.generation);
    }
    const bool same_prefix = has_same_prefix(earlier, record);
    if (!same_prefix) {
        if (auto checked = check_length(record); !checked) return checked;
    }
    const bool is_move = entry.peer[0] != fresh.peer[0];
    if (is_move || !same_prefix) forget(slot);
    publish(entry.expires, fresh.expires);
    publish(entry.path_mtu, fresh.path_mtu);
    publish(entry.peer[0], fresh.peer[0]);
    write_record(standing, record);
    if (is_move || !same_prefix) know(slot);
    if (same_prefix) return {};
    tell_lengths();
    auto written = record.prefix_length == 0 ? Result<void>{}
                                             : write_key(prefix_key_of(record), slot);
    if (earlier.prefix_length != 0) drop_key(prefix_key_of(earlier), slot);
    return written;
}

Result<void> Ipv6Table::write_keys(Slot slot, const dstm_ipv6_record& record) {
    auto written = write_key(key_of(record), slot);
    if (!written || record.prefix_length == 0) return written;
    return write_key(prefix_key_of(record), slot);
}

__u64 Ipv6Table::lead_to(Slot slot, const dstm_ipv6_key& key) const {
    return dstm_lead(slot, entries_.elements()[slot].state, dstm_ipv6_key_number(&key));
}

Result<void> Ipv6Table::write_key(const dstm_ipv6_key& key, Slot slot) {
    return bpf::write_key(programs_->ipv6_slots(), key, lead_to(slot, key));
}

std::optional<__u64> Ipv6Table::lead_of(const dstm_ipv6_key& key) const {
    return bpf::lead_of(programs_->ipv6_slots(), key);
}

// Not where it leads to another tunnel by now.
void Ipv6Table::drop_key(const dstm_ipv6_key& key, Slot slot) {
    if (lead_of(key) == lead_to(slot, key)) bpf_map_delete_elem(programs_->ipv6_slots(), &key);
}

Result<void> Ipv6Table::remove(const Ipv6Address& inner, Generation up_to) {
    const auto found = slots_.find(inner);
    if (found == slots_.end()) {
        return fail(ErrorCode::not_found, "no tunnel for " + inner.to_string());
    }
    const auto slot = found->second;
    const auto& record = records_.elements()[slot];
    if (record.lease.generation > up_to) return fail_newer(inner, record.lease.generation);
    release(slot);
    return {};
}

void Ipv6Table::release(Slot slot) {
    auto& record = records_.elements()[slot];
    end_use(entries_.elements()[slot]);
    drop_key(key_of(record), slot);
    if (record.prefix_length != 0) drop_key(prefix_key_of(record), slot);
    forget(slot);
    record = {};
    free_.give_back(slot);
    tell_lengths();
}

void Ipv6Table::set_path_mtu(const Ipv4Address& client, std::uint16_t path_mtu) {
    clients_.for_each(client, [&](Slot slot) {
        publish(entries_.elements()[slot].path_mtu, __u16{path_mtu});
    });
}

std::optional<SeenEntry> Ipv6Table::find(const Ipv6Address& inner) const {
    const auto found = slots_.find(inner);
    if (found == slots_.end()) return std::nullopt;
    const dstm_entry entry = entries_.elements()[found->second];
    return SeenEntry{entry, seen_down_.last(found->second, entry, tick_now())};
}

bool Ipv6Table::holds(const Ipv6Address& inner) const {
    if (slots_.contains(inner)) return true;
    return std::ranges::any_of(lengths_, [&](const auto& length) {
        return lead_of(key_around(inner, length.first)).has_value();
    });
}

void Ipv6Table::for_each(const std::function<void(const Ipv6TunnelView&)>& visit) const {
    const auto now = tick_now();
    for (Slot slot = 0; slot < free_.end(); ++slot) {
        const auto& record = records_.elements()[slot];
        if (record.lease.generation == 0) continue;
        const auto& entry = entries_.elements()[slot];
        visit({address_of(record.inner), entry, record, seen_down_.last(slot, entry, now)});
    }
}

void Ipv6Table::tell_lengths() {
    if (!std::exchange(untold_, false)) return;
    std::array<std::uint64_t, 2> words{};
    for (const auto& [length, count] : lengths_) {
        words[length <= 64 ? 0 : 1] |= std::uint64_t{1} << (128 - length) % 64;
    }
    programs_->set_prefix_lengths(words);
}

}  // namespace dstm::tep::bpf
