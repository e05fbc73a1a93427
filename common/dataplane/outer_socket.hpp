// The outer side of the tunnels of one type: a raw IPv6 socket for protocol 4 (v4v6), a raw IPv4
// socket for protocol 41 (v6v4), or a UDP socket over IPv4 (v6udpv4); bound to one address of this
// host.
//
// The kernel does for it: reassembly, skipping of destination options, routing, fragmentation to
// the path MTU, and the match of ICMP errors to what was sent. RFC 3542. Over IPv4 it sets DF on
// what fits the path as it knows it, and fragments what does not (RFC 4213 s3.2.2); the carrier
// sends nothing larger than the path, except what IPv6 may not be asked to make smaller.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"
#include "common/dataplane/drop.hpp"
#include "common/dataplane/path_error.hpp"
#include "common/dataplane/quiet_kernel.hpp"
#include "common/dataplane/segment_sizes.hpp"

namespace dstm::dataplane {

inline constexpr std::size_t batch_size_max = 32;
inline constexpr std::size_t packet_size_max = 65535;  // RFC 791 s3.1

struct IncomingPacket {
    IpEndpoint source;  // port 0 except of UDP
    std::uint8_t traffic_class = 0;
    MutableBytes payload;          // in the buffer of the batch
    SegmentSize segment_size = 0;  // not 0: it stands for many
};

struct OutgoingPacket {
    IpEndpoint destination;
    std::uint8_t traffic_class = 0;
    ConstBytes payload;
    std::uint32_t path_mtu = 0;  // not 0: over IPv6 to be fragmented to it at the latest
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
    // `local` has a port for v6udpv4 only. unavailable: the host does not have the address (yet).
    [[nodiscard]] static Result<OuterSocket> open(TunnelType type, const IpEndpoint& local);
    // A UDP socket that is bound already; it must not be connected.
    [[nodiscard]] static Result<OuterSocket> adopt_udp(Descriptor udp);

    [[nodiscard]] TunnelType type() const { return type_; }
    [[nodiscard]] int descriptor() const { return socket_.number(); }

    // Packets that the kernel merged are received with the size of their segments. A UDP socket
    // receives none.
    [[nodiscard]] bool may_receive_merged() const {
        return type_ == TunnelType::v6udpv4 || segment_sizes_;
    }

    // What is there now, at most one batch.
    void receive(BatchBuffer& buffer, std::vector<IncomingPacket>& out);

    // Counts in `drops` what could not be sent. From any thread.
    void send(std::span<const OutgoingPacket> packets, DropTable& drops);

    // The next ICMP error; `buffer` holds its quote. None when there is none left.
    [[nodiscard]] std::optional<PathError> next_error(MutableBytes buffer);

    // How many answers of the kernel's to packets of its tunnels were withheld (quiet_kernel.hpp).
    [[nodiscard]] std::uint64_t answers_withheld() const { return quiet_.withheld(); }

    // Before an adopted socket is left to whoever holds it besides: it is told of none from now on.
    void ignore_errors();

    // What the host's routing says about the way to `destination`; the minimum if there is no way.
    [[nodiscard]] std::uint32_t link_mtu(const IpAddress& destination);

private:
    [[nodiscard]] SegmentSize segment_size_of(ConstBytes packet) const;
    void fragment_to(std::uint32_t path_mtu);
    void send_batch(std::span<const OutgoingPacket> packets, DropTable& drops);
    OuterSocket(TunnelType type, Descriptor socket, Descriptor probe)
        : type_(type), socket_(std::move(socket)), probe_(std::move(probe)) {}

    TunnelType type_;
    Descriptor socket_;
    Descriptor probe_;  // a UDP socket that is only ever connected, to ask for the route's MTU
    QuietKernel quiet_;
    std::optional<SegmentSizes> segment_sizes_;
};

}  // namespace dstm::dataplane
