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
#include "tep/bpf/host_routes.hpp"
#include "tep/bpf/netlink_message.hpp"
#include "tep/bpf/route_message.hpp"

namespace dstm::tep::bpf {

using LinkAddress = std::array<std::uint8_t, 6>;

struct RouteAnswer {
    std::vector<RouteHop> hops;  // at least one; without a gateway the address is on the link
    std::uint32_t mtu = 0;       // 0 = that of the link
    bool is_of_cell = true;      // the same for all addresses of cell_of()

    Ipv6Prefix prefix;        // of the route that the kernel named
    bool has_object = false;  // which other routes may share
    bool is_clone = false;    // for one address, with what was learned of it
};

struct Link {
    std::uint32_t mtu = 0;
    std::optional<LinkAddress> address;  // none: no Ethernet
    bool takes_frames = false;           // that a program of XDP redirects to it

    bool operator==(const Link&) const = default;
};

struct NeighbourNews {
    int interface = 0;
    Ipv6Address address;
    std::optional<LinkAddress> link_address;  // none: not known any more
    bool is_stale = false;
};

struct News {
    bool routes = false;     // ways to IPv6 addresses may be others: ask again
    bool links = false;      // links or addresses have changed: ask for all again
    bool entrances = false;  // filters, settings or ways of an interface, whichever
    bool all_neighbours = false;  // may have changed, whatever is said below
    std::vector<NeighbourNews> neighbours;
};

// How what is known of all routes may differ from them.
enum class RoutesDoubt {
    none,
    some_gone,     // some may be no more, which does no harm
    some_missing,  // news were lost
};

class HostNetwork {
public:
    [[nodiscard]] static Result<HostNetwork> open();

    // not_found: there is no way; refused: there is, but programs cannot take it.
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

    // As it was when the socket for news was opened, and what news have added.
    [[nodiscard]] const HostRoutes& routes() const { return routes_; }
    [[nodiscard]] RoutesDoubt doubt() const { return doubt_; }
    // All addresses within have the same routes.
    [[nodiscard]] Ipv6Prefix cell_of(const Ipv6Address& address) const;
    // What was read after the last take_news(); only added when it is not whole.
    void renew_routes(HostRoutes routes, bool are_whole);
    // Of routes by this interface no news is made.
    void ignore_routes_by(int interface) { ignored_ = interface; }

private:
    HostNetwork(dataplane::Descriptor questions, dataplane::Descriptor devices,
                dataplane::Descriptor monitor);
    [[nodiscard]] Result<std::vector<std::uint8_t>> ask(const dataplane::Descriptor& socket,
                                                        netlink::Request request);
    [[nodiscard]] Result<RouteAnswer> ask_for_route(const Ipv6Address& destination,
                                                    const Ipv6Address& source, unsigned flags);
    void take_news_of(const netlink::Message& message, News& news);
    void take_routing(const netlink::Message& message, News& news);
    [[nodiscard]] std::uint16_t find_device_family();
    [[nodiscard]] std::optional<std::uint64_t> xdp_features(int interface);

    dataplane::Descriptor questions_;
    dataplane::Descriptor devices_;    // generic netlink
    std::uint16_t device_family_ = 0;  // 0: this kernel has none
    dataplane::Descriptor monitor_;
    std::uint32_t sequence_ = 0;
    HostRoutes routes_;
    RoutesDoubt doubt_ = RoutesDoubt::none;
    int ignored_ = 0;
};

}  // namespace dstm::tep::bpf
