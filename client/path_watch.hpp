// Looks, each time the tunnel's path is new, whether it carries large packets, and makes do with
// the smallest when it does not: a PathProbe with an echo, a clock and the host around it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "client/path_probe.hpp"
#include "client/ports.hpp"
#include "common/io/timer.hpp"

namespace dstm::client {

class PathWatch {
public:
    // All references outlive the watch.
    PathWatch(asio::io_context& context, const std::string& device, HostNetwork& host,
              const Clock& clock);

    // The tunnel came up, moved, or its path's MTU has changed.
    void look(const Binding& binding);
    // The tunnel is down: nothing is sent any more.
    void stop();
    // Echoes so far.
    [[nodiscard]] std::uint64_t sent() const { return echo_->sent(); }

private:
    void go_on();
    void answered(const Event& event);
    void conclude(PathProbe::Verdict verdict);

    HostNetwork& host_;
    const Clock& clock_;
    std::unique_ptr<EchoProbe> echo_;
    io::Timer timer_;
    PathProbe probe_;
    IpAddress from_;
    IpAddress to_;
};

}  // namespace dstm::client
