// Names of the error codes, and errno as an Error.
#include "common/base/result.hpp"

#include <system_error>

namespace dstm {

const char* to_string(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid: return "invalid";
        case ErrorCode::not_found: return "not found";
        case ErrorCode::exhausted: return "exhausted";
        case ErrorCode::unavailable: return "unavailable";
        case ErrorCode::timed_out: return "timed out";
        case ErrorCode::refused: return "refused";
        case ErrorCode::conflict: return "conflict";
        case ErrorCode::closed: return "closed";
        case ErrorCode::internal: return "internal";
    }
    return "unknown";
}

std::string to_string(const Error& error) {
    return std::string(to_string(error.code)) + ": " + error.context;
}

Error error_from_errno(int errno_value, std::string doing) {
    ErrorCode code = ErrorCode::unavailable;
    switch (errno_value) {
        case EINVAL: code = ErrorCode::invalid; break;
        case ENOENT:
        case ENODEV:
        case ESRCH: code = ErrorCode::not_found; break;
        case EACCES:
        case EPERM: code = ErrorCode::refused; break;
        case EEXIST:
        case EBUSY:
        case EADDRINUSE: code = ErrorCode::conflict; break;
        case ENOMEM:
        case ENOSPC:
        case EMFILE:
        case ENFILE: code = ErrorCode::exhausted; break;
        case ETIMEDOUT: code = ErrorCode::timed_out; break;
        default: break;
    }
    doing += ": ";
    doing += std::generic_category().message(errno_value);
    return Error{code, std::move(doing)};
}

}  // namespace dstm
