// Questions to xfrm's netlink, which a kernel without IPsec does not have.
#include "tep/bpf/ipsec.hpp"

#include <cstdint>

#include <linux/xfrm.h>
#include <sys/socket.h>

#include "tep/bpf/netlink_message.hpp"

namespace dstm::tep::bpf {
namespace {

bool is_of(ForwardFamily family, const xfrm_userpolicy_info& policy) {
    const auto wanted = family == ForwardFamily::ipv4 ? AF_INET : AF_INET6;
    return policy.sel.family == wanted || policy.sel.family == AF_UNSPEC;
}

// What becomes of packets that no policy is for; since Linux 5.15.
bool blocks_the_rest(const dataplane::Descriptor& socket) {
    bool blocks = false;
    const auto question =
        netlink::Request(XFRM_MSG_GETDEFAULT, 0, xfrm_userpolicy_default{}).take();
    static_cast<void>(netlink::for_each_answer(
        socket, question, "asking for the policy of the rest", [&](const netlink::Message& said) {
            const auto rest = said.body<xfrm_userpolicy_default>();
            blocks = rest.in == XFRM_USERPOLICY_BLOCK || rest.fwd == XFRM_USERPOLICY_BLOCK ||
                     rest.out == XFRM_USERPOLICY_BLOCK;
            return false;
        }));
    return blocks;
}

}  // namespace

ForwardAnswer ipsec_policy(ForwardFamily family) {
    const auto socket = netlink::open_socket(NETLINK_XFRM);
    if (!socket && socket.error().code == ErrorCode::not_found) return {ForwardHook::empty, {}};
    if (!socket) return {ForwardHook::unknown, socket.error().context};
    if (blocks_the_rest(*socket)) {
        return {ForwardHook::taken, "IPsec, which blocks what no policy is for"};
    }
    bool found = false;
    const auto question =
        netlink::Request(XFRM_MSG_GETPOLICY, NLM_F_DUMP, xfrm_userpolicy_id{}).take();
    const auto read = netlink::for_each_answer(
        *socket, question, "listing policies of IPsec", [&](const netlink::Message& message) {
            found = message.type() == XFRM_MSG_NEWPOLICY &&
                    is_of(family, message.body<xfrm_userpolicy_info>());
            return !found;
        });
    if (found) return {ForwardHook::taken, "a policy of IPsec"};
    if (!read) return {ForwardHook::unknown, read.error().context};
    return {ForwardHook::empty, {}};
}

}  // namespace dstm::tep::bpf
