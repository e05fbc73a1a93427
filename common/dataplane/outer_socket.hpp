// The outer side of v4v6: a raw IPv6 socket for protocol 4, bound to one address of this host.
//
// The kernel does for it: reassembly, skipping of destination options, routing, fragmentation to
// the path MTU (RFC 8200 s4.5), and the match of ICMPv6 errors to what was sent. RFC 3542.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/carrier.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::dataplane {

inline constexpr std::size_t batch_size_max = 32;
inline constexpr std::size_t packet_size_max = 65535;  // RFC 791 s3.1

struct IncomingPacket {
    Ipv6Address source;
    std::uint8_t traffic_class = 0;
    MutableBytes payload;  // in the buffer of the batch
};

struct OutgoingPacket {
    Ipv6Address destination;
    std::uint8_t traffic_class = 0;
    ConstBytes payload;
};

// Room for one batch of packets, allocated once.
class BatchBuffer {
public:
    BatchBuffer() : bytes_(batch_size_max * packet_size_max) {}
    [[nodiscard]] MutableBytes slot(std::size_t index) {
        return MutableBytes(bytes_).subspan(index * packet_size_max, packet_size_max);
    }

private:
    std::vector<std::uint8_t> bytes_;
};

class OuterSocket {
public:
    // unavailable: the host does not have the address (yet).
    [[nodiscard]] static Result<OuterSocket> open(const Ipv6Address& local);

    [[nodiscard]] int descriptor() const { return raw_.number(); }

    // What is there now, at most one batch.
    void receive(BatchBuffer& buffer, std::vector<IncomingPacket>& out);

    // Counts in `drops` what could not be sent. At most one batch.
    void send(std::span<const OutgoingPacket> packets, DropTable& drops);

    // The next ICMPv6 error; `buffer` holds its quote. None when there is none left.
    [[nodiscard]] std::optional<PathError> next_error(MutableBytes buffer);

    // What the host's routing says about the way to `destination`; the minimum if there is no way.
    [[nodiscard]] std::uint32_t link_mtu(const Ipv6Address& destination);

private:
    OuterSocket(Descriptor raw, Descriptor probe)
        : raw_(std::move(raw)), probe_(std::move(probe)) {}

    Descriptor raw_;
    Descriptor probe_;  // a UDP socket that is only ever connected, to ask for the route's MTU
};

}  // namespace dstm::dataplane
