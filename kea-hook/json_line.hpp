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
// What an answer may hold to fit into a line of 1 MiB with what is around it.
inline constexpr std::size_t answer_size_max = 900 * 1024;

// Without the line end.
[[nodiscard]] Result<isc::data::ElementPtr> read_json_line(std::string_view line);
void append_json(std::string& out, const isc::data::ConstElementPtr& value);
[[nodiscard]] std::size_t size_as_json(const isc::data::ConstElementPtr& value);

}  // namespace dstm::kea
