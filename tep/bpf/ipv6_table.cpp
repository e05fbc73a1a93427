// One element of a hash for each address and each prefix; replaced whole, under the programs' eyes.
#include "tep/bpf/ipv6_table.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <bpf/bpf.h>

namespace dstm::tep::bpf {
namespace {

void copy(__u64 (&out)[2], const Ipv6Address& address) {
    std::memcpy(out, address.bytes().data(), sizeof out);
}

Ipv6Address address_of(const __u64 (&words)[2]) {
    Ipv6Address::Bytes bytes;
    std::memcpy(bytes.data(), words, bytes.size());
    return Ipv6Address(bytes);
}

dstm_ipv6_key key_of(const Ipv6Address& address) {
    dstm_ipv6_key key{};
    copy(key.address, address);
    key.length = 128;
    return key;
}

dstm_ipv6_key prefix_key_of(const dstm_ipv6_record& record) {
    return {{record.prefix[0], record.prefix[1]}, record.prefix_length, 0};
}

bool has_same_prefix(const dstm_ipv6_record& one, const dstm_ipv6_record& other) {
    return one.prefix_length == other.prefix_length && one.prefix[0] == other.prefix[0] &&
           one.prefix[1] == other.prefix[1];
}

dstm_prefix_mask mask_of(std::uint32_t length) {
    Ipv6Address::Bytes bytes{};
    for (std::uint32_t bit = 0; bit < length; ++bit) {
        bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] | 0x80U >> bit % 8);
    }
    dstm_prefix_mask mask{};
    copy(mask.mask, Ipv6Address(bytes));
    mask.length = length;
    return mask;
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
    record.lease = {spec.generation, to_unix(spec.expires_at)};
    if (!spec.inner_prefix) return record;
    copy(record.prefix, spec.inner_prefix->address);
    record.prefix_length = spec.inner_prefix->length;
    return record;
}

void take_counters(dstm_entry& to, const dstm_entry& from) {
    to.last_seen = std::max(to.last_seen, from.last_seen);
    to.packets_up += from.packets_up;
    to.bytes_up += from.bytes_up;
    to.packets_down += from.packets_down;
    to.bytes_down += from.bytes_down;
}

tl::unexpected<Error> fail_newer(const Ipv6Address& inner, Generation standing) {
    return fail(ErrorCode::conflict,
                "tunnel " + inner.to_string() + " has generation " + std::to_string(standing));
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
    dstm_ipv6_key key{};
    const dstm_ipv6_key* before = nullptr;
    while (bpf_map_get_next_key(programs.ipv6_records(), before, &key) == 0) {
        before = &key;
        dstm_ipv6_record record{};
        if (bpf_map_lookup_elem(programs.ipv6_records(), &key, &record) != 0) continue;
        table.know(address_of(key.address), record, table.read(key).peer[0]);
    }
    table.tell_lengths();
    return table;
}

void Ipv6Table::know(const Ipv6Address& inner, const dstm_ipv6_record& record,
                     std::uint64_t peer) {
    records_[inner] = {record, peer};
    ++peers_[peer];
    if (record.prefix_length != 0) ++lengths_[record.prefix_length];
}

void Ipv6Table::forget(const Ipv6Address& inner) {
    const auto found = records_.find(inner);
    if (found == records_.end()) return;
    const auto& [record, peer] = found->second;
    if (--peers_[peer] == 0) peers_.erase(peer);
    if (record.prefix_length != 0 && --lengths_[record.prefix_length] == 0) {
        lengths_.erase(record.prefix_length);
    }
    records_.erase(found);
}

