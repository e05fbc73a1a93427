// Each layout that a daemon of ours has pinned has its reader here.
#include "tep/bpf/left_behind.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <bpf/bpf.h>

#include "tep/bpf/mapped_array.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr __u32 first_key = 0;

// Layout 1: neighbours had one table, the rest is as today.
namespace layout_1 {
using Entry = dstm_entry;
using Record = dstm_record;
dstm_entry today(const Entry& entry) { return entry; }
}  // namespace layout_1

template <class Entry, class Record, class Convert>
Result<void> read_pool(const Maps& maps, std::size_t index, const dstm_pool& pool, Convert today,
                       std::vector<LeftTunnel>& out) {
    const auto entries_at = maps.find("pool_" + std::to_string(index));
    const auto records_at = maps.find("records_" + std::to_string(index));
    if (entries_at == maps.end() || records_at == maps.end()) {
        return fail(ErrorCode::invalid, "of the pool " + std::to_string(index) +
                                            " that an earlier daemon had there is no map");
    }
    auto entries = MappedArray<Entry>::map(entries_at->second.number(), pool.size);
    if (!entries) return tl::unexpected(entries.error());
    auto records = MappedArray<Record>::map(records_at->second.number(), pool.size);
    if (!records) return tl::unexpected(records.error());
    for (std::uint32_t i = 0; i < pool.size; ++i) {
        const auto& record = records->elements()[i];
        if (record.generation == 0) continue;
        out.push_back({Ipv4Address(pool.first + i), today(entries->elements()[i]), record});
    }
    return {};
}

template <class Entry, class Record, class Convert>
void read_outside(const Maps& maps, Convert today, std::vector<LeftTunnel>& out) {
    const auto entries = maps.find("outside");
    const auto records = maps.find("outside_records");
    if (entries == maps.end() || records == maps.end()) return;
    __u32 key = 0;
    const __u32* before = nullptr;
    while (bpf_map_get_next_key(records->second.number(), before, &key) == 0) {
        before = &key;
        Entry entry{};
        Record record{};
        if (bpf_map_lookup_elem(records->second.number(), &key, &record) != 0) continue;
        if (bpf_map_lookup_elem(entries->second.number(), &key, &entry) != 0) continue;
        out.push_back({Ipv4Address(key), today(entry), record});
    }
}

template <class Entry, class Record, class Convert>
Result<std::vector<LeftTunnel>> read_all(const LeftBehind& left, Convert today) {
    std::vector<LeftTunnel> out;
    const auto count = std::min<__u32>(left.meta.pool_count, DSTM_POOLS_MAX);
    for (__u32 i = 0; i < count; ++i) {
        auto read = read_pool<Entry, Record>(left.maps, i, left.meta.pools[i], today, out);
        if (!read) return tl::unexpected(read.error());
    }
    read_outside<Entry, Record>(left.maps, today, out);
    return out;
}

}  // namespace

dstm_meta meta_of(const ProgramSettings& settings) {
    dstm_meta meta{};
    meta.version = DSTM_LAYOUT_VERSION;
    meta.pool_count = static_cast<__u32>(settings.pools.size());
    std::memcpy(meta.outer, settings.outer.bytes().data(), sizeof meta.outer);
    for (std::size_t i = 0; i < settings.pools.size(); ++i) {
        meta.pools[i].first = settings.pools[i].address.host_order();
        meta.pools[i].size = static_cast<__u32>(std::uint64_t{1} << (32 - settings.pools[i].length));
    }
    return meta;
}

bool LeftBehind::is_usable_for(const ProgramSettings& settings) const {
    const auto wanted = meta_of(settings);
    return std::memcmp(&meta, &wanted, sizeof meta) == 0;
}

Result<std::vector<LeftTunnel>> LeftBehind::tunnels() const {
    switch (meta.version) {
        case 1: return read_all<layout_1::Entry, layout_1::Record>(*this, layout_1::today);
        default: return read_all<dstm_entry, dstm_record>(*this, [](const auto& e) { return e; });
    }
}

std::optional<dstm_meta> meta_in(const Maps& maps) {
    const auto found = maps.find("meta");
    dstm_meta meta{};
    if (found == maps.end() ||
        bpf_map_lookup_elem(found->second.number(), &first_key, &meta) != 0) {
        return std::nullopt;
    }
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
    if (!meta) {
        return fail(ErrorCode::conflict,
                    "the maps that are pinned for " + device +
                        " do not say whose they are; dstm-tep --detach removes them");
    }
    left.meta = *meta;
    if (left.meta.version > DSTM_LAYOUT_VERSION) {
        return fail(ErrorCode::conflict,
                    "the tunnels of " + device + " are in layout " +
                        std::to_string(left.meta.version) + ", of a newer dstm-tep; this one knows " +
                        std::to_string(DSTM_LAYOUT_VERSION) + ". dstm-tep --detach removes them");
    }
    if (left.meta.version == 0) left.maps.clear();  // its maker died before it was done
    return left;
}

Result<void> write_meta(const Programs& programs) {
    const auto meta = meta_of(programs.settings());
    if (bpf_map_update_elem(programs.meta(), &first_key, &meta, BPF_ANY) == 0) return {};
    return tl::unexpected(error_from_errno(errno, "writing what the maps are"));
}

}  // namespace dstm::tep::bpf
