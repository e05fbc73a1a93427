// Reads a request as values that the broker can work with, or says why not. Pure: it knows no
// lease, no endpoint and no other session. RFC 5572 s2.1, s4.7, s5 and Appendix B.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "common/tsp/message.hpp"
#include "common/tsp/status.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

struct Refusal {
    tsp::Status status = tsp::Status::server_error;
    std::string text = {};                  // replaces the RFC's title on the status line
    std::vector<tsp::Broker> brokers = {};  // who can do it instead
};

// Who asks, from where.
struct Asker {
    std::string user;        // empty: anonymous
    IpEndpoint source;       // of its packets
    std::string relay = {};  // the endpoint that its packets go through; empty: none
};

struct CreateTerms {
    ClientId client_id;
    // user, host, type, outer address, name servers; endpoint and generation are still empty
    BindingContext context;
    std::optional<std::uint8_t> prefix_length;  // asked for
    std::string hostname;                       // to be registered in DNS; empty: none
    std::optional<std::uint32_t> keepalive_wish_s;
    std::string relay;  // as in Asker
};

// A v6anyv4 becomes v6v4 or v6udpv4 here, by comparing the address that the client names with the
// source of its packets (RFC 5572 s2.1).
//
// 303: the type is not offered. 500: no type, no address of the family the tunnel goes over, a bad
// host id or name server. 501, 502: the address is no usable one, or not the packet's source
// (unless the operator allows that). 507: a prefix of a length that is never given.
[[nodiscard]] tl::expected<CreateTerms, Refusal> read_create(const BrokerConfig& config,
                                                             const Asker& asker,
                                                             const tsp::TunnelMessage& message);

struct ClientName {
    ClientId id;
    Family family = Family::v4;
    std::optional<ClientId> otherwise = {};  // who it is if `id` has nothing
};

// Whose binding an info or delete speaks of. Without a type (clients leave it out) the family is
// that of the tunnels which are asked for from where the packets come. An anonymous client without
// a host id is known by where its packets come from, or by the address it names if other sources
// are allowed.
// Through a relay that is its address (v6v4) or its mapping (v6udpv4): both, unless the request
// tells which.
[[nodiscard]] tl::expected<ClientName, Refusal> read_client(const BrokerConfig& config,
                                                            const Asker& asker,
                                                            const tsp::TunnelMessage& message);

[[nodiscard]] std::optional<std::uint32_t> keepalive_wish(const tsp::TunnelMessage& message);

}  // namespace dstm::server
