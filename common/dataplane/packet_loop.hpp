// The thread that carries: waits for the device and the outer sockets, moves packets in batches
// through the carrier. Decides nothing about a packet, but tells signalling from data on a UDP
// port.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/carrier.hpp"
#include "common/dataplane/descriptor.hpp"
#include "common/dataplane/outer_socket.hpp"
#include "common/dataplane/rate_limit.hpp"
#include "common/dataplane/tun_device.hpp"

namespace dstm::dataplane {

// One of each type that is carried now, null of the others.
inline constexpr std::size_t tunnel_type_count = 3;
using OuterSockets = std::array<std::shared_ptr<OuterSocket>, tunnel_type_count>;
[[nodiscard]] constexpr std::size_t index_of(TunnelType type) {
    return static_cast<std::size_t>(type);
}

// What the thread and the callers of the plane share. The mutex is held for the decisions of one
// batch, never for a system call that waits.
struct Shared {
    std::mutex mutex;
    Carrier carrier;
    OuterSockets outer;
    const std::function<void(const IpAddress&, std::uint32_t)> path_mtu_lowered;  // may be empty
    const TspDatagram tsp_datagram;                                                 // may be empty
    const std::function<void()> device_gone;                                        // may be empty

    explicit Shared(const TunPlaneConfig& config)
        : carrier(config,
                  [this](const Peer& peer) {
                      const auto& socket = outer[index_of(peer.type)];
                      return socket ? socket->link_mtu(peer.endpoint.address) : ipv6_mtu_min;
                  }),
          path_mtu_lowered(config.path_mtu_lowered),
          tsp_datagram(config.tsp_datagram),
          device_gone(config.device_gone) {}
};

class PacketLoop {
public:
    // `housekeeping` is called on the thread: after wake(), after the path MTU has changed, and
    // every ten seconds or so.
    PacketLoop(Shared& shared, TunDevice& device, const Clock& clock,
               std::function<void()> housekeeping);
    ~PacketLoop();
    PacketLoop(const PacketLoop&) = delete;
    PacketLoop& operator=(const PacketLoop&) = delete;

    [[nodiscard]] Result<void> start();
    void wake();
    // As wake(), whenever this is readable; housekeeping reads it empty.
    [[nodiscard]] Result<void> wake_by(int descriptor);
    // Replaces the outer sockets in one step; on failure all stays. The caller holds shared.mutex.
    [[nodiscard]] Result<void> set_outer(OuterSockets outer);

private:
    void run();
    void carry_up(TunnelType type);
    void take_out_signalling();
    void carry_down();
    void relay_errors(TunnelType type);
    void send_answers();
    [[nodiscard]] std::shared_ptr<OuterSocket> outer(TunnelType type);
    [[nodiscard]] Now now() const;

    Shared& shared_;
    TunDevice& device_;
    const Clock& clock_;
    std::function<void()> housekeeping_;

    Descriptor epoll_;
    Descriptor wake_;
    Descriptor icmpv4_;  // raw, send whole packets
    Descriptor icmpv6_;
    std::atomic<bool> stopping_ = false;

    // Of the thread.
    BatchBuffer buffer_;
    Segments segments_;
    std::vector<IncomingPacket> incoming_;
    std::array<std::vector<OutgoingPacket>, tunnel_type_count> outgoing_;
    std::vector<std::vector<std::uint8_t>> answers_;
    RateLimit answer_limit_;
    bool housekeeping_due_ = false;

    std::thread thread_;
};

}  // namespace dstm::dataplane
