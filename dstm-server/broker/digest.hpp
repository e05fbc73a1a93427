// SHA-256. The only file here that uses OpenSSL is digest.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dstm::server {

[[nodiscard]] std::array<std::uint8_t, 32> sha256(std::string_view input);

}  // namespace dstm::server
