// Whose maps these are, and which reader they need.
#include "tep/bpf/left_behind.hpp"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "tep/bpf/map_reader.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr __u32 first_key = 0;

// A layout that is no longer today's stays here, under its number, with what it means today. In 1
// and 2 entries of pools are the same; 2 has tunnels with IPv6 inside besides.
struct Layout1 {
    using Entry = dstm_entry;
    using Record = dstm_record;
    static const dstm_entry& entry(const Entry& entry) { return entry; }
    static const dstm_record& record(const Record& record) { return record; }
};
static_assert(DSTM_LAYOUT_VERSION == 2, "the structs have changed: keep a copy for each reader");

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
    return meta;
}

bool LeftBehind::is_usable_for(const ProgramSettings& settings) const {
    const auto wanted = meta_of(settings);
    return std::memcmp(&meta, &wanted, sizeof meta) == 0;
}

void LeftBehind::keep_usable_for(const ProgramSettings& settings) {
    if (is_usable_for(settings)) return;
    const bool same = meta.version == DSTM_LAYOUT_VERSION && meta.outer_ipv4 != 0 &&
                      meta.outer_ipv4 == meta_of(settings).outer_ipv4;
    std::erase_if(maps, [&](const auto& map) { return !same || !map.first.starts_with("ipv6_"); });
}

Result<std::vector<LeftTunnel>> LeftBehind::tunnels() const {
    if (meta.version == 1 || meta.version == 2) return MapReader<Layout1>(maps, meta).tunnels();
    return fail(ErrorCode::invalid, "no reader of layout " + std::to_string(meta.version));
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
                        std::to_string(left.meta.version) +
                        ", of a newer dstm-tep; this one knows " +
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
