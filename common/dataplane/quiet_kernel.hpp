// Keeps the kernel from answering the tunnel packets that a raw socket takes.
//
// Where the kernel has tunnels of its own (ip6_tunnel, sit), it looks for a device for each packet
// of protocol 4 or 41 besides, finds none, and answers "port unreachable": to a far end that is
// doing nothing wrong. A device that takes whatever comes to the address, and lets nothing in, is
// what it then finds. It lives as long as the object.
#pragma once

#include <optional>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/tunnel_links.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::dataplane {

class QuietKernel {
public:
    QuietKernel() = default;
    // Does nothing where the kernel has no such tunnels, or a device of the kernel data plane
    // stands for the address.
    [[nodiscard]] static Result<QuietKernel> on(TunnelType type, const IpAddress& local);
    QuietKernel(QuietKernel&& other) noexcept;
    QuietKernel& operator=(QuietKernel&& other) noexcept;
    ~QuietKernel();

private:
    QuietKernel(TunnelLinks links, int device);
    std::optional<TunnelLinks> links_;  // of the namespace that the device is in; none: no device
    int device_ = 0;
};

}  // namespace dstm::dataplane
