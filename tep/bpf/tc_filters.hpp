// Which filters stand on the tc hooks of an interface, ours and those of others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace dstm::tep::bpf {

enum class TcDirection { ingress, egress };

struct TcFilter {
    std::uint32_t priority = 0;
    std::uint32_t handle = 0;
    std::string name;  // of a BPF program; empty: the filter is of another kind
};

// None where there is no clsact.
[[nodiscard]] Result<std::vector<TcFilter>> filters_on(int interface, TcDirection direction);

}  // namespace dstm::tep::bpf
