// The logger's name, as it is written in Kea's "loggers" list.
#include "kea-hook/log.hpp"

namespace dstm::kea {

isc::log::Logger hook_logger("dstm-hooks");

}  // namespace dstm::kea
