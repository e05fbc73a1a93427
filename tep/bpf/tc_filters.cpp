// RTM_GETTFILTER, its answer read with bounds.
#include "tep/bpf/tc_filters.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include <linux/pkt_cls.h>

#include "tep/bpf/netlink_message.hpp"

namespace dstm::tep::bpf {
namespace {

using netlink::Message;
using Bytes = std::span<const std::uint8_t>;

std::string text_of(Bytes value) {
    const std::string text(value.begin(), value.end());
    return text.substr(0, text.find('\0'));
}

// Besides filters the kernel tells of their priorities: with handle 0.
void take_filter(const Message& message, std::vector<TcFilter>& out) {
    const auto about = message.body<tcmsg>();
    if (about.tcm_handle == 0) return;
    TcFilter filter{about.tcm_info >> 16, about.tcm_handle, {}};
    if (text_of(message.attribute(sizeof about, TCA_KIND)) == "bpf") {
        const auto options = message.attribute(sizeof about, TCA_OPTIONS);
        filter.name = text_of(Message::find(options, 0, TCA_BPF_NAME));
    }
    out.push_back(std::move(filter));
}

// More is to come: true.
Result<bool> take_messages(Bytes answer, std::vector<TcFilter>& out) {
    while (const auto message = Message::first_of(answer)) {
        if (message->type() == NLMSG_DONE) return false;
        if (message->type() == NLMSG_ERROR) {
            return tl::unexpected(
                error_from_errno(-message->body<nlmsgerr>().error, "reading tc filters"));
        }
        if (message->type() == RTM_NEWTFILTER) take_filter(*message, out);
        answer = answer.subspan(std::min(answer.size(), message->space()));
    }
    return true;
}

}  // namespace

Result<std::vector<TcFilter>> filters_on(int interface, TcDirection direction) {
    const auto socket = netlink::open_socket(NETLINK_ROUTE);
    if (!socket) return tl::unexpected(socket.error());
    tcmsg about{};
    about.tcm_ifindex = interface;
    about.tcm_parent = TC_H_MAKE(
        TC_H_CLSACT, direction == TcDirection::ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
    const auto question = netlink::Request(RTM_GETTFILTER, NLM_F_DUMP, about).take();
    if (::send(socket->number(), question.data(), question.size(), 0) < 0) {
        return tl::unexpected(error_from_errno(errno, "asking for tc filters"));
    }
    std::vector<TcFilter> filters;
    std::array<std::uint8_t, 32768> answer{};
    for (;;) {
        const auto size = ::recv(socket->number(), answer.data(), answer.size(), 0);
        if (size < 0) return tl::unexpected(error_from_errno(errno, "reading tc filters"));
        const auto more = take_messages(Bytes(answer).first(static_cast<std::size_t>(size)),
                                        filters);
        if (!more) return tl::unexpected(more.error());
        if (!*more) return filters;
    }
}

}  // namespace dstm::tep::bpf
