// RTM_GETTFILTER, its answer read with bounds.
#include "tep/bpf/tc_filters.hpp"

#include <utility>

#include <linux/pkt_cls.h>

#include "tep/bpf/netlink_message.hpp"

namespace dstm::tep::bpf {
namespace {

using netlink::Message;
using netlink::text_in;

// Besides filters the kernel tells of their priorities: with handle 0.
void take_filter(const Message& message, std::vector<TcFilter>& out) {
    const auto about = message.body<tcmsg>();
    if (about.tcm_handle == 0) return;
    TcFilter filter{about.tcm_info >> 16, about.tcm_handle, {}};
    if (text_in(message.attribute(sizeof about, TCA_KIND)) == "bpf") {
        const auto options = message.attribute(sizeof about, TCA_OPTIONS);
        filter.name = text_in(Message::find(options, 0, TCA_BPF_NAME));
    }
    out.push_back(std::move(filter));
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
    std::vector<TcFilter> filters;
    const auto read = netlink::for_each_answer(
        *socket, question, "reading tc filters", [&](const Message& message) {
            if (message.type() == RTM_NEWTFILTER) take_filter(message, filters);
            return true;
        });
    if (!read) return tl::unexpected(read.error());
    return filters;
}

}  // namespace dstm::tep::bpf