// The record first: an entry without one would never be found again. The prefix that goes, goes
// last.
Result<void> Ipv6Table::put(const TunnelSpec& spec, std::uint32_t expires) {
    const auto& inner = std::get<Ipv6Address>(spec.inner);
    const auto record = record_of(spec);
    const auto standing = records_.find(inner);
    const bool is_new = standing == records_.end();
    if (!is_new && standing->second.record.lease.generation > spec.generation) {
        return fail_newer(inner, standing->second.record.lease.generation);
    }
    if (record.prefix_length != 0 && !lengths_.contains(record.prefix_length) &&
        lengths_.size() == DSTM_PREFIX_LENGTHS_MAX) {
        return fail(ErrorCode::exhausted, "prefixes of more than " +
                                              std::to_string(DSTM_PREFIX_LENGTHS_MAX) +
                                              " lengths cannot be carried");
    }
    const auto key = key_of(inner);
    if (bpf_map_update_elem(programs_->ipv6_records(), &key, &record, BPF_ANY) != 0) {
        if (errno == E2BIG) return fail(ErrorCode::exhausted, "the map of IPv6 tunnels is full");
        return tl::unexpected(error_from_errno(errno, "writing " + inner.to_string()));
    }
    const auto earlier = is_new ? dstm_ipv6_record{} : standing->second.record;
    forget(inner);
    dstm_entry entry{};
    entry.peer[0] = peer_of(spec.outer_client);
    entry.state = DSTM_ENTRY_CARRIED;
    entry.expires = expires;
    know(inner, record, entry.peer[0]);
    tell_lengths();
    auto written = write(key, entry);
    if (written && record.prefix_length != 0) written = write(prefix_key_of(record), entry);
    if (!has_same_prefix(earlier, record)) drop_prefix(earlier);
    return written;
}

// With the counters of what stood there.
Result<void> Ipv6Table::write(const dstm_ipv6_key& key, dstm_entry entry) {
    const auto before = read(key);
    take_counters(entry, before);
    if (before.peer[0] == entry.peer[0]) entry.path_mtu = before.path_mtu;
    if (bpf_map_update_elem(programs_->ipv6_tunnels(), &key, &entry, BPF_ANY) == 0) return {};
    return tl::unexpected(error_from_errno(errno, "writing an IPv6 tunnel"));
}

dstm_entry Ipv6Table::read(const dstm_ipv6_key& key) const {
    dstm_entry entry{};
    if (bpf_map_lookup_elem(programs_->ipv6_tunnels(), &key, &entry) != 0) return {};
    return entry;
}

void Ipv6Table::drop_prefix(const dstm_ipv6_record& record) {
    if (record.prefix_length == 0) return;
    const auto key = prefix_key_of(record);
    bpf_map_delete_elem(programs_->ipv6_tunnels(), &key);
}

Result<void> Ipv6Table::remove(const Ipv6Address& inner, Generation up_to) {
    const auto found = records_.find(inner);
    if (found == records_.end()) {
        return fail(ErrorCode::not_found, "no tunnel for " + inner.to_string());
    }
    const auto record = found->second.record;
    if (record.lease.generation > up_to) return fail_newer(inner, record.lease.generation);
    const auto key = key_of(inner);
    bpf_map_delete_elem(programs_->ipv6_tunnels(), &key);
    drop_prefix(record);
    bpf_map_delete_elem(programs_->ipv6_records(), &key);
    forget(inner);
    tell_lengths();
    return {};
}

void Ipv6Table::set_path_mtu(const Ipv4Address& client, std::uint16_t path_mtu) {
    const auto set = [&](const dstm_ipv6_key& key) {
        auto entry = read(key);
        entry.path_mtu = path_mtu;
        bpf_map_update_elem(programs_->ipv6_tunnels(), &key, &entry, BPF_EXIST);
    };
    for (const auto& [inner, known] : records_) {
        if (address_of_peer(known.peer) != client) continue;
        set(key_of(inner));
        if (known.record.prefix_length != 0) set(prefix_key_of(known.record));
    }
}

bool Ipv6Table::holds(const Ipv6Address& inner) const {
    if (records_.contains(inner)) return true;
    return std::ranges::any_of(lengths_, [&](const auto& length) {
        dstm_ipv6_key key{};
        const auto mask = mask_of(length.first);
        copy(key.address, inner);
        key.address[0] &= mask.mask[0];
        key.address[1] &= mask.mask[1];
        key.length = length.first;
        return read(key).state != 0;
    });
}

void Ipv6Table::for_each(const std::function<void(const Ipv6TunnelView&)>& visit) const {
    for (const auto& [inner, known] : records_) {
        auto entry = read(key_of(inner));
        if (known.record.prefix_length != 0) {
            take_counters(entry, read(prefix_key_of(known.record)));
        }
        visit({inner, entry, known.record});
    }
}

void Ipv6Table::tell_lengths() {
    std::array<dstm_prefix_mask, DSTM_PREFIX_LENGTHS_MAX> masks{};
    auto* out = masks.begin();
    for (const auto& [length, count] : lengths_) {
        *out++ = mask_of(length);
    }
    programs_->set_prefix_masks(masks);
}

}  // namespace dstm::tep::bpf
