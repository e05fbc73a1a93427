// Takes tunnels out of maps of any layout that has pools of entries and records beside them. The
// layout says what its structs are and what they mean today:
//
//   struct Layout {
//       using Entry = ...; using Record = ...;
//       static dstm_entry entry(const Entry&);
//       static dstm_record record(const Record&);
//   };
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <bpf/bpf.h>

#include "tep/bpf/left_behind.hpp"
#include "tep/bpf/map_form.hpp"
#include "tep/bpf/mapped_array.hpp"

namespace dstm::tep::bpf {

// `what` an earlier daemon left has maps that are not as its layout has them.
[[nodiscard]] inline tl::unexpected<Error> fail_unlike(const std::string& what) {
    return fail(ErrorCode::invalid,
                "an earlier daemon's " + what +
                    " have maps of another form; dstm-tep --detach removes them");
}

template <class Layout>
class MapReader {
public:
    // Both must outlive this.
    MapReader(const Maps& maps, const dstm_meta& meta) : maps_(maps), meta_(meta) {}

    // invalid: the maps are not what `meta` says.
    [[nodiscard]] Result<std::vector<LeftTunnel>> tunnels() {
        const auto count = std::min<__u32>(meta_.pool_count, DSTM_POOLS_MAX);
        for (__u32 i = 0; i < count; ++i) {
            if (auto read = read_pool(std::to_string(i), meta_.pools[i]); !read) {
                return tl::unexpected(read.error());
            }
        }
        if (auto read = read_outside(); !read) return tl::unexpected(read.error());
        return std::move(out_);
    }

private:
    using Entry = typename Layout::Entry;
    using Record = typename Layout::Record;

    template <class Value>
    static bool has_form(const dataplane::Descriptor& map, bpf_map_type type) {
        return form_of(map.number()) == map_form<__u32, Value>(type);
    }

    void take(std::uint32_t inner, const Entry& entry, const Record& record) {
        const auto today = Layout::record(record);
        if (today.generation == 0) return;  // no tunnel
        out_.push_back({Ipv4Address(inner), Layout::entry(entry), today});
    }

    Result<void> read_pool(const std::string& number, const dstm_pool& pool) {
        const auto entries_at = maps_.find("pool_" + number);
        const auto records_at = maps_.find("records_" + number);
        if (entries_at == maps_.end() || records_at == maps_.end()) {
            return fail(ErrorCode::invalid, "an earlier daemon's pool " + number + " has no maps");
        }
        if (!has_form<Entry>(entries_at->second, BPF_MAP_TYPE_ARRAY) ||
            !has_form<Record>(records_at->second, BPF_MAP_TYPE_ARRAY)) {
            return fail_unlike("tunnels of pool " + number);
        }
        auto entries = MappedArray<Entry>::map(entries_at->second.number(), pool.size);
        if (!entries) return tl::unexpected(entries.error());
        auto records = MappedArray<Record>::map(records_at->second.number(), pool.size);
        if (!records) return tl::unexpected(records.error());
        for (std::uint32_t i = 0; i < pool.size; ++i) {
            take(pool.first + i, entries->elements()[i], records->elements()[i]);
        }
        return {};
    }

    Result<void> read_outside() {
        const auto entries = maps_.find("outside");
        const auto records = maps_.find("outside_records");
        if (entries == maps_.end() || records == maps_.end()) return {};
        if (!has_form<Entry>(entries->second, BPF_MAP_TYPE_HASH) ||
            !has_form<Record>(records->second, BPF_MAP_TYPE_HASH)) {
            return fail_unlike("tunnels outside the pools");
        }
        __u32 key = 0;
        const __u32* before = nullptr;
        while (bpf_map_get_next_key(records->second.number(), before, &key) == 0) {
            before = &key;
            Entry entry{};
            Record record{};
            if (bpf_map_lookup_elem(records->second.number(), &key, &record) == 0 &&
                bpf_map_lookup_elem(entries->second.number(), &key, &entry) == 0) {
                take(key, entry, record);
            }
        }
        return {};
    }

    const Maps& maps_;
    const dstm_meta& meta_;
    std::vector<LeftTunnel> out_;
};

}  // namespace dstm::tep::bpf
