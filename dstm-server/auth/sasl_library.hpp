// Cyrus SASL's state that is one for the whole process: locks, plug-ins, log. It takes nothing from
// /etc/sasl2 and knows no conversation.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace dstm::server::sasl {

// Once for the process; later calls return the first outcome. Thread-safe.
[[nodiscard]] Result<void> initialize();

// SASL_CB_LOG: what the library says goes to our log, without what may hold secrets.
int log_message(void* context, int level, const char* message);

}  // namespace dstm::server::sasl
