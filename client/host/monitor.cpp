// One call for any number of reports.
#include "client/host/monitor.hpp"

#include <cerrno>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <linux/rtnetlink.h>

#include "common/dataplane/netlink_detail.hpp"
#include "common/io/asio.hpp"

namespace dstm::client {
namespace {

using NetlinkSocket = dataplane::detail::Socket;

constexpr int reports_at_once = 1000;

}  // namespace

struct Monitor::State : std::enable_shared_from_this<Monitor::State> {
    State(asio::io_context& context, NetlinkSocket reports, std::function<void()> handler)
        : netlink(std::move(reports)),
          // Of its own: each of the two closes one.
          descriptor(context, ::fcntl(nl_socket_get_fd(netlink.get()), F_DUPFD_CLOEXEC, 0)),
          changed(std::move(handler)) {}

    NetlinkSocket netlink;
    asio::posix::stream_descriptor descriptor;
    std::function<void()> changed;

    void wait() {
        descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                              [self = shared_from_this()](const ErrorCodeOfAsio& error) {
                                  if (error || !self->changed) return;
                                  self->drain();
                                  self->changed();
                                  if (self->descriptor.is_open()) self->wait();
                              });
    }

    // Reports that were dropped for want of space (ENOBUFS, to libnl out of memory) are changes as
    // well.
    void drain() {
        for (int bound = 0; bound < reports_at_once; ++bound) {
            const int error = nl_recvmsgs_default(netlink.get());
            if (error < 0 && error != -NLE_NOMEM) return;
        }
    }
};

Result<Monitor> Monitor::start(asio::io_context& context, std::function<void()> changed) {
    // Links as well: the kernel does not tell which IPv4 routes went with one.
    auto socket =
        dataplane::detail::open_listener({RTNLGRP_LINK, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE,
                                          RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE});
    if (!socket) return tl::unexpected(socket.error());
    auto state = std::make_shared<State>(context, std::move(*socket), std::move(changed));
    state->wait();
    return Monitor(std::move(state));
}

Monitor::Monitor(std::shared_ptr<State> state) : state_(std::move(state)) {}
Monitor::Monitor(Monitor&&) noexcept = default;

Monitor::~Monitor() {
    if (!state_) return;
    state_->changed = nullptr;
    ErrorCodeOfAsio ignored;
    state_->descriptor.close(ignored);
}

}  // namespace dstm::client
