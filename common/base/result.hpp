// What a function returns when the world outside may fail it.
//
// Three kinds of error are never mixed (docs/architecture.md): a broken invariant of ours is an
// assertion (assert.hpp), a failure of the world is a Result, a refusal we give to a TSP peer is a
// status (tsp/status.hpp). Foreign exceptions and codes are turned into a Result in the adapter.
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace dstm {

// Chosen by what the caller does next, not by what went wrong.
enum class ErrorCode {
    invalid,      // the input is wrong; the same call will fail again
    not_found,    // the named thing does not exist
    exhausted,    // a pool, quota or table is full
    unavailable,  // the other side cannot be reached now; try again later
    timed_out,    // no answer within the bound
    refused,      // understood and denied
    conflict,     // a newer or other owner holds the thing
    closed,       // the peer closed the channel in an orderly way
    internal,     // a defect, ours or of a library
};

[[nodiscard]] const char* to_string(ErrorCode code);

// `context` is for the operator's log; it never holds a secret.
struct Error {
    ErrorCode code = ErrorCode::internal;
    std::string context;

    bool operator==(const Error&) const = default;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string context) {
    return tl::unexpected<Error>(Error{code, std::move(context)});
}

// "unavailable: connect /run/kea/dstm4.sock: No such file or directory"
[[nodiscard]] std::string to_string(const Error& error);

// Appends strerror(errno_value) to what was being done.
[[nodiscard]] Error error_from_errno(int errno_value, std::string doing);

}  // namespace dstm
