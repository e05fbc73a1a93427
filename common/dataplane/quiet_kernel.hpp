// Keeps the kernel from answering the tunnel packets that a raw socket takes.
//
// Where the kernel has tunnels of its own (ip6_tunnel, sit), it looks for a device for each packet
// of protocol 4 or 41 besides, finds none, and answers "port unreachable": to a far end that is
// doing nothing wrong. A packet filter withholds these answers, and nothing else, as long as the
// object or the process lives. The host's own tunnels get their packets as before.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/nft_table.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::dataplane {

class QuietKernel {
public:
    QuietKernel() = default;
    // Does nothing where the kernel has no such tunnels.
    [[nodiscard]] static Result<QuietKernel> on(TunnelType type, const IpAddress& local);

    // How many answers were not sent.
    [[nodiscard]] std::uint64_t withheld() const;

private:
    std::optional<NftTable> table_;
};

}  // namespace dstm::dataplane
