// What a command answers, the same on both ways in (docs/wire/kea-stream.md).
#pragma once

#include <string>

#include <cc/data.h>

namespace dstm::kea {

struct Reply {
    int result = 0;  // Kea's: 0 success, 1 error, 3 nothing found
    std::string text;
    isc::data::ElementPtr arguments;  // may be null
};

enum class Reason {
    pool_exhausted,
    prefix_unavailable,
    bad_request,
    not_serving,
    not_found,
    not_owner,
    stale,
    internal,
};

struct Refusal {
    Reason reason = Reason::internal;
    std::string text;
};

[[nodiscard]] Reply to_reply(const Refusal& refusal);
[[nodiscard]] isc::data::ElementPtr to_element(const Reply& reply);

}  // namespace dstm::kea
