// A raw rtnetlink socket: one call for any number of reports.
#include "client/host/monitor.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/io/asio.hpp"

namespace dstm::client {

namespace {

// RFC 3549 s2.2: one or more messages, each behind a header. Nothing at all is a loss.
bool speaks_of_links_only(std::span<const char> reports) {
    if (reports.size() < sizeof(nlmsghdr)) return false;
    while (reports.size() >= sizeof(nlmsghdr)) {
        nlmsghdr header;
        std::memcpy(&header, reports.data(), sizeof header);
        if (header.nlmsg_type != RTM_NEWLINK && header.nlmsg_type != RTM_DELLINK) return false;
        const auto size = std::max<std::size_t>(header.nlmsg_len, sizeof header);
        reports = reports.subspan(std::min<std::size_t>(NLMSG_ALIGN(size), reports.size()));
    }
    return true;
}

}  // namespace

struct Monitor::State : std::enable_shared_from_this<Monitor::State> {
    State(asio::io_context& context, int descriptor, Handler handler)
        : socket(context, descriptor), changed(std::move(handler)) {}

    asio::posix::stream_descriptor socket;
    Handler changed;

    void wait() {
        socket.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](const ErrorCodeOfAsio& error) {
                              if (error || !self->changed) return;
                              const auto what = self->drain();
                              self->changed(what);
                              if (self->socket.is_open()) self->wait();
                          });
    }

    // Reports that were dropped for want of space (ENOBUFS) are changes as well.
    What drain() {
        alignas(nlmsghdr) std::array<char, 16384> buffer;
        auto what = What::links;
        for (int bound = 0; bound < 1000; ++bound) {
            const auto count =
                recv(socket.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (count < 0 && errno != ENOBUFS) break;
            const auto size = static_cast<std::size_t>(std::max<ssize_t>(count, 0));
            if (!speaks_of_links_only({buffer.data(), size})) what = What::all;
        }
        return what;
    }
};

Result<Monitor> Monitor::start(asio::io_context& context, Handler changed) {
    const int descriptor =
        ::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return tl::unexpected(error_from_errno(errno, "rtnetlink socket"));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    // Links as well: the kernel does not tell which IPv4 routes went with one.
    address.nl_groups = RTMGRP_LINK | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE |
                         RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE;
    if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        const int error = errno;
        ::close(descriptor);
        return tl::unexpected(error_from_errno(error, "listen to rtnetlink"));
    }
    auto state = std::make_shared<State>(context, descriptor, std::move(changed));
    state->wait();
    return Monitor(std::move(state));
}

Monitor::Monitor(std::shared_ptr<State> state) : state_(std::move(state)) {}
Monitor::Monitor(Monitor&&) noexcept = default;

Monitor::~Monitor() {
    if (!state_) return;
    state_->changed = nullptr;
    ErrorCodeOfAsio ignored;
    state_->socket.close(ignored);
}

}  // namespace dstm::client
