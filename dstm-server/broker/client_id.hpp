// Who a client is to Kea: the same for one user on one host wherever it is, and not to be guessed
// into another user's (RFC 8539 s9).
#pragma once

#include <string_view>

#include "dstm-server/ports.hpp"

namespace dstm::server {

// An empty user is anonymous; no authenticated user is empty. `host` holds no NUL, so that the last
// NUL ends the user, and no two pairs give one input.
//
// v4: 0x00 and the first 19 bytes of SHA-256("dstm" NUL user NUL host), as DHCP option 61 wants a
// type byte (0) and an opaque rest.
// v6: 00 04 and the first 16 bytes of SHA-256("dstm6" NUL user NUL host), a DUID in UUID form
// (RFC 6355).
[[nodiscard]] ClientId make_client_id(Family family, std::string_view user, std::string_view host);

}  // namespace dstm::server
