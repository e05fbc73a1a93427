// The hook's own logger in Kea's logging system, and the identifiers of what it says
// (dstm_messages.mes has the paragraph for each).
#pragma once

#include <log/logger.h>
#include <log/macros.h>

#include "dstm_messages.h"

namespace dstm::kea {

extern isc::log::Logger hook_logger;

}  // namespace dstm::kea
