// RTM_NEWLINK and RTM_DELLINK by libnl-3.
#include "common/dataplane/link_news.hpp"

#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/socket.h>

#include "common/dataplane/netlink_detail.hpp"

namespace dstm::dataplane {
namespace {

using namespace detail;

constexpr int reads_at_once = 1000;

int note_link(nl_msg* message, void* out) {
    const auto* header = nlmsg_hdr(message);
    if (nlmsg_valid_hdr(header, sizeof(ifinfomsg)) != 0) {
        const auto* link = static_cast<const ifinfomsg*>(nlmsg_data(header));
        static_cast<std::set<int>*>(out)->insert(link->ifi_index);
    }
    return NL_OK;
}

}  // namespace

struct LinkNews::Impl {
    Socket socket;
    std::set<int> changed;
};

LinkNews::LinkNews(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LinkNews::LinkNews(LinkNews&&) noexcept = default;
LinkNews& LinkNews::operator=(LinkNews&&) noexcept = default;
LinkNews::~LinkNews() = default;

Result<LinkNews> LinkNews::open() {
    auto socket = open_listener({RTNLGRP_LINK});
    if (!socket) return tl::unexpected(socket.error());
    auto impl = std::make_unique<Impl>(Impl{std::move(*socket), {}});
    nl_socket_modify_cb(impl->socket.get(), NL_CB_VALID, NL_CB_CUSTOM, note_link, &impl->changed);
    return LinkNews(std::move(impl));
}

int LinkNews::descriptor() const { return nl_socket_get_fd(impl_->socket.get()); }

std::optional<std::set<int>> LinkNews::take() {
    bool is_complete = true;
    for (int reads = 0; reads < reads_at_once; ++reads) {
        const int error = nl_recvmsgs_default(impl_->socket.get());
        // ENOBUFS is "no memory" to libnl.
        if (error == -NLE_NOMEM)
            is_complete = false;
        else if (error < 0)
            break;
    }
    auto out = std::exchange(impl_->changed, {});
    return is_complete ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace dstm::dataplane
