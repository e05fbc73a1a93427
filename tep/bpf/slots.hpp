// Entries in an array and the keys in a hash that lead to them: how a slot serves one tunnel after
// another while programs read. Knows no addresses and no leases.
//
// An entry is never moved: a key leads to the same slot as long as the tunnel is there. A program
// that followed a key of an earlier tunnel finds another use number (layout.h).
#pragma once

#include <cerrno>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include <bpf/bpf.h>

#include "common/base/result.hpp"
#include "tep/bpf/layout.h"

namespace dstm::tep::bpf {

using Slot = std::uint32_t;

// Which slots are free. Those that no tunnel has had come first, then the one that is free for
// longest: a program may still hold it.
class FreeSlots {
public:
    explicit FreeSlots(std::size_t count) : count_(static_cast<Slot>(count)) {}

    // Serves a tunnel already. In rising order, before all else.
    void keep(Slot slot);
    [[nodiscard]] std::optional<Slot> take();
    void give_back(Slot slot) { free_.push_back(slot); }
    // From here on no slot has served.
    [[nodiscard]] Slot end() const { return untouched_; }

private:
    Slot count_;
    Slot untouched_ = 0;
    std::deque<Slot> free_;
};

// Another peer in an entry, seen whole or not at all. Counters and last_seen stay: the programs
// count on while this happens.
void rewrite(dstm_entry& shared, const dstm_entry& fresh);
// The entry of another tunnel, with the counters of `fresh`.
void begin_use(dstm_entry& shared, const dstm_entry& fresh);
// From here on nothing is carried.
void end_use(dstm_entry& shared);
[[nodiscard]] inline bool is_carried(const dstm_entry& entry) {
    return (entry.state & DSTM_ENTRY_CARRIED) != 0;
}

// Every key with what it leads to. A key that a writer adds or removes meanwhile may be missed.
template <class Key, class Visit>
[[nodiscard]] Result<void> for_each_key(int map, Visit visit) {
    constexpr __u32 batch = 16384;
    std::vector<Key> keys(batch);
    std::vector<__u64> leads(batch);
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    __u32 position = 0;
    for (__u32* from = nullptr;; from = &position) {
        __u32 count = batch;
        const int failed = bpf_map_lookup_batch(map, from, &position, keys.data(), leads.data(),
                                                &count, &options);
        if (failed != 0 && failed != -ENOENT) {
            return tl::unexpected(error_from_errno(-failed, "reading the keys of tunnels"));
        }
        for (__u32 i = 0; i < count; ++i) visit(keys[i], leads[i]);
        if (failed != 0) return {};
    }
}

// Removes keys that lead elsewhere than `wanted(key, lead)` wants, and tells how many are left.
template <class Key, class Wanted>
[[nodiscard]] Result<std::size_t> drop_wrong_keys(int map, Wanted wanted) {
    std::size_t right = 0;
    std::vector<Key> wrong;
    auto read = for_each_key<Key>(map, [&](const Key& key, __u64 lead) {
        wanted(key, lead) ? void(++right) : wrong.push_back(key);
    });
    if (!read) return tl::unexpected(read.error());
    for (const auto& key : wrong) bpf_map_delete_elem(map, &key);
    return right;
}

template <class Key>
[[nodiscard]] std::optional<__u64> lead_of(int map, const Key& key) {
    __u64 lead = 0;
    if (bpf_map_lookup_elem(map, &key, &lead) != 0) return std::nullopt;
    return lead;
}

// An element of the hash is written only where it changes: the kernel puts a new one in its place.
template <class Key>
[[nodiscard]] Result<void> write_key(int map, const Key& key, __u64 lead) {
    if (bpf_map_update_elem(map, &key, &lead, BPF_ANY) == 0) return {};
    return tl::unexpected(error_from_errno(errno, "writing the key of a tunnel"));
}

}  // namespace dstm::tep::bpf
