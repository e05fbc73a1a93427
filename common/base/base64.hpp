// Base64 (RFC 4648 s4) of SASL and of the endpoint link: standard alphabet, padded, no white space.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dstm {

[[nodiscard]] std::string encode_base64(std::string_view bytes);
// nullopt: a foreign character, a length that is no multiple of four, or padding not at the end.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace dstm
