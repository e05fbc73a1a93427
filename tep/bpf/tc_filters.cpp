// RTM_GETTFILTER, its answer read with bounds.
#include "tep/bpf/tc_filters.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "common/dataplane/descriptor.hpp"

namespace dstm::tep::bpf {
namespace {

using Bytes = std::span<const std::uint8_t>;

struct Question {
    nlmsghdr header;
    tcmsg about;
};
static_assert(sizeof(Question) == NLMSG_LENGTH(sizeof(tcmsg)));

template <class Body>
Body read(Bytes bytes) {
    Body out{};
    if (bytes.size() >= sizeof out) std::memcpy(&out, bytes.data(), sizeof out);
    return out;
}

// The value of the first attribute of this type; empty when there is none.
Bytes find(Bytes attributes, std::uint16_t type) {
    while (attributes.size() >= sizeof(rtattr)) {
        const auto attribute = read<rtattr>(attributes);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > attributes.size()) break;
        if ((attribute.rta_type & NLA_TYPE_MASK) == type) {
            return attributes.first(attribute.rta_len).subspan(sizeof attribute);
        }
        attributes = attributes.subspan(
            std::min<std::size_t>(RTA_ALIGN(attribute.rta_len), attributes.size()));
    }
    return {};
}

std::string text_of(Bytes value) {
    const std::string text(value.begin(), value.end());
    return text.substr(0, text.find('\0'));
}

// Besides filters the kernel tells of their priorities: with handle 0.
void take_filter(Bytes body, std::vector<TcFilter>& out) {
    const auto about = read<tcmsg>(body);
    if (body.size() < sizeof about || about.tcm_handle == 0) return;
    TcFilter filter{about.tcm_info >> 16, about.tcm_handle, {}};
    const auto attributes = body.subspan(sizeof about);
    if (text_of(find(attributes, TCA_KIND)) == "bpf") {
        filter.name = text_of(find(find(attributes, TCA_OPTIONS), TCA_BPF_NAME));
    }
    out.push_back(std::move(filter));
}

// More is to come: true.
Result<bool> take_messages(Bytes answer, std::vector<TcFilter>& out) {
    while (answer.size() >= sizeof(nlmsghdr)) {
        const auto header = read<nlmsghdr>(answer);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > answer.size()) break;
        const auto body = answer.first(header.nlmsg_len).subspan(sizeof header);
        if (header.nlmsg_type == NLMSG_DONE) return false;
        if (header.nlmsg_type == NLMSG_ERROR) {
            return tl::unexpected(error_from_errno(-read<nlmsgerr>(body).error,
                                                   "reading tc filters"));
        }
        if (header.nlmsg_type == RTM_NEWTFILTER) take_filter(body, out);
        answer = answer.subspan(
            std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), answer.size()));
    }
    return true;
}

}  // namespace

Result<std::vector<TcFilter>> filters_on(int interface, TcDirection direction) {
    const dataplane::Descriptor socket(
        ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    Question question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = RTM_GETTFILTER;
    question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    question.about.tcm_ifindex = interface;
    question.about.tcm_parent = TC_H_MAKE(
        TC_H_CLSACT, direction == TcDirection::ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
    if (::send(socket.number(), &question, sizeof question, 0) < 0) {
        return tl::unexpected(error_from_errno(errno, "asking for tc filters"));
    }
    std::vector<TcFilter> filters;
    std::array<std::uint8_t, 32768> answer{};
    for (;;) {
        const auto size = ::recv(socket.number(), answer.data(), answer.size(), 0);
        if (size < 0) return tl::unexpected(error_from_errno(errno, "reading tc filters"));
        const auto more = take_messages(Bytes(answer).first(static_cast<std::size_t>(size)),
                                        filters);
        if (!more) return tl::unexpected(more.error());
        if (!*more) return filters;
    }
}

}  // namespace dstm::tep::bpf
