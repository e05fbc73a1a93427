// Who a client is to Kea: the same for one user on one host wherever it is, and not to be guessed
// into another user's (RFC 8539 s9). The only file that uses OpenSSL here is client_id.cpp.
#pragma once

#include <string_view>

#include "dstm-server/ports.hpp"

namespace dstm::server {

// 0x00 and the first 19 bytes of SHA-256("dstm" NUL user NUL host). An empty user is anonymous; no
// authenticated user is empty. `host` holds no NUL, so that the last NUL ends the user, and no two
// pairs give one input. 20 bytes, as DHCP option 61 wants a type byte (0) and an opaque rest.
[[nodiscard]] ClientId make_client_id(std::string_view user, std::string_view host);

}  // namespace dstm::server
