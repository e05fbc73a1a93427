// Whose maps these are, and which reader they need.
#include "tep/bpf/left_behind.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "tep/bpf/map_form.hpp"
#include "tep/bpf/map_reader.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr __u32 first_key = 0;

// A layout that is no longer today's stays here, under its number, with what it means today. In 1
// to 4 entries of pools are the same; tunnels with IPv6 inside came with 2, slots with 3, and with
// 4 next hops changed, which no daemon takes over from another layout.
struct Layout1 {
    using Entry = dstm_entry;
    using Record = dstm_record;
    static const dstm_entry& entry(const Entry& entry) { return entry; }
    static const dstm_record& record(const Record& record) { return record; }
};
static_assert(DSTM_LAYOUT_VERSION == 4, "the structs have changed: keep a copy for each reader");

// In 2 an address and a prefix each had an entry of their own in a hash.
struct Layout2Ipv6Record {
    dstm_record lease;
    __u64 prefix[2];
    __u32 prefix_length;
    __u32 unused;
};

void add_counters(dstm_entry& to, const dstm_entry& more) {
    to.last_seen = std::max(to.last_seen, more.last_seen);
    to.packets_up += more.packets_up;
    to.bytes_up += more.bytes_up;
    to.packets_down += more.packets_down;
    to.bytes_down += more.bytes_down;
}

Result<std::vector<LeftIpv6Tunnel>> read_ipv6_hash(int entries, int records) {
    if (form_of(entries) != map_form<dstm_ipv6_key, dstm_entry>(BPF_MAP_TYPE_HASH) ||
        form_of(records) != map_form<dstm_ipv6_key, Layout2Ipv6Record>(BPF_MAP_TYPE_HASH)) {
        return fail_unlike("tunnels of IPv6");
    }
    std::vector<LeftIpv6Tunnel> out;
    dstm_ipv6_key key{};
    const dstm_ipv6_key* before = nullptr;
    while (bpf_map_get_next_key(records, before, &key) == 0) {
        before = &key;
        Layout2Ipv6Record record{};
        LeftIpv6Tunnel tunnel{};
        if (bpf_map_lookup_elem(records, &key, &record) != 0 ||
            bpf_map_lookup_elem(entries, &key, &tunnel.entry) != 0) {
            continue;
        }
        const dstm_ipv6_key prefix{{record.prefix[0], record.prefix[1]}, record.prefix_length, 0};
        if (dstm_entry behind{}; record.prefix_length != 0 &&
                                 bpf_map_lookup_elem(entries, &prefix, &behind) == 0) {
            add_counters(tunnel.entry, behind);
        }
        tunnel.record = {record.lease,
                         {key.address[0], key.address[1]},
                         {record.prefix[0], record.prefix[1]},
                         record.prefix_length,
                         0};
        out.push_back(tunnel);
    }
    return out;
}

Result<std::vector<LeftIpv6Tunnel>> read_ipv6_slots(int entries_map, int records_map,
                                                    std::uint32_t count) {
    if (form_of(entries_map) != map_form<__u32, dstm_entry>(BPF_MAP_TYPE_ARRAY) ||
        form_of(records_map) != map_form<__u32, dstm_ipv6_record>(BPF_MAP_TYPE_ARRAY)) {
        return fail_unlike("tunnels of IPv6");
    }
    auto entries = MappedArray<dstm_entry>::map(entries_map, count);
    if (!entries) return tl::unexpected(entries.error());
    auto records = MappedArray<dstm_ipv6_record>::map(records_map, count);
    if (!records) return tl::unexpected(records.error());
    std::vector<LeftIpv6Tunnel> out;
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto& record = records->elements()[i];
        if (record.lease.generation != 0) out.push_back({entries->elements()[i], record});
    }
    return out;
}

Result<void> read_outside_slots(const Maps& maps, std::vector<LeftTunnel>& out) {
    const auto entries_at = maps.find("outside_entries");
    const auto records_at = maps.find("outside_records");
    if (entries_at == maps.end() || records_at == maps.end()) {
        return fail(ErrorCode::invalid, "an earlier daemon's tunnels outside pools have no maps");
    }
    if (form_of(entries_at->second.number()) != map_form<__u32, dstm_entry>(BPF_MAP_TYPE_ARRAY) ||
        form_of(records_at->second.number()) !=
            map_form<__u32, dstm_outside_record>(BPF_MAP_TYPE_ARRAY)) {
        return fail_unlike("tunnels outside the pools");
    }
    auto entries = MappedArray<dstm_entry>::map(entries_at->second.number(), DSTM_OUTSIDE_MAX);
    if (!entries) return tl::unexpected(entries.error());
    auto records =
        MappedArray<dstm_outside_record>::map(records_at->second.number(), DSTM_OUTSIDE_MAX);
    if (!records) return tl::unexpected(records.error());
    for (std::size_t i = 0; i < DSTM_OUTSIDE_MAX; ++i) {
        const auto& record = records->elements()[i];
        if (record.lease.generation == 0) continue;
        out.push_back({Ipv4Address(record.inner), entries->elements()[i], record.lease});
    }
    return {};
}

}  // namespace

