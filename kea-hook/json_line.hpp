// One line of the stream socket to a Kea value and back (docs/wire/kea-stream.md).
//
// Kea's reader recurses without a bound and knows \u escapes below 256 only; its writer turns UTF-8
// into \u escapes of single bytes. Here the depth is bounded, and UTF-8 goes in and out as it is.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <cc/data.h>

#include "common/base/result.hpp"

namespace dstm::kea {

inline constexpr std::size_t json_depth_max = 32;

// Without the line end.
[[nodiscard]] Result<isc::data::ElementPtr> read_json_line(std::string_view line);
void append_json(std::string& out, const isc::data::ConstElementPtr& value);

}  // namespace dstm::kea
