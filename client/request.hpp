// What the client asks for, as the messages that say it.
//
// RFC 5572 s4.7.1 (actions), s4.7.2 (only the address of the outer family: N9, N10), s5.2 (router).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/tsp/message.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::client {

// A prefix for the network behind this host (v6 types).
struct PrefixWish {
    std::uint8_t length = 64;
    std::vector<IpAddress> dns_servers;  // of its reverse zone (s5.2)
};

struct Wishes {
    tsp::RequestType type = tsp::RequestType::v4v6;
    std::string host_id;
    std::uint32_t keepalive_s = 30;
    std::optional<PrefixWish> prefix;
};

// Over what a tunnel of this type runs, and is signalled (RFC 5572 Figure 4).
enum class Family { ipv4, ipv6 };
[[nodiscard]] Family outer_family(tsp::RequestType type);
[[nodiscard]] bool is_of(Family family, const IpAddress& address);

// s4.5.2: the tunnel may be v6udpv4, whose data uses the port of the signalling. N1: it is
// signalled by UDP.
[[nodiscard]] bool may_share_port(tsp::RequestType type);

[[nodiscard]] tsp::RequestType request_type(TunnelType type);

// `outer` is the only address that is sent.
[[nodiscard]] tsp::TunnelMessage create_request(const Wishes& wishes, const IpAddress& outer);
[[nodiscard]] tsp::TunnelMessage delete_request(tsp::RequestType type, const std::string& host_id,
                                                const IpAddress& outer);
// accept and reject; deployed servers expect no type in an accept (D4).
[[nodiscard]] tsp::TunnelMessage bare_request(tsp::Action action,
                                              std::optional<tsp::RequestType> type = std::nullopt);

}  // namespace dstm::client
