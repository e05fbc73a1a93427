// What clients say of the path to them: an ICMP "fragmentation needed" or ICMPv6 "packet too big"
// inside the tunnel, about an echo reply of the endpoint's own (docs/decisions/path-mtu.md). Where
// the kernel carries, it hears them too, but does not let them decide what it forwards.
//
// Knows no tunnels: whether the sender is whom it seems to be is told by the device.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::dataplane {

struct PathReport {
    IpAddress client;  // inner
    int device = 0;    // through which it came
    std::uint32_t inner_mtu = 0;
};

class PathReports {
public:
    // `inner` is an address of this host, to which the reports go. Needs CAP_NET_RAW.
    [[nodiscard]] static Result<PathReports> open(const IpAddress& inner);
    // Those that have come, a bounded number of them; does not wait.
    [[nodiscard]] std::vector<PathReport> take();

private:
    PathReports(const IpAddress& inner, Descriptor socket)
        : inner_(inner), socket_(std::move(socket)) {}

    IpAddress inner_;
    Descriptor socket_;
};

}  // namespace dstm::dataplane
