// The name a client gets in DNS, made of who it is. Pure.
#pragma once

#include <string>
#include <string_view>

namespace dstm::server {

// "lab-7.alice.dstm.example", "alice.dstm.example" for a user without a host. Empty when there is
// no name to give: no suffix, an anonymous user, or one that is too long (RFC 1035 s2.3.4).
//
// What is a label already (RFC 1123 s2.1, lower case) stands as it is; from anything else a label
// is made that ends with a digest of it, so that two users never share a name.
[[nodiscard]] std::string make_host_name(std::string_view suffix, std::string_view user,
                                         std::string_view host);

}  // namespace dstm::server
