// Who hangs on the hooks: nf_tables lists its chains, and /proc has the tables of iptables' own and
// how many connections are tracked. Of others a kernel with nfnetlink_hook tells; Debian 12's has
// none.
#include "tep/bpf/firewall.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_hook.h>
#include <unistd.h>

#include "common/dataplane/host_changes.hpp"
#include "tep/bpf/ipsec.hpp"
#include "tep/bpf/netlink_message.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;
using netlink::Message;
using netlink::number_in;
using netlink::text_in;

constexpr int tries_max = 3;  // of a list that changes while it is read

std::uint8_t protocol_of(ForwardFamily family) {
    return family == ForwardFamily::ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

std::uint16_t type_of(int subsystem, int message) {
    return static_cast<std::uint16_t>(subsystem << 8 | message);
}

bool is_on_the_way(std::uint32_t hook) {
    return hook == NF_INET_PRE_ROUTING || hook == NF_INET_FORWARD || hook == NF_INET_POST_ROUTING;
}

// A shortcut takes packets before the ingress hook of their interface; of egress hooks it is seen.
bool looks_at(ForwardFamily family, std::uint8_t protocol, std::uint32_t hook) {
    if (protocol == NFPROTO_NETDEV) return hook == NF_NETDEV_INGRESS;
    if (protocol == NFPROTO_INET) return is_on_the_way(hook) || hook == NF_INET_INGRESS;
    return protocol == protocol_of(family) && is_on_the_way(hook);
}

// A chain that is attached to a hook; others have none.
bool is_chain_that_looks(ForwardFamily family, const Message& message) {
    const auto about = message.body<nfgenmsg>();
    const auto attached = message.attribute(sizeof about, NFTA_CHAIN_HOOK);
    if (attached.empty()) return false;
    const auto hook = number_in<std::uint32_t>(Message::find(attached, 0, NFTA_HOOK_HOOKNUM));
    return looks_at(family, about.nfgen_family, ntohl(hook));
}

// The name of a chain of nftables; empty when there is none that looks.
Result<std::string> find_chain(ForwardFamily family) {
    const auto socket = netlink::open_socket(NETLINK_NETFILTER);
    if (!socket) return tl::unexpected(socket.error());
    const auto question = netlink::Request(type_of(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN),
                                           NLM_F_DUMP, nfgenmsg{})
                              .take();
    std::string found;
    const auto read = netlink::for_each_answer(
        *socket, question, "listing the chains of nftables", [&](const Message& message) {
            if (!is_chain_that_looks(family, message)) return true;
            found = "the chain " + text_in(message.attribute(sizeof(nfgenmsg), NFTA_CHAIN_NAME)) +
                    " of nftables' table " +
                    text_in(message.attribute(sizeof(nfgenmsg), NFTA_CHAIN_TABLE));
            return false;
        });
    if (!read) return tl::unexpected(read.error());
    return found;
}

// A kernel without nf_tables does not know the question, and has no chains.
ForwardAnswer ask_nftables(ForwardFamily family) {
    auto found = find_chain(family);
    for (int i = 1; i < tries_max && !found && found.error().code == ErrorCode::conflict; ++i) {
        found = find_chain(family);
    }
    if (found) return {found->empty() ? ForwardHook::empty : ForwardHook::taken, *found};
    if (found.error().code == ErrorCode::invalid) return {ForwardHook::empty, {}};
    return {ForwardHook::unknown, found.error().context};
}

// By nfnetlink_hook; a kernel without it says no.
bool is_taken(ForwardFamily family, std::uint32_t hook) {
    const auto socket = netlink::open_socket(NETLINK_NETFILTER);
    if (!socket) return false;
    nfgenmsg about{};
    about.nfgen_family = protocol_of(family);
    netlink::Request request(type_of(NFNL_SUBSYS_HOOK, NFNL_MSG_HOOK_GET), NLM_F_DUMP, about);
    const std::uint32_t number = htonl(hook);
    request.add(NFNLA_HOOK_HOOKNUM, netlink::bytes_of(number));
    bool found = false;
    static_cast<void>(netlink::for_each_answer(*socket, request.take(), "asking for hooks",
                                               [&](const Message&) {
                                                   found = true;
                                                   return false;
                                               }));
    return found;
}

// Those that have no other way to tell.
ForwardAnswer ask_for_others(ForwardFamily family) {
    for (const auto hook : {NF_INET_PRE_ROUTING, NF_INET_FORWARD, NF_INET_POST_ROUTING}) {
        if (is_taken(family, hook)) return {ForwardHook::taken, "a netfilter hook"};
    }
    return {ForwardHook::empty, {}};
}

// Empty when there is no such file. `directory` is always there: without it nothing is known.
Result<std::string> first_word(const char* directory, const std::string& name) {
    const auto path = std::string(directory) + "/" + name;
    const Descriptor parent(::open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!parent.is_open()) return tl::unexpected(error_from_errno(errno, path));
    const Descriptor file(::openat(parent.number(), name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open() && errno == ENOENT) return std::string();
    std::array<char, 256> text{};
    const auto size = file.is_open() ? ::read(file.number(), text.data(), text.size()) : -1;
    if (size < 0) return tl::unexpected(error_from_errno(errno, path));
    const std::string_view all(text.data(), static_cast<std::size_t>(size));
    return std::string(all.substr(0, all.find_first_of(" \n")));
}

// A table comes with its first use, and stands on the hooks with or without rules.
ForwardAnswer ask_iptables(ForwardFamily family) {
    const auto* const name = family == ForwardFamily::ipv4 ? "ip_tables_names" : "ip6_tables_names";
    const auto table = first_word("/proc/thread-self/net", name);
    if (!table) return {ForwardHook::unknown, table.error().context};
    if (table->empty()) return {ForwardHook::empty, {}};
    return {ForwardHook::taken, "the table " + *table + " of iptables"};
}

// Its users, such as a rule about the state of connections to this host, have it see all packets.
ForwardAnswer ask_conntrack() {
    const auto count = first_word("/proc/sys/net", "netfilter/nf_conntrack_count");
    if (!count) return {ForwardHook::unknown, count.error().context};
    if (count->empty() || *count == "0") return {ForwardHook::empty, {}};
    return {ForwardHook::taken, "conntrack, which has " + *count + " connections"};
}

}  // namespace

ForwardAnswer forward_hook(ForwardFamily family) {
    auto answer = ask_nftables(family);
    if (answer.hook == ForwardHook::empty) answer = ipsec_policy(family);
    if (answer.hook == ForwardHook::empty) answer = ask_iptables(family);
    if (answer.hook == ForwardHook::empty) answer = ask_conntrack();
    if (answer.hook == ForwardHook::empty) answer = ask_for_others(family);
    return answer;
}

bool is_forwarding(ForwardFamily family) {
    const auto* const setting =
        family == ForwardFamily::ipv4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
    return dataplane::read_sysctl(setting) == "1";
}

std::string way_on(const ForwardAnswer& answer) {
    switch (answer.hook) {
        case ForwardHook::empty: return "straight from interface to interface";
        case ForwardHook::taken: return "through the kernel's routing, to " + answer.why;
        case ForwardHook::unknown: break;
    }
    return "through the kernel's routing: who looks at them there is not known: " + answer.why;
}

}  // namespace dstm::tep::bpf
