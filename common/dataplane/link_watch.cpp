// rtnetlink(7): messages of interfaces.
#include "common/dataplane/link_watch.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

namespace dstm::dataplane {

Result<LinkWatch> LinkWatch::open(int interface_index) {
    Descriptor news(
        ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK;
    if (!news.is_open() ||
        ::bind(news.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return tl::unexpected(error_from_errno(errno, "listen for changes of interfaces"));
    }
    return LinkWatch(std::move(news), interface_index);
}

bool LinkWatch::came_up() {
    bool out = false;
    std::array<std::uint8_t, 16384> message;
    for (;;) {
        const auto size = ::recv(news_.number(), message.data(), message.size(), 0);
        if (size < 0 && errno == ENOBUFS) {
            out = true;
            continue;
        }
        if (size <= 0) return out;
        // Such news come one in a datagram.
        nlmsghdr header{};
        ifinfomsg link{};
        if (static_cast<std::size_t>(size) < NLMSG_HDRLEN + sizeof link) continue;
        std::memcpy(&header, message.data(), sizeof header);
        std::memcpy(&link, message.data() + NLMSG_HDRLEN, sizeof link);
        if (header.nlmsg_type != RTM_NEWLINK || link.ifi_index != interface_index_) continue;
        const bool is_up = (link.ifi_flags & IFF_UP) != 0;
        out = out || (is_up && was_down_);
        was_down_ = !is_up;
    }
}

}  // namespace dstm::dataplane
