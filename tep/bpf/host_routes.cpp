// Lists of rtnetlink, on a socket of their own: nobody need wait while they are read.
#include "tep/bpf/host_routes.hpp"

#include <cstring>
#include <utility>

#include <linux/fib_rules.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "tep/bpf/route_message.hpp"

namespace dstm::tep::bpf {
namespace {

// A rule has its destination where a route has it.
static_assert(sizeof(fib_rule_hdr) == sizeof(rtmsg) && int{FRA_DST} == int{RTA_DST});

Ipv6Address masked(const Ipv6Address& address, std::size_t length) {
    auto bytes = address.bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const auto kept = std::min<std::size_t>(length - std::min(length, 8 * i), 8);
        bytes[i] &= static_cast<std::uint8_t>(0xff00U >> kept);
    }
    return Ipv6Address(bytes);
}

// fe80::/10 and ff00::/8: what the kernel has on each interface.
bool is_of_every_link(const Ipv6Prefix& prefix) {
    return prefix.address.is_link_local() || prefix.address.bytes()[0] == 0xff;
}

template <class Body>
netlink::Request list_of(std::uint16_t type, std::uint8_t family) {
    Body body{};
    std::memcpy(&body, &family, sizeof family);  // the first byte of each of them
    return netlink::Request(type, NLM_F_DUMP, body);
}

}  // namespace

Result<void> HostRoutes::read() {
    const auto socket = netlink::open_socket(NETLINK_ROUTE);
    if (!socket) return tl::unexpected(socket.error());
    Result<void> whole;
    const auto read_list = [&](netlink::Request question) {
        const auto done = netlink::for_each_answer(*socket, question.take(), "listing routes",
                                                   [&](const netlink::Message& message) {
                                                       take(message);
                                                       return true;
                                                   });
        if (!done) whole = done;
    };
    read_list(list_of<rtmsg>(RTM_GETROUTE, AF_INET6));
    read_list(list_of<rtmsg>(RTM_GETROUTE, AF_INET));
    read_list(list_of<fib_rule_hdr>(RTM_GETRULE, AF_INET6));
    read_list(list_of<nhmsg>(RTM_GETNEXTHOP, AF_UNSPEC));
    return whole;
}

bool HostRoutes::take(const netlink::Message& message) {
    switch (message.type()) {
        case RTM_NEWROUTE: return take_route(message);
        case RTM_NEWNEXTHOP: return take_object(message);
        case RTM_NEWRULE:
            if (message.body<fib_rule_hdr>().family == AF_INET6) {
                add_prefix(destination_in(message), false);
            }
            return false;
        default: return false;
    }
}

bool HostRoutes::take_route(const netlink::Message& message) {
    const auto body = message.body<rtmsg>();
    if ((body.rtm_flags & RTM_F_CLONED) != 0) return false;
    const bool is_ipv6 = body.rtm_family == AF_INET6;
    if (!is_ipv6 && body.rtm_family != AF_INET) return false;
    const auto destination = is_ipv6 ? destination_in(message) : Ipv6Prefix{};
    const auto hops = hops_in(message);
    if (is_ipv6) add_prefix(destination, hops.size() != 1);
    if (body.rtm_type != RTN_UNICAST) return false;
    bool is_new = false;
    for (const auto& hop : hops) {
        const Kinds kinds{!is_ipv6, is_ipv6 && !is_of_every_link(destination),
                          is_ipv6 && hop.has_gateway};
        is_new = add_way(hop.interface, kinds) || is_new;
    }
    return is_new;
}

bool HostRoutes::take_object(const netlink::Message& message) {
    const auto body = message.body<nhmsg>();
    const auto interface = message.attribute(sizeof body, NHA_OIF);
    const bool is_ipv6 = body.nh_family == AF_INET6;
    return add_way(
        static_cast<int>(netlink::number_in<std::uint32_t>(interface)),
        {!is_ipv6, is_ipv6, is_ipv6 && !message.attribute(sizeof body, NHA_GATEWAY).empty()});
}

void HostRoutes::add_prefix(const Ipv6Prefix& prefix, bool may_spread) {
    auto& known = prefixes_.at(prefix.length)[prefix.address];
    known = known || may_spread;
}

bool HostRoutes::add_way(int interface, const Kinds& kinds) {
    if (interface == 0) return false;
    auto& known = interfaces_[interface];
    const auto before = known;
    known.ipv4 |= kinds.ipv4;
    known.ipv6 |= kinds.ipv6;
    known.ipv6_gateway |= kinds.ipv6_gateway;
    return known != before;
}

void HostRoutes::add(const HostRoutes& more) {
    for (std::size_t i = 0; i < prefixes_.size(); ++i) {
        for (const auto& [address, may_spread] : more.prefixes_[i]) {
            add_prefix({address, static_cast<std::uint8_t>(i)}, may_spread);
        }
    }
    for (const auto& [interface, kinds] : more.interfaces_) add_way(interface, kinds);
}

Ipv6Prefix HostRoutes::cell_of(const Ipv6Address& address) const {
    for (std::size_t length = 128; length > 0; --length) {
        if (prefixes_[length].empty()) continue;
        const auto candidate = masked(address, length);
        if (prefixes_[length].contains(candidate)) {
            return {candidate, static_cast<std::uint8_t>(length)};
        }
    }
    return {};
}

bool HostRoutes::may_spread(const Ipv6Address& address) const {
    for (std::size_t length = 0; length < prefixes_.size(); ++length) {
        if (prefixes_[length].empty()) continue;
        const auto found = prefixes_[length].find(masked(address, length));
        if (found != prefixes_[length].end() && found->second) return true;
    }
    return false;
}

}  // namespace dstm::tep::bpf
