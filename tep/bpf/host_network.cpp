// Netlink messages, written and read with bounds; nothing outside knows their form.
#include "tep/bpf/host_network.hpp"

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include <linux/genetlink.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;

constexpr std::size_t answer_size_max = 64 * 1024;
constexpr std::uint16_t known_states =
    NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;

// Since Linux 6.3: linux/netdev.h, which Debian 12 does not have.
constexpr std::string_view device_family_name = "netdev";
constexpr std::uint8_t device_get = 1;                // NETDEV_CMD_DEV_GET
constexpr std::uint16_t device_interface = 1;         // NETDEV_A_DEV_IFINDEX
constexpr std::uint16_t device_xdp_features = 3;      // NETDEV_A_DEV_XDP_FEATURES
constexpr std::uint64_t takes_redirected_frames = 4;  // NETDEV_XDP_ACT_NDO_XMIT

// A request that is being written: one struct, then attributes.
class Request {
public:
    template <class Body>
    Request(std::uint16_t type, std::uint16_t flags, const Body& body)
        : bytes_(NLMSG_SPACE(sizeof(Body))) {
        nlmsghdr header{};
        header.nlmsg_type = type;
        header.nlmsg_flags = static_cast<__u16>(NLM_F_REQUEST | flags);
        std::memcpy(bytes_.data(), &header, sizeof header);
        std::memcpy(bytes_.data() + NLMSG_HDRLEN, &body, sizeof body);
    }

    void add(std::uint16_t type, std::span<const std::uint8_t> value) {
        rtattr attribute{};
        attribute.rta_type = type;
        attribute.rta_len = static_cast<unsigned short>(RTA_LENGTH(value.size()));
        const auto at = bytes_.size();
        bytes_.resize(at + RTA_SPACE(value.size()));
        std::memcpy(bytes_.data() + at, &attribute, sizeof attribute);
        std::memcpy(bytes_.data() + at + RTA_LENGTH(0), value.data(), value.size());
    }

    [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

private:
    std::vector<std::uint8_t> bytes_;
};

// One message that was received, taken apart; reads stay within it.
class Message {
public:
    // The first message of `bytes`, none when there is no whole one.
    static std::optional<Message> first_of(std::span<const std::uint8_t> bytes) {
        nlmsghdr header{};
        if (bytes.size() < sizeof header) return std::nullopt;
        std::memcpy(&header, bytes.data(), sizeof header);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size()) {
            return std::nullopt;
        }
        return Message(header, bytes.first(header.nlmsg_len));
    }

    [[nodiscard]] std::uint16_t type() const { return header_.nlmsg_type; }
    [[nodiscard]] std::uint32_t sequence() const { return header_.nlmsg_seq; }
    [[nodiscard]] std::size_t space() const { return NLMSG_ALIGN(header_.nlmsg_len); }

    template <class Body>
    [[nodiscard]] Body body() const {
        Body out{};
        if (bytes_.size() >= NLMSG_HDRLEN + sizeof out) {
            std::memcpy(&out, bytes_.data() + NLMSG_HDRLEN, sizeof out);
        }
        return out;
    }

    // Of the attributes behind a body of `body_size`; empty when there is none.
    [[nodiscard]] std::span<const std::uint8_t> attribute(std::size_t body_size,
                                                          std::uint16_t type) const {
        return find(bytes_, NLMSG_SPACE(body_size), type);
    }
    [[nodiscard]] static std::span<const std::uint8_t> find(std::span<const std::uint8_t> bytes,
                                                            std::size_t at, std::uint16_t type) {
        rtattr attribute{};
        while (at + sizeof attribute <= bytes.size()) {
            std::memcpy(&attribute, bytes.data() + at, sizeof attribute);
            if (attribute.rta_len < sizeof attribute || at + attribute.rta_len > bytes.size()) {
                return {};
            }
            if ((attribute.rta_type & NLA_TYPE_MASK) == type) {
                return bytes.subspan(at + RTA_LENGTH(0), attribute.rta_len - RTA_LENGTH(0));
            }
            at += RTA_ALIGN(attribute.rta_len);
        }
        return {};
    }

private:
    Message(const nlmsghdr& header, std::span<const std::uint8_t> bytes)
        : header_(header), bytes_(bytes) {}
    nlmsghdr header_;
    std::span<const std::uint8_t> bytes_;
};

std::optional<Ipv6Address> address_in(std::span<const std::uint8_t> value) {
    Ipv6Address::Bytes bytes;
    if (value.size() != bytes.size()) return std::nullopt;
    std::memcpy(bytes.data(), value.data(), bytes.size());
    return Ipv6Address(bytes);
}

std::optional<LinkAddress> link_address_in(std::span<const std::uint8_t> value) {
    LinkAddress out;
    if (value.size() != out.size()) return std::nullopt;
    std::memcpy(out.data(), value.data(), out.size());
    return out;
}

