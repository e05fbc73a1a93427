// Tells systemd how a service is (sd_notify(3)), without libsystemd.
#pragma once

#include <optional>
#include <string_view>

#include "common/base/clock.hpp"

namespace dstm::io {

// One datagram ("READY=1", "STOPPING=1") to the socket that $NOTIFY_SOCKET names; does nothing
// when it is not set. False when it is set and the datagram could not be sent.
bool sd_notify(std::string_view state);

// Within what time systemd wants each "WATCHDOG=1" ($WATCHDOG_USEC, sd_watchdog_enabled(3));
// nullopt: it does not, or it wants another process's.
[[nodiscard]] std::optional<Duration> watchdog_interval();

}  // namespace dstm::io