dstm_meta meta_of(const ProgramSettings& settings) {
    dstm_meta meta{};
    meta.version = DSTM_LAYOUT_VERSION;
    meta.pool_count = static_cast<__u32>(settings.pools.size());
    std::memcpy(meta.outer, settings.outer.bytes().data(), sizeof meta.outer);
    for (std::size_t i = 0; i < settings.pools.size(); ++i) {
        meta.pools[i].first = settings.pools[i].address.host_order();
        const auto size = std::uint64_t{1} << (32 - settings.pools[i].length);
        meta.pools[i].size = static_cast<__u32>(size);
    }
    meta.outer_ipv4 = settings.outer_ipv4 ? htonl(settings.outer_ipv4->host_order()) : 0;
    meta.ipv6_slots = ipv6_slots_of(settings);
    return meta;
}

bool LeftBehind::is_usable_for(const ProgramSettings& settings) const {
    const auto wanted = meta_of(settings);
    return std::memcmp(&meta, &wanted, sizeof meta) == 0;
}

void LeftBehind::keep_hooks_and_drops() {
    const bool has_drops = meta.version >= 3;  // with the same names as today's
    std::erase_if(maps, [&](const auto& map) {
        return map.first != "hooks" && !(has_drops && map.first == "drops");
    });
}

Result<std::vector<LeftTunnel>> LeftBehind::tunnels() const {
    if (meta.version < 1 || meta.version > DSTM_LAYOUT_VERSION) {
        return fail(ErrorCode::invalid, "no reader of layout " + std::to_string(meta.version));
    }
    auto tunnels = MapReader<Layout1>(maps, meta).tunnels();
    if (!tunnels || meta.version < 3) return tunnels;
    if (auto read = read_outside_slots(maps, *tunnels); !read) {
        return tl::unexpected(read.error());
    }
    return tunnels;
}

Result<std::vector<LeftIpv6Tunnel>> LeftBehind::ipv6_tunnels() const {
    if (meta.version < 2) return std::vector<LeftIpv6Tunnel>{};
    const auto entries = maps.find(meta.version == 2 ? "ipv6_tunnels" : "ipv6_entries");
    const auto records = maps.find("ipv6_records");
    if (entries == maps.end() || records == maps.end()) {
        return fail(ErrorCode::invalid, "an earlier daemon's tunnels of IPv6 have no maps");
    }
    if (meta.version == 2) {
        return read_ipv6_hash(entries->second.number(), records->second.number());
    }
    return read_ipv6_slots(entries->second.number(), records->second.number(), meta.ipv6_slots);
}

// A newer layout may have a longer one; in layout 1 it ended before the IPv4 address.
std::optional<dstm_meta> meta_in(const Maps& maps) {
    const auto found = maps.find("meta");
    if (found == maps.end()) return std::nullopt;
    const int map = found->second.number();
    const auto form = form_of(map);
    if (!form || form->type != BPF_MAP_TYPE_ARRAY || form->key_size != sizeof first_key) {
        return std::nullopt;
    }
    std::vector<std::uint8_t> value(form->value_size);
    if (bpf_map_lookup_elem(map, &first_key, value.data()) != 0) return std::nullopt;
    dstm_meta meta{};
    std::memcpy(&meta, value.data(), std::min(value.size(), sizeof meta));
    const bool has_known_size =
        value.size() == sizeof meta || value.size() == offsetof(dstm_meta, outer_ipv4);
    if (!has_known_size && meta.version <= DSTM_LAYOUT_VERSION) return std::nullopt;
    return meta;
}

Result<LeftBehind> find_left_behind(const Pins* pins, const std::string& device) {
    LeftBehind left;
    if (pins != nullptr) {
        auto pinned = pins->maps();
        if (!pinned) return tl::unexpected(pinned.error());
        left.maps = std::move(*pinned);
    }
    if (left.maps.empty()) left.maps = maps_of_hook(device);
    if (left.maps.empty()) return left;
    const auto meta = meta_in(left.maps);
    if (!meta && left.maps.contains("meta")) {
        return fail(ErrorCode::conflict,
                    "the maps that are pinned for " + device +
                        " do not say whose they are; dstm-tep --detach removes them");
    }
    left.meta = meta.value_or(dstm_meta{});
    if (left.meta.version > DSTM_LAYOUT_VERSION) {
        return fail(ErrorCode::conflict,
                    "the tunnels of " + device + " are in layout " +
                        std::to_string(left.meta.version) +
                        ", of a newer dstm-tep; this one knows " +
                        std::to_string(DSTM_LAYOUT_VERSION) + ". dstm-tep --detach removes them");
    }
    if (left.meta.version == 0) left.keep_hooks_and_drops();  // its maker died before it was done
    return left;
}

Result<void> write_meta(const Programs& programs) {
    const auto meta = meta_of(programs.settings());
    if (bpf_map_update_elem(programs.meta(), &first_key, &meta, BPF_ANY) == 0) return {};
    return tl::unexpected(error_from_errno(errno, "writing what the maps are"));
}

}  // namespace dstm::tep::bpf
