// Whether the host reaches IPv4 without the tunnel.
#pragma once

#include <string>

#include "common/dataplane/netlink.hpp"

namespace dstm::client {

// A default route in the main table that leads elsewhere than into `device`.
[[nodiscard]] Result<bool> has_native_ipv4(dataplane::Netlink& netlink, const std::string& device);

}  // namespace dstm::client
