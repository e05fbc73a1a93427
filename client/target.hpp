// Whom the client asks. Values.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "common/base/ip_address.hpp"

namespace dstm::client {

// A server to ask: a name or an address without brackets.
struct Target {
    std::string host;
    std::uint16_t port = 0;

    auto operator<=>(const Target&) const = default;
};

// Who gave the last tunnel, and where. Without an address: the DNS knows that one no longer.
struct GoodServer {
    Target server;
    std::optional<IpAddress> address;

    bool operator==(const GoodServer&) const = default;
};

}  // namespace dstm::client
