// Questions to rtnetlink and to generic netlink; nothing outside knows their form.
#include "tep/bpf/host_network.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include <linux/genetlink.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netconf.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "tep/bpf/netlink_message.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;
using netlink::bytes_of;
using netlink::Message;
using netlink::number_in;
using netlink::Request;

constexpr std::size_t answer_size_max = 64 * 1024;
constexpr int news_size_max = 4 << 20;  // that wait to be read
constexpr int news_at_once_max = 1024;  // then others may use the plane
constexpr std::uint16_t known_states =
    NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;

constexpr std::uint32_t group(int number) { return std::uint32_t{1} << (number - 1); }
constexpr std::uint32_t groups_of_news =
    group(RTNLGRP_LINK) | group(RTNLGRP_NEIGH) | group(RTNLGRP_TC) | group(RTNLGRP_IPV4_IFADDR) |
    group(RTNLGRP_IPV6_IFADDR) | group(RTNLGRP_IPV4_ROUTE) | group(RTNLGRP_IPV6_ROUTE) |
    group(RTNLGRP_IPV6_RULE) | group(RTNLGRP_NEXTHOP) | group(RTNLGRP_IPV4_NETCONF) |
    group(RTNLGRP_IPV6_NETCONF);

// Since Linux 6.3: linux/netdev.h, which Debian 12 does not have.
constexpr std::string_view device_family_name = "netdev";
constexpr std::uint8_t device_get = 1;                // NETDEV_CMD_DEV_GET
constexpr std::uint16_t device_interface = 1;         // NETDEV_A_DEV_IFINDEX
constexpr std::uint16_t device_xdp_features = 3;      // NETDEV_A_DEV_XDP_FEATURES
constexpr std::uint64_t runs_programs = 1;            // NETDEV_XDP_ACT_BASIC
constexpr std::uint64_t takes_redirected_frames = 4;  // NETDEV_XDP_ACT_NDO_XMIT

std::optional<LinkAddress> link_address_in(std::span<const std::uint8_t> value) {
    LinkAddress out;
    if (value.size() != out.size()) return std::nullopt;
    std::memcpy(out.data(), value.data(), out.size());
    return out;
}

NeighbourNews neighbour_in(const Message& message) {
    const auto body = message.body<ndmsg>();
    NeighbourNews news;
    news.interface = body.ndm_ifindex;
    if (const auto address = address_in(message.attribute(sizeof body, NDA_DST))) {
        news.address = *address;
    }
    news.is_stale = (body.ndm_state & NUD_STALE) != 0;
    if (message.type() == RTM_NEWNEIGH && (body.ndm_state & known_states) != 0) {
        news.link_address = link_address_in(message.attribute(sizeof body, NDA_LLADDR));
    }
    return news;
}

ndmsg neighbour_of(int interface) {
    ndmsg body{};
    body.ndm_family = AF_INET6;
    body.ndm_ifindex = interface;
    return body;
}

}  // namespace

HostNetwork::HostNetwork(Descriptor questions, Descriptor devices, Descriptor monitor)
    : questions_(std::move(questions)), devices_(std::move(devices)), monitor_(std::move(monitor)) {
    device_family_ = find_device_family();
}

Result<HostNetwork> HostNetwork::open() {
    auto questions = netlink::open_socket(NETLINK_ROUTE);
    auto devices = netlink::open_socket(NETLINK_GENERIC);
    auto monitor = netlink::open_socket(NETLINK_ROUTE, groups_of_news);
    if (!questions) return tl::unexpected(questions.error());
    if (!devices) return tl::unexpected(devices.error());
    if (!monitor) return tl::unexpected(monitor.error());
    // Needs a right that who may change the network has; without it bursts are lost more often.
    static_cast<void>(::setsockopt(monitor->number(), SOL_SOCKET, SO_RCVBUFFORCE, &news_size_max,
                                   sizeof news_size_max));
    HostNetwork out(std::move(*questions), std::move(*devices), std::move(*monitor));
    HostRoutes routes;
    const auto read = routes.read();
    if (!read && read.error().code != ErrorCode::conflict) return tl::unexpected(read.error());
    out.renew_routes(std::move(routes), read.has_value());
    return out;
}