template <class Number>
Number number_in(std::span<const std::uint8_t> value) {
    Number out = 0;
    if (value.size() == sizeof out) std::memcpy(&out, value.data(), sizeof out);
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

template <class Number>
std::span<const std::uint8_t> bytes_of(const Number& number) {
    return {reinterpret_cast<const std::uint8_t*>(&number), sizeof number};
}

Result<Descriptor> open_socket(int protocol, std::uint32_t groups) {
    Descriptor out(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = groups;
    if (!out.is_open() ||
        ::bind(out.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return tl::unexpected(error_from_errno(errno, "opening netlink"));
    }
    return out;
}

}  // namespace

HostNetwork::HostNetwork(Descriptor questions, Descriptor devices, Descriptor monitor)
    : questions_(std::move(questions)),
      devices_(std::move(devices)),
      monitor_(std::move(monitor)) {
    device_family_ = find_device_family();
}

Result<HostNetwork> HostNetwork::open() {
    auto questions = open_socket(NETLINK_ROUTE, 0);
    auto devices = open_socket(NETLINK_GENERIC, 0);
    auto monitor = open_socket(NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_TC |
                                                  RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_IFADDR |
                                                  RTMGRP_IPV6_ROUTE | RTMGRP_IPV6_IFADDR);
    if (!questions) return tl::unexpected(questions.error());
    if (!devices) return tl::unexpected(devices.error());
    if (!monitor) return tl::unexpected(monitor.error());
    return HostNetwork(std::move(*questions), std::move(*devices), std::move(*monitor));
}

Result<std::vector<std::uint8_t>> HostNetwork::ask(const Descriptor& socket,
                                                   std::vector<std::uint8_t> request) {
    nlmsghdr header{};
    std::memcpy(&header, request.data(), sizeof header);
    header.nlmsg_len = static_cast<__u32>(request.size());
    header.nlmsg_seq = ++sequence_;
    std::memcpy(request.data(), &header, sizeof header);
    if (::send(socket.number(), request.data(), request.size(), 0) < 0) {
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

Result<RouteAnswer> HostNetwork::route_to(const Ipv6Address& destination,
                                          const Ipv6Address& source) {
    rtmsg body{};
    body.rtm_family = AF_INET6;
    body.rtm_dst_len = 128;
    body.rtm_src_len = 128;
    body.rtm_flags = RTM_F_FIB_MATCH;
    Request request(RTM_GETROUTE, 0, body);
    request.add(RTA_DST, destination.bytes());
    request.add(RTA_SRC, source.bytes());
    const auto answer = ask(questions_, request.take());
    if (!answer) return tl::unexpected(answer.error());
    const auto message = Message::first_of(*answer);
    if (!message || message->type() != RTM_NEWROUTE) {
        return fail(ErrorCode::not_found, "no route to " + destination.to_string());
    }
    const auto route = message->body<rtmsg>();
    RouteAnswer out;
    out.prefix_length = route.rtm_dst_len;
    const auto interface = message->attribute(sizeof route, RTA_OIF);
    out.interface = static_cast<int>(number_in<std::uint32_t>(interface));
    out.gateway = address_in(message->attribute(sizeof route, RTA_GATEWAY));
    const auto metrics = message->attribute(sizeof route, RTA_METRICS);
    out.mtu = number_in<std::uint32_t>(Message::find(metrics, 0, RTAX_MTU));
    // A route of several ways (RTA_MULTIPATH) names no interface: the daemon sends those.
    if (out.interface == 0 || route.rtm_type != RTN_UNICAST) {
        return fail(ErrorCode::not_found, "no single way to " + destination.to_string());
    }
    return out;
}

Result<Link> HostNetwork::link(int interface) {
    ifinfomsg body{};
    body.ifi_index = interface;
    const auto answer = ask(questions_, Request(RTM_GETLINK, 0, body).take());
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
    const auto xdp = message->attribute(sizeof body, IFLA_XDP);
    const auto attached = number_in<std::uint8_t>(Message::find(xdp, 0, IFLA_XDP_ATTACHED));
    out.takes_frames = takes_frames(interface, attached == XDP_ATTACHED_DRV);
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
    const auto answer = ask(devices_, request.take());
    const auto message = answer ? Message::first_of(*answer) : std::nullopt;
    if (!message) return 0;
    return number_in<std::uint16_t>(message->attribute(sizeof body, CTRL_ATTR_FAMILY_ID));
}

// A kernel that does not say: most drivers with XDP take frames, none without does.
bool HostNetwork::takes_frames(int interface, bool has_driver_program) {
    if (device_family_ == 0) return has_driver_program;
    genlmsghdr body{};
    body.cmd = device_get;
    body.version = 1;
    Request request(device_family_, 0, body);
    request.add(device_interface, bytes_of(static_cast<std::uint32_t>(interface)));
    const auto answer = ask(devices_, request.take());
    const auto message = answer ? Message::first_of(*answer) : std::nullopt;
    if (!message) return false;
    const auto features = message->attribute(sizeof body, device_xdp_features);
    return (number_in<std::uint64_t>(features) & takes_redirected_frames) != 0;
}

std::optional<LinkAddress> HostNetwork::neighbour(int interface, const Ipv6Address& address) {
    Request request(RTM_GETNEIGH, 0, neighbour_of(interface));
    request.add(NDA_DST, address.bytes());
    const auto answer = ask(questions_, request.take());
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
    static_cast<void>(ask(questions_, request.take()));
}

News HostNetwork::take_news() {
    News news;
    std::vector<std::uint8_t> buffer(answer_size_max);
    for (;;) {
        const auto size = ::recv(monitor_.number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size < 0 && errno == ENOBUFS) {
            news.routes = true;  // some were lost: everything may have changed
            continue;
        }
        if (size <= 0) return news;
        auto left = std::span<const std::uint8_t>(buffer).first(static_cast<std::size_t>(size));
        while (const auto message = Message::first_of(left)) {
            if (message->type() == RTM_NEWNEIGH || message->type() == RTM_DELNEIGH) {
                if (message->body<ndmsg>().ndm_family == AF_INET6) {
                    news.neighbours.push_back(neighbour_in(*message));
                }
            } else {
                news.routes = true;
            }
            left = left.subspan(std::min(left.size(), message->space()));
        }
    }
}

}  // namespace dstm::tep::bpf
