// See the header.
#include "kea-hook/task.hpp"

#include <exception>

#include <util/multi_threading_mgr.h>

#include "kea-hook/log.hpp"

namespace dstm::kea {

std::optional<Reply> Task::step() {
    try {
        const isc::util::MultiThreadingCriticalSection no_packet_threads;
        return advance();
    } catch (const std::exception& error) {
        LOG_ERROR(hook_logger, DSTM_COMMAND_FAILED).arg(name_).arg(error.what());
        return to_reply({Reason::internal, error.what()});
    }
}

}  // namespace dstm::kea
