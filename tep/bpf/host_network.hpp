// What the kernel knows of the way to an address: routes, neighbours, links, and the news of them.
// Netlink by hand, since nothing is changed here and the questions are few.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::tep::bpf {

namespace netlink {
class Request;
}

using LinkAddress = std::array<std::uint8_t, 6>;

struct RouteAnswer {
    int interface = 0;
    std::optional<Ipv6Address> gateway;  // none: the address is on the link
    std::uint32_t mtu = 0;               // 0 = that of the link
    std::uint8_t prefix_length = 0;      // of the route that matched
};

struct Link {
    std::uint32_t mtu = 0;
    std::optional<LinkAddress> address;  // none: no Ethernet
    bool takes_frames = false;           // that a program of XDP redirects to it
};

struct NeighbourNews {
    int interface = 0;
    Ipv6Address address;
    std::optional<LinkAddress> link_address;  // none: not known any more
    bool is_stale = false;
};

struct News {
    bool routes = false;  // or links or addresses: ask again
    bool hooks = false;   // of tc, on whichever interface
    std::vector<NeighbourNews> neighbours;
};

class HostNetwork {
public:
    [[nodiscard]] static Result<HostNetwork> open();

    // not_found: there is no way.
    [[nodiscard]] Result<RouteAnswer> route_to(const Ipv6Address& destination,
                                               const Ipv6Address& source);
    [[nodiscard]] Result<Link> link(int interface);
    // Whether its driver runs programs of XDP; none: this kernel does not say.
    [[nodiscard]] std::optional<bool> runs_xdp(int interface);
    // Nothing when the kernel does not know it, or has heard nothing from it for long.
    [[nodiscard]] std::optional<LinkAddress> neighbour(int interface, const Ipv6Address& address);
    // Asks the kernel to find out whether a neighbour is still there; the answer is news.
    void probe(int interface, const Ipv6Address& address);

    // Readable when there is news.
    [[nodiscard]] int news_descriptor() const { return monitor_.number(); }
    [[nodiscard]] News take_news();

private:
    HostNetwork(dataplane::Descriptor questions, dataplane::Descriptor devices,
                dataplane::Descriptor monitor);
    [[nodiscard]] Result<std::vector<std::uint8_t>> ask(const dataplane::Descriptor& socket,
                                                        netlink::Request request);
    [[nodiscard]] std::uint16_t find_device_family();
    [[nodiscard]] std::optional<std::uint64_t> xdp_features(int interface);

    dataplane::Descriptor questions_;
    dataplane::Descriptor devices_;    // generic netlink
    std::uint16_t device_family_ = 0;  // 0: this kernel has none
    dataplane::Descriptor monitor_;
    std::uint32_t sequence_ = 0;
};

}  // namespace dstm::tep::bpf
