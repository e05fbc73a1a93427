// Looks whether the tunnel's path carries large packets, and makes do with the smallest when it
// does not: a PathProbe with an echo, a timer and the host around it. When the path is new, and
// again and again while packets pass: it may shrink without any address, link or router telling
// (docs/decisions/path-mtu.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "client/driver.hpp"
#include "client/path_probe.hpp"
#include "common/io/timer.hpp"

namespace dstm::client {

class PathWatch {
public:
    // RFC 8899 s5.1.1, CONFIRMATION_TIMER; s5.1.2 has 15 s as the time between probes. A large echo
    // and a small one in this time are 0.8 kbit/s each way.
    static constexpr Duration confirmation_time = std::chrono::seconds(15);

    // All references outlive the watch.
    PathWatch(asio::io_context& context, const std::string& device, Driver& driver);

    // The tunnel came up, moved, or its path's MTU has changed.
    void look(const Binding& binding);
    // The tunnel is down: nothing is sent any more.
    void stop();
    // Echoes so far.
    [[nodiscard]] std::uint64_t sent() const { return echo_->sent(); }

private:
    void begin(std::uint32_t mtu);
    void go_on();
    void confirm();
    void answered(const Event& event);
    void conclude(PathProbe::Verdict verdict);
    void tell_endpoint(std::uint32_t mtu);
    // Packets of the tunnel that are not this client's own echoes.
    [[nodiscard]] std::uint64_t packets() const;

    Driver& driver_;
    HostNetwork& host_;
    const Clock& clock_;
    std::unique_ptr<EchoProbe> echo_;
    io::Timer timer_;
    PathProbe probe_;
    IpAddress from_;
    IpAddress to_;
    // Since the last look began.
    std::uint32_t mtu_ = 0;
    std::uint64_t packets_ = 0;
    bool is_limited_ = false;  // by this watch, to mtu_
};

}  // namespace dstm::client
