// Reads a request as values that the broker can work with, or says why not. Pure: it knows no
// lease, no endpoint and no other session. RFC 5572 s4.7, s5.3 and Appendix B.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <tl/expected.hpp>

#include "common/tsp/message.hpp"
#include "common/tsp/status.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

struct Refusal {
    tsp::Status status = tsp::Status::server_error;
    std::string text;  // replaces the RFC's title on the status line
};

// Who asks, from where.
struct Asker {
    std::string user;  // empty: anonymous
    IpAddress source;  // of its packets
};

struct CreateTerms {
    ClientId client_id;
    // user, host, type and outer address; endpoint and generation are still empty
    BindingContext context;
    std::optional<std::uint32_t> keepalive_wish_s;
};

// 303: the type is not offered. 500: no type, no IPv6 address, a bad host id. 502: the address is
// no usable one, or not the packet's source (unless the operator allows that). 507: a prefix.
[[nodiscard]] tl::expected<CreateTerms, Refusal> read_create(const BrokerConfig& config,
                                                             const Asker& asker,
                                                             const tsp::TunnelMessage& message);

// Whose binding an info or delete speaks of. An anonymous client without a host id is known by
// where its packets come from, or by the address it names if other sources are allowed.
[[nodiscard]] tl::expected<ClientId, Refusal> read_client_id(const BrokerConfig& config,
                                                             const Asker& asker,
                                                             const tsp::TunnelMessage& message);

[[nodiscard]] std::optional<std::uint32_t> keepalive_wish(const tsp::TunnelMessage& message);

}  // namespace dstm::server