Result<std::vector<std::uint8_t>> HostNetwork::ask(const Descriptor& socket, Request request) {
    const auto question = request.take(++sequence_);
    if (::send(socket.number(), question.data(), question.size(), 0) < 0) {
        return tl::unexpected(error_from_errno(errno, "asking netlink"));
    }
    std::vector<std::uint8_t> answer(answer_size_max);
    for (;;) {
        const auto size = ::recv(socket.number(), answer.data(), answer.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return tl::unexpected(error_from_errno(errno, "reading netlink"));
        const auto got = std::span(answer).first(static_cast<std::size_t>(size));
        const auto message = Message::first_of(got);
        if (!message || message->sequence() != sequence_) continue;  // of a question given up
        if (message->type() == NLMSG_ERROR) {
            const auto error = message->body<nlmsgerr>().error;
            if (error == 0) return std::vector<std::uint8_t>{};
            auto said = error_from_errno(-error, "netlink");
            if (error == -ENETUNREACH || error == -EHOSTUNREACH || error == -ENOENT ||
                error == -ENODEV) {
                said.code = ErrorCode::not_found;
            }
            return tl::unexpected(said);
        }
        answer.resize(static_cast<std::size_t>(size));
        return answer;
    }
}

// Where routes share objects (RTA_NH_ID), the kernel may name another one with the same object as
// the route that matched, or of it no more than the object's number. Then the way itself is asked
// for, and is right for this one address.
Result<RouteAnswer> HostNetwork::route_to(const Ipv6Address& destination,
                                          const Ipv6Address& source) {
    auto found = ask_for_route(destination, source, RTM_F_FIB_MATCH);
    if (!found) return found;
    const bool is_named = found->prefix == cell_of(destination) && !found->hops.empty();
    if (found->has_object && !is_named) {
        found = ask_for_route(destination, source, 0);
        if (!found) return found;
        found->is_of_cell = !found->is_clone && !routes_.may_spread(destination);
    }
    std::erase_if(found->hops,
                  [](const RouteHop& hop) { return hop.is_dead || hop.interface == 0; });
    if (found->hops.empty()) return fail(ErrorCode::not_found, "no way that is up");
    if (std::ranges::any_of(found->hops, &RouteHop::is_wrapped)) {
        return fail(ErrorCode::refused, "its route adds a header of its own");
    }
    return found;
}

Result<RouteAnswer> HostNetwork::ask_for_route(const Ipv6Address& destination,
                                               const Ipv6Address& source, unsigned flags) {
    rtmsg body{};
    body.rtm_family = AF_INET6;
    body.rtm_dst_len = 128;
    body.rtm_src_len = 128;
    body.rtm_flags = flags;
    Request request(RTM_GETROUTE, 0, body);
    request.add(RTA_DST, destination.bytes());
    request.add(RTA_SRC, source.bytes());
    const auto answer = ask(questions_, std::move(request));
    if (!answer) return tl::unexpected(answer.error());
    const auto message = Message::first_of(*answer);
    if (!message || message->type() != RTM_NEWROUTE ||
        message->body<rtmsg>().rtm_type != RTN_UNICAST) {
        return fail(ErrorCode::not_found, "no way to " + destination.to_string());
    }
    RouteAnswer out;
    out.prefix = destination_in(*message);
    out.hops = hops_in(*message);
    out.has_object = !message->attribute(sizeof body, RTA_NH_ID).empty();
    out.is_clone = (message->body<rtmsg>().rtm_flags & RTM_F_CLONED) != 0;
    // What was learned of the path to one address is not the route's.
    const auto metrics = message->attribute(sizeof body, RTA_METRICS);
    if (!out.is_clone) out.mtu = number_in<std::uint32_t>(Message::find(metrics, 0, RTAX_MTU));
    return out;
}

Result<Link> HostNetwork::link(int interface) {
    ifinfomsg body{};
    body.ifi_index = interface;
    const auto answer = ask(questions_, Request(RTM_GETLINK, 0, body));
    if (!answer) return tl::unexpected(answer.error());
    const auto message = Message::first_of(*answer);
    if (!message || message->type() != RTM_NEWLINK) {
        return fail(ErrorCode::not_found, "no interface " + std::to_string(interface));
    }
    Link out;
    out.mtu = number_in<std::uint32_t>(message->attribute(sizeof body, IFLA_MTU));
    if (message->body<ifinfomsg>().ifi_type == ARPHRD_ETHER) {
        out.address = link_address_in(message->attribute(sizeof body, IFLA_ADDRESS));
    }
    if (const auto features = xdp_features(interface)) {
        out.takes_frames = (*features & takes_redirected_frames) != 0;
    } else {  // most drivers with XDP take frames, none without does
        const auto xdp = message->attribute(sizeof body, IFLA_XDP);
        const auto attached = number_in<std::uint8_t>(Message::find(xdp, 0, IFLA_XDP_ATTACHED));
        out.takes_frames = attached == XDP_ATTACHED_DRV;
    }
    return out;
}

std::uint16_t HostNetwork::find_device_family() {
    genlmsghdr body{};
    body.cmd = CTRL_CMD_GETFAMILY;
    body.version = 1;
    Request request(GENL_ID_CTRL, 0, body);
    std::vector<std::uint8_t> name(device_family_name.begin(), device_family_name.end());
    name.push_back(0);
    request.add(CTRL_ATTR_FAMILY_NAME, name);
    const auto answer = ask(devices_, std::move(request));
    const auto message = answer ? Message::first_of(*answer) : std::nullopt;
    if (!message) return 0;
    return number_in<std::uint16_t>(message->attribute(sizeof body, CTRL_ATTR_FAMILY_ID));
}

// None: the kernel does not say.
std::optional<std::uint64_t> HostNetwork::xdp_features(int interface) {
    if (device_family_ == 0) return std::nullopt;
    genlmsghdr body{};
    body.cmd = device_get;
    body.version = 1;
    Request request(device_family_, 0, body);
    request.add(device_interface, bytes_of(static_cast<std::uint32_t>(interface)));
    const auto answer = ask(devices_, std::move(request));
    const auto message = answer ? Message::first_of(*answer) : std::nullopt;
    if (!message) return 0;
    return number_in<std::uint64_t>(message->attribute(sizeof body, device_xdp_features));
}

std::optional<bool> HostNetwork::runs_xdp(int interface) {
    const auto features = xdp_features(interface);
    if (!features) return std::nullopt;
    return (*features & runs_programs) != 0;
}

std::optional<LinkAddress> HostNetwork::neighbour(int interface, const Ipv6Address& address) {
    Request request(RTM_GETNEIGH, 0, neighbour_of(interface));
    request.add(NDA_DST, address.bytes());
    const auto answer = ask(questions_, std::move(request));
    if (!answer) return std::nullopt;
    const auto message = Message::first_of(*answer);
    if (!message || message->type() != RTM_NEWNEIGH) return std::nullopt;
    return neighbour_in(*message).link_address;
}

void HostNetwork::probe(int interface, const Ipv6Address& address) {
    auto body = neighbour_of(interface);
    body.ndm_flags = NTF_USE;
    Request request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_ACK, body);
    request.add(NDA_DST, address.bytes());
    static_cast<void>(ask(questions_, std::move(request)));
}

