// Of what form the map behind a descriptor is. Asked before anything is read from a map that this
// process did not make: the kernel copies as many bytes as the map's values have, whatever the
// struct they go to.
#pragma once

#include <optional>

#include <bpf/bpf.h>

namespace dstm::tep::bpf {

struct MapForm {
    bpf_map_type type;
    __u32 key_size;
    __u32 value_size;

    bool operator==(const MapForm&) const = default;
};

template <class Key, class Value>
constexpr MapForm map_form(bpf_map_type type) {
    return {type, sizeof(Key), sizeof(Value)};
}

// None: no map.
[[nodiscard]] inline std::optional<MapForm> form_of(int map) {
    bpf_map_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(map, &info, &size) != 0) return std::nullopt;
    return MapForm{static_cast<bpf_map_type>(info.type), info.key_size, info.value_size};
}

}  // namespace dstm::tep::bpf
