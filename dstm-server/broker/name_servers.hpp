// The name servers a client lists for the reverse zone of its prefix (RFC 5572 s5.2). Pure.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/tsp/message.hpp"

namespace dstm::server {

// Addresses and names, each once, in the client's order. Deployed clients put `dns_server` directly
// under `client`, others under `router`: both count. invalid: one that nothing can be delegated to,
// or too many (delegation_plan.hpp).
[[nodiscard]] Result<std::vector<std::string>> read_name_servers(const tsp::Party& client);

// How one of them stands in a message.
[[nodiscard]] tsp::Address to_address(const std::string& name_server);

}  // namespace dstm::server