News HostNetwork::take_news() {
    News news;
    std::vector<std::uint8_t> buffer(answer_size_max);
    for (int i = 0; i < news_at_once_max; ++i) {
        const auto size = ::recv(monitor_.number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size < 0 && errno == ENOBUFS) {
            // Everything may have changed.
            news.routes = news.links = news.entrances = news.all_neighbours = true;
            doubt_ = RoutesDoubt::some_missing;
            continue;
        }
        if (size <= 0) return news;
        auto left = std::span<const std::uint8_t>(buffer).first(static_cast<std::size_t>(size));
        while (const auto message = Message::first_of(left)) {
            take_news_of(*message, news);
            left = left.subspan(std::min(left.size(), message->space()));
        }
    }
    return news;
}

void HostNetwork::take_news_of(const Message& message, News& news) {
    switch (message.type()) {
        case RTM_NEWNEIGH:
        case RTM_DELNEIGH:
            if (message.body<ndmsg>().ndm_family != AF_INET6) return;
            news.neighbours.push_back(neighbour_in(message));
            return;
        case RTM_NEWQDISC:
        case RTM_DELQDISC:
        case RTM_NEWTFILTER:
        case RTM_DELTFILTER:
        case RTM_NEWNETCONF:
        case RTM_DELNETCONF: news.entrances = true; return;
        case RTM_NEWROUTE:
        case RTM_DELROUTE:
        case RTM_NEWRULE:
        case RTM_DELRULE:
        case RTM_NEWNEXTHOP:
        case RTM_DELNEXTHOP: take_routing(message, news); return;
        default:  // IPv4 routes of a link that is down go without a word
            news.routes = news.links = news.entrances = true;
            doubt_ = std::max(doubt_, RoutesDoubt::some_gone);
    }
}

// A route of IPv4 says only where packets may come in from.
void HostNetwork::take_routing(const Message& message, News& news) {
    const bool is_route = message.type() == RTM_NEWROUTE || message.type() == RTM_DELROUTE;
    const auto body = message.body<rtmsg>();
    const auto interface = message.attribute(sizeof body, RTA_OIF);
    if (is_route && ignored_ != 0 && number_in<std::int32_t>(interface) == ignored_) return;
    if (!is_route || body.rtm_family == AF_INET6) news.routes = true;
    if (routes_.take(message)) news.entrances = true;
    const bool is_new = message.type() == RTM_NEWROUTE || message.type() == RTM_NEWRULE ||
                        message.type() == RTM_NEWNEXTHOP;
    if (is_new && !message.is_replacement()) return;
    doubt_ = std::max(doubt_, RoutesDoubt::some_gone);
}

Ipv6Prefix HostNetwork::cell_of(const Ipv6Address& address) const {
    if (doubt_ == RoutesDoubt::some_missing) return {address, 128};
    return routes_.cell_of(address);
}

void HostNetwork::renew_routes(HostRoutes routes, bool are_whole) {
    if (!are_whole) {
        routes_.add(routes);
        doubt_ = std::max(doubt_, RoutesDoubt::some_gone);
        return;
    }
    routes_ = std::move(routes);
    doubt_ = RoutesDoubt::none;
}

}  // namespace dstm::tep::bpf
