// A raw rtnetlink socket: one call for any number of reports.
#include "client/host/monitor.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/io/asio.hpp"

namespace dstm::client {

struct Monitor::State : std::enable_shared_from_this<Monitor::State> {
    State(asio::io_context& context, int descriptor, std::function<void()> handler)
        : socket(context, descriptor), changed(std::move(handler)) {}

    asio::posix::stream_descriptor socket;
    std::function<void()> changed;

    void wait() {
        socket.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](const ErrorCodeOfAsio& error) {
                              if (error || !self->changed) return;
                              self->drain();
                              self->changed();
                              if (self->socket.is_open()) self->wait();
                          });
    }

    // Reports that were dropped for want of space (ENOBUFS) are changes as well.
    void drain() {
        std::array<char, 16384> buffer;
        for (int bound = 0; bound < 1000; ++bound) {
            const auto count =
                recv(socket.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (count < 0 && errno != ENOBUFS) return;
        }
    }
};

Result<Monitor> Monitor::start(asio::io_context& context, std::function<void()> changed) {
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
