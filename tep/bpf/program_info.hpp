// What the kernel says of a loaded program: its number, its name, its maps.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <bpf/bpf.h>

namespace dstm::tep::bpf {

// Fills `map_numbers` with as many as there is room for; nr_map_ids says how many it has. None for
// a descriptor that is not open.
inline std::optional<bpf_prog_info> info_of(int program, std::span<__u32> map_numbers = {}) {
    bpf_prog_info info{};
    info.nr_map_ids = static_cast<__u32>(map_numbers.size());
    info.map_ids = reinterpret_cast<std::uintptr_t>(map_numbers.data());
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(program, &info, &size) != 0) return std::nullopt;
    return info;
}

}  // namespace dstm::tep::bpf
