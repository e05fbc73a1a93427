// Times as text (RFC 3339): what the audit log writes and what an operator types.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.hpp"

namespace dstm::server {

// "2026-11-03T14:00:01Z"
[[nodiscard]] std::string to_rfc3339(WallTime time);
// As above; an offset ("+01:00") instead of Z, a space instead of T, and fewer parts are accepted:
// "2026-11-03T14:00", "2026-11-03". Without an offset it is UTC. A fraction is dropped.
[[nodiscard]] std::optional<WallTime> parse_rfc3339(std::string_view text);

}  // namespace dstm::server
