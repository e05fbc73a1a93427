// Whom the client asks. A value.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace dstm::client {

// A server to ask: a name or an address without brackets.
struct Target {
    std::string host;
    std::uint16_t port = 0;

    auto operator<=>(const Target&) const = default;
};

}  // namespace dstm::client
