// Initialising Cyrus SASL for a process with threads.
#include "dstm-server/auth/sasl_library.hpp"

#include <array>
#include <cstring>

#include <fmt/format.h>
#include <sasl/sasl.h>

#include "common/log/log.hpp"
#include "common/sasl/process.hpp"

namespace dstm::server::sasl {
namespace {

// While plug-ins are loaded; each conversation has its own (sasl_authenticator.cpp).
int get_option(void*, const char*, const char* option, const char** result, unsigned* length) {
    if (std::strcmp(option, "auxprop_plugin") != 0) return SASL_FAIL;
    *result = "sasldb";
    if (length != nullptr) *length = 6;
    return SASL_OK;
}

Result<void> initialize_once() {
    static const std::array callbacks = {
        sasl_callback_t{SASL_CB_GETOPT, dstm::sasl::as_callback(&get_option), nullptr},
        sasl_callback_t{SASL_CB_LOG, dstm::sasl::as_callback(&log_message), nullptr},
        sasl_callback_t{SASL_CB_LIST_END, nullptr, nullptr}};
    dstm::sasl::give_locks();
    // Without an application name no configuration file is read.
    const int status = sasl_server_init(callbacks.data(), nullptr);
    if (status != SASL_OK) {
        return fail(ErrorCode::internal,
                    fmt::format("Cyrus SASL: {}", sasl_errstring(status, nullptr, nullptr)));
    }
    return {};
}

}  // namespace

Result<void> initialize() {
    static const Result<void> outcome = initialize_once();
    return outcome;
}

int log_message(void*, int level, const char* message) {
    if (message == nullptr || level == SASL_LOG_NONE || level >= SASL_LOG_TRACE) return SASL_OK;
    // What a peer got wrong (SASL_LOG_FAIL) is no event of ours: AUTH_FAILED says it once.
    if (level == SASL_LOG_ERR || level == SASL_LOG_WARN) {
        log_warning("AUTH_LIBRARY_WARNING", "{}", log::quoted(message));
    } else {
        log_debug("AUTH_LIBRARY", "{}", log::quoted(message));
    }
    return SASL_OK;
}

}  // namespace dstm::server::sasl
