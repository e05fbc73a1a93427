// What waits for the tunnel, and what of it asks for one. Packets and times as values: no device,
// no clock.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"

namespace dstm::client {

// Destinations that no tunnel leads to: this host, this network, link-local (RFC 3927), multicast,
// reserved and broadcast (RFC 6890).
inline constexpr std::array<Ipv4Prefix, 4> nowhere_to_go{{
    {Ipv4Address(0x00000000), 8},
    {Ipv4Address(0x7f000000), 8},
    {Ipv4Address(0xa9fe0000), 16},
    {Ipv4Address(0xe0000000), 3},
}};

// A packet whose sender waits for an answer.
struct DemandPacket {
    std::string bytes;
    Ipv4Address source;
    Ipv4Address destination;
};

// None for what is not worth a lease, since nobody waits for anything: TCP that only ends a
// connection, ICMP but for requests, what goes nowhere, and what is not IPv4 at all.
[[nodiscard]] std::optional<DemandPacket> read_demand(std::string_view bytes);

struct DemandLimits {
    std::size_t packets = 64;
    std::size_t bytes = 256 * 1024;
    // Whoever sent an older one has repeated it by now, or given up.
    Duration age = std::chrono::seconds(30);
};

class DemandQueue {
public:
    explicit DemandQueue(DemandLimits limits) : limits_(limits) {}

    // The oldest give way.
    void push(DemandPacket packet, Instant now);
    // Of what is not too old.
    [[nodiscard]] bool is_empty(Instant now);
    [[nodiscard]] std::vector<DemandPacket> take(Instant now);

private:
    struct Waiting {
        DemandPacket packet;
        Instant since;
    };
    void forget_oldest();
    void forget_old(Instant now);

    DemandLimits limits_;
    std::deque<Waiting> waiting_;
    std::size_t bytes_ = 0;
};

}  // namespace dstm::client
