// The thread that carries: waits for the device and the outer socket, moves packets in batches
// through the carrier. Decides nothing about a packet.
#pragma once

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

// What the thread and the callers of the plane share. The mutex is held for the decisions of one
// batch, never for a system call that waits.
struct Shared {
    std::mutex mutex;
    Carrier carrier;
    std::shared_ptr<OuterSocket> outer;  // null: a client without a tunnel
    const std::function<void(const Ipv6Address&, std::uint32_t)> path_mtu_lowered;  // may be empty

    explicit Shared(const TunPlaneConfig& config)
        : carrier(config,
                  [this](const Ipv6Address& destination) {
                      return outer ? outer->link_mtu(destination) : ipv6_mtu_min;
                  }),
          path_mtu_lowered(config.path_mtu_lowered) {}
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
    // Replaces the outer socket, which may be null, in one step. The caller holds shared.mutex.
    [[nodiscard]] Result<void> set_outer(std::shared_ptr<OuterSocket> outer);

private:
    void run();
    void carry_up();
    void carry_down();
    void relay_errors();
    void send_answers();
    [[nodiscard]] std::shared_ptr<OuterSocket> outer();
    [[nodiscard]] Now now() const;

    Shared& shared_;
    TunDevice& device_;
    const Clock& clock_;
    std::function<void()> housekeeping_;

    Descriptor epoll_;
    Descriptor wake_;
    Descriptor icmp_;  // raw IPv4, sends whole packets
    std::atomic<bool> stopping_ = false;

    // Of the thread.
    BatchBuffer buffer_;
    std::vector<IncomingPacket> incoming_;
    std::vector<OutgoingPacket> outgoing_;
    std::vector<std::vector<std::uint8_t>> answers_;
    RateLimit answer_limit_;
    bool housekeeping_due_ = false;

    std::thread thread_;
};

}  // namespace dstm::dataplane
