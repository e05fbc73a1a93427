// Reads what a broker offers: from the text of a message to a tunnel that can be built.
//
// RFC 5572 s4.7, s5.1 to s5.4. Knows nothing of sessions or hosts.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tsp/message.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::client {

struct Offer {
    TunnelType type = TunnelType::v4v6;
    IpAddress inner;                          // ours inside the tunnel
    std::optional<Ipv6Prefix> prefix;         // delegated, for the network behind us
    std::string name;                         // ours in the DNS (N11); empty: none
    IpAddress endpoint;                       // the other end, outside
    std::chrono::seconds lease{0};
    bool lease_is_exact = false;              // the peer is a DSTM server and named the seconds
    std::uint32_t lifetime_attribute = 0;     // as it stood in the message, for the log
    Duration keepalive_interval{0};           // 0: none
    std::optional<IpAddress> keepalive_to;    // who answers echoes inside; set with an interval

    bool operator==(const Offer&) const = default;
};

// What the offer answers.
struct Question {
    tsp::RequestType type;  // as asked for
    IpAddress outer;        // for which address
    IpAddress peer;         // whom
};

// invalid: the offer cannot be used, the context says why.
[[nodiscard]] Result<Offer> read_offer(const tsp::TunnelMessage& message, const Question& question);

}  // namespace dstm::client
