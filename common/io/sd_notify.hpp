// Tells systemd how a service is (sd_notify(3)), without libsystemd.
#pragma once

#include <string_view>

namespace dstm::io {

// One datagram ("READY=1", "STOPPING=1") to the socket that $NOTIFY_SOCKET names; does nothing
// when it is not set. False when it is set and the datagram could not be sent.
bool sd_notify(std::string_view state);

}  // namespace dstm::io
