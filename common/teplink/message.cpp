// Names and codes of the endpoint link (docs/wire/endpoint-link.md).
#include "common/teplink/message.hpp"

#include <algorithm>

namespace dstm::teplink {
namespace {

bool is_name_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

}  // namespace

bool is_valid_name(std::string_view name) {
    return !name.empty() && name.size() <= name_size_max &&
           std::ranges::all_of(name, is_name_character);
}

// By hand: tl::expected<void, E> has no comparison that compiles.
bool BatchAnswer::operator==(const BatchAnswer& other) const {
    const auto same = [](const Result<void>& a, const Result<void>& b) {
        return a.has_value() == b.has_value() && (a.has_value() || a.error() == b.error());
    };
    return std::ranges::equal(results, other.results, same);
}

int wire_code(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid: return code_invalid_params;
        case ErrorCode::exhausted: return code_exhausted;
        case ErrorCode::unavailable:
        case ErrorCode::timed_out:
        case ErrorCode::closed: return code_unavailable;
        case ErrorCode::refused:
        case ErrorCode::not_found: return code_refused;
        case ErrorCode::conflict: return code_conflict;
        case ErrorCode::internal: return code_internal;
    }
    return code_internal;
}

ErrorCode error_code(std::int64_t wire_code) {
    switch (wire_code) {
        case code_parse_error:
        case code_invalid_request:
        case code_method_not_found:
        case code_invalid_params: return ErrorCode::invalid;
        case code_unavailable: return ErrorCode::unavailable;
        case code_conflict: return ErrorCode::conflict;
        case code_exhausted: return ErrorCode::exhausted;
        case code_refused: return ErrorCode::refused;
        default: return ErrorCode::internal;
    }
}

}  // namespace dstm::teplink
