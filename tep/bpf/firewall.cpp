// A question to nfnetlink for each hook that a forwarded packet passes: what hangs there.
#include "tep/bpf/firewall.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_hook.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "common/dataplane/descriptor.hpp"

namespace dstm::tep::bpf {
namespace {

struct Question {
    nlmsghdr header;
    nfgenmsg family;
    nlattr attribute;
    std::uint32_t hook;
};
static_assert(sizeof(Question) == NLMSG_HDRLEN + sizeof(nfgenmsg) + NLA_HDRLEN + 4);

ForwardHook ask(ForwardFamily family, std::uint32_t hook) {
    const dataplane::Descriptor socket(
        ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
    // A kernel without this protocol has no firewall either.
    if (!socket.is_open()) {
        return errno == EPROTONOSUPPORT ? ForwardHook::empty : ForwardHook::unknown;
    }
    Question question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = (NFNL_SUBSYS_HOOK << 8) | NFNL_MSG_HOOK_GET;
    question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    question.family.nfgen_family =
        family == ForwardFamily::ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    question.attribute.nla_type = NFNLA_HOOK_HOOKNUM;
    question.attribute.nla_len = NLA_HDRLEN + sizeof question.hook;
    question.hook = htonl(hook);
    if (::send(socket.number(), &question, sizeof question, 0) < 0) return ForwardHook::unknown;
    std::array<char, 8192> answer{};
    const auto size = ::recv(socket.number(), answer.data(), answer.size(), 0);
    nlmsghdr first{};
    if (size < static_cast<ssize_t>(sizeof first)) return ForwardHook::unknown;
    std::memcpy(&first, answer.data(), sizeof first);
    if (first.nlmsg_type == NLMSG_DONE) return ForwardHook::empty;
    if (first.nlmsg_type == NLMSG_ERROR) return ForwardHook::unknown;
    return ForwardHook::taken;
}

}  // namespace

ForwardHook forward_hook(ForwardFamily family) {
    for (const auto hook : {NF_INET_PRE_ROUTING, NF_INET_FORWARD, NF_INET_POST_ROUTING}) {
        const auto found = ask(family, hook);
        if (found != ForwardHook::empty) return found;
    }
    return ForwardHook::empty;
}

}  // namespace dstm::tep::bpf
