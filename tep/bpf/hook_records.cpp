// bpf(2) on one small map.
#include "tep/bpf/hook_records.hpp"

#include <bpf/bpf.h>

#include "tep/bpf/map_form.hpp"

namespace dstm::tep::bpf {

HookRecords::HookRecords(int map) : map_(-1) {
    if (form_of(map) == map_form<__u32, dstm_hook>(BPF_MAP_TYPE_HASH)) map_ = map;
}

std::optional<dstm_hook> HookRecords::find(int interface) const {
    const auto key = static_cast<__u32>(interface);
    dstm_hook record{};
    if (bpf_map_lookup_elem(map_, &key, &record) != 0) return std::nullopt;
    return record;
}

std::vector<std::pair<int, dstm_hook>> HookRecords::all() const {
    std::vector<std::pair<int, dstm_hook>> out;
    __u32 key = 0;
    const __u32* before = nullptr;
    while (bpf_map_get_next_key(map_, before, &key) == 0) {
        before = &key;
        if (const auto record = find(static_cast<int>(key))) {
            out.emplace_back(static_cast<int>(key), *record);
        }
    }
    return out;
}

void HookRecords::write(int interface, const dstm_hook& record) {
    const auto key = static_cast<__u32>(interface);
    static_cast<void>(bpf_map_update_elem(map_, &key, &record, BPF_ANY));
}

void HookRecords::erase(int interface) {
    const auto key = static_cast<__u32>(interface);
    static_cast<void>(bpf_map_delete_elem(map_, &key));
}

}  // namespace dstm::tep::bpf
