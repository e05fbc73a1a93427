// The host's routes as a whole, in all tables: how finely they divide the IPv6 addresses, and which
// interfaces they lead to. News add to it; what has gone is forgotten when all is read again, and
// does no harm until then.
//
// Where a route leads is not kept: the kernel is asked (host_network.hpp).
#pragma once

#include <array>
#include <map>
#include <unordered_map>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "tep/bpf/netlink_message.hpp"

namespace dstm::tep::bpf {

class HostRoutes {
public:
    // What leads out by one interface.
    struct Kinds {
        bool ipv4 = false;
        bool ipv6 = false;  // besides what each link has
        bool ipv6_gateway = false;
        bool operator==(const Kinds&) const = default;
    };

    // Asks the kernel for all of them: about a microsecond each. conflict: they changed meanwhile.
    [[nodiscard]] Result<void> read();
    // Of a route, a rule of routing, or an object that routes share. True: interfaces() is another.
    bool take(const netlink::Message& message);
    void add(const HostRoutes& more);

    // All addresses within have the same routes.
    [[nodiscard]] Ipv6Prefix cell_of(const Ipv6Address& address) const;
    // Some route for it has several ways, or names only an object that may have.
    [[nodiscard]] bool may_spread(const Ipv6Address& address) const;
    [[nodiscard]] const std::map<int, Kinds>& interfaces() const { return interfaces_; }

private:
    void add_prefix(const Ipv6Prefix& prefix, bool may_spread);
    bool add_way(int interface, const Kinds& kinds);
    bool take_route(const netlink::Message& message);
    bool take_object(const netlink::Message& message);

    std::array<std::unordered_map<Ipv6Address, bool>, 129> prefixes_;  // by length; may_spread()
    std::map<int, Kinds> interfaces_;
};

}  // namespace dstm::tep::bpf
