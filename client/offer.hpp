// Reads what a broker offers: from the text of a message to a tunnel that can be built.
//
// RFC 5572 s4.7 and s5.3 for v4v6. Knows nothing of sessions or hosts.
#pragma once

#include <chrono>
#include <optional>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tsp/message.hpp"

namespace dstm::client {

struct Offer {
    Ipv4Address inner;                          // ours inside the tunnel
    Ipv6Address endpoint;                       // the other end, outside
    std::chrono::seconds lease{0};
    bool lease_is_exact = false;                // the peer is a DSTM server and named the seconds
    std::uint32_t lifetime_attribute = 0;       // as it stood in the message, for the log
    Duration keepalive_interval{0};             // 0: none
    std::optional<Ipv4Address> keepalive_to;    // set when keepalive_interval is

    bool operator==(const Offer&) const = default;
};

// `outer` is the address the request was made for. invalid: the offer cannot be used, the context
// says why.
[[nodiscard]] Result<Offer> read_offer(const tsp::TunnelMessage& message, const Ipv6Address& outer);

}  // namespace dstm::client
