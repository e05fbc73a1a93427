// Qdiscs clsact and pfifo, classifier u32, action gact (tc-u32(8)) by libnl-3.
#include "common/dataplane/packet_filter.hpp"

#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <netlink/msg.h>
#include <netlink/route/act/gact.h>
#include <netlink/route/action.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/u32.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/fifo.h>
#include <netlink/route/tc.h>

#include "common/dataplane/netlink_detail.hpp"

namespace dstm::dataplane {
namespace {

using namespace detail;

using Qdisc = std::unique_ptr<rtnl_qdisc, Put<rtnl_qdisc_put>>;
using Classifier = std::unique_ptr<rtnl_cls, Put<rtnl_cls_put>>;
using Action = std::unique_ptr<rtnl_act, Put<rtnl_act_put>>;

constexpr std::uint32_t clsact_handle = TC_H_MAKE(TC_H_CLSACT, 0);
constexpr std::uint32_t ingress_hook = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr IngressRule drop_the_rest{0xff00, {}, {}, false};

// Where the addresses stand in the headers (RFC 791 s3.1, RFC 8200 s3).
struct Offsets {
    int source;
    int destination;
};
constexpr Offsets offsets_v4{12, 16};
constexpr Offsets offsets_v6{8, 24};

Qdisc qdisc(int device, const char* kind, std::uint32_t parent, std::uint32_t handle) {
    auto out = owned<Qdisc>(rtnl_qdisc_alloc());
    rtnl_tc_set_ifindex(TC_CAST(out.get()), device);
    rtnl_tc_set_parent(TC_CAST(out.get()), parent);
    if (handle != 0) rtnl_tc_set_handle(TC_CAST(out.get()), handle);
    rtnl_tc_set_kind(TC_CAST(out.get()), kind);
    return out;
}

Qdisc clsact(int device) { return qdisc(device, "clsact", TC_H_CLSACT, clsact_handle); }

// A queue without a place: it drops and counts everything.
Qdisc no_queue(int device) {
    auto out = qdisc(device, "pfifo", TC_H_ROOT, 0);
    rtnl_qdisc_fifo_set_limit(out.get(), 0);
    return out;
}

std::uint16_t protocol_of(const IngressRule& rule) {
    const auto& prefix = rule.source ? rule.source : rule.destination;
    if (!prefix) return ETH_P_ALL;
    return std::holds_alternative<Ipv4Prefix>(*prefix) ? ETH_P_IP : ETH_P_IPV6;
}

void add_key(rtnl_cls* classifier, const IpPrefix& prefix, int Offsets::*which) {
    if (const auto* v4 = std::get_if<Ipv4Prefix>(&prefix)) {
        const in_addr address{htonl(v4->address.host_order())};
        rtnl_u32_add_key_in_addr(classifier, &address, v4->length, offsets_v4.*which, 0);
        return;
    }
    const auto& v6 = std::get<Ipv6Prefix>(prefix);
    in6_addr address{};
    std::memcpy(&address, v6.address.bytes().data(), sizeof address);
    rtnl_u32_add_key_in6_addr(classifier, &address, v6.length, offsets_v6.*which, 0);
}

Classifier classifier(int device, const IngressRule& rule) {
    auto out = owned<Classifier>(rtnl_cls_alloc());
    rtnl_tc_set_ifindex(TC_CAST(out.get()), device);
    rtnl_tc_set_parent(TC_CAST(out.get()), ingress_hook);
    rtnl_tc_set_kind(TC_CAST(out.get()), "u32");
    rtnl_cls_set_prio(out.get(), rule.priority);
    rtnl_cls_set_protocol(out.get(), protocol_of(rule));
    return out;
}

// Of one qdisc, asked for by itself: a dump would bring those of every device.
struct DropsRead {
    std::uint64_t drops = 0;
    bool is_there = false;
};

void read_qdisc(nl_object* object, void* out) {
    auto& read = *static_cast<DropsRead*>(out);
    read.is_there = true;
    read.drops = rtnl_tc_get_stat(TC_CAST(object), RTNL_TC_DROPS);
}

int read_message(nl_msg* message, void* out) { return nl_msg_parse(message, read_qdisc, out); }

}  // namespace

struct PacketFilter::Impl {
    Socket socket;

    DropsRead read(int device, std::uint32_t parent, std::uint32_t handle) {
        DropsRead out;
        tcmsg question{.tcm_family = AF_UNSPEC,
                       .tcm__pad1 = 0,
                       .tcm__pad2 = 0,
                       .tcm_ifindex = device,
                       .tcm_handle = handle,
                       .tcm_parent = parent,
                       .tcm_info = 0};
        auto* asked = socket.get();
        const std::unique_ptr<nl_cb, Put<nl_cb_put>> callbacks(nl_cb_alloc(NL_CB_DEFAULT));
        nl_cb_set(callbacks.get(), NL_CB_VALID, NL_CB_CUSTOM, read_message, &out);
        bool is_over = false;
        const auto finish = [](nl_msg*, void* flag) {
            *static_cast<bool*>(flag) = true;
            return static_cast<int>(NL_STOP);
        };
        nl_cb_set(callbacks.get(), NL_CB_ACK, NL_CB_CUSTOM, finish, &is_over);
        // Without "echo" only those that listen to news are told.
        int error =
            nl_send_simple(asked, RTM_GETQDISC, NLM_F_ACK | NLM_F_ECHO, &question, sizeof question);
        while (error >= 0 && !is_over) error = nl_recvmsgs(asked, callbacks.get());
        return out;
    }
};

PacketFilter::PacketFilter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PacketFilter::PacketFilter(PacketFilter&&) noexcept = default;
PacketFilter& PacketFilter::operator=(PacketFilter&&) noexcept = default;
PacketFilter::~PacketFilter() = default;

Result<PacketFilter> PacketFilter::open() {
    auto socket = open_socket();
    if (!socket) return tl::unexpected(socket.error());
    return PacketFilter(std::make_unique<Impl>(Impl{std::move(*socket)}));
}

Result<void> PacketFilter::close_ingress(int device) {
    const int error =
        rtnl_qdisc_add(impl_->socket.get(), clsact(device).get(), NLM_F_CREATE | NLM_F_EXCL);
    if (error == -NLE_EXIST) return {};
    if (error == -NLE_OBJ_NOTFOUND) {
        return fail(ErrorCode::unavailable,
                    "this kernel has no clsact: it has no module sch_ingress");
    }
    if (error < 0) return fail_netlink(error, "filter what comes in (clsact)");
    return add(device, drop_the_rest);
}

bool PacketFilter::is_ingress_closed(int device) {
    return impl_->read(device, TC_H_CLSACT, clsact_handle).is_there;
}

Result<void> PacketFilter::add(int device, const IngressRule& rule) {
    const auto wanted = classifier(device, rule);
    auto action = owned<Action>(rtnl_act_alloc());
    rtnl_tc_set_kind(TC_CAST(action.get()), "gact");
    rtnl_gact_set_action(action.get(), rule.passes ? TC_ACT_OK : TC_ACT_SHOT);
    rtnl_u32_set_handle(wanted.get(), 0, 0, 0);
    if (rule.source) add_key(wanted.get(), *rule.source, &Offsets::source);
    if (rule.destination) add_key(wanted.get(), *rule.destination, &Offsets::destination);
    if (!rule.source && !rule.destination) rtnl_u32_add_key_uint32(wanted.get(), 0, 0, 0, 0);
    rtnl_u32_set_cls_terminal(wanted.get());
    rtnl_u32_add_action(wanted.get(), action.get());
    const int error = rtnl_cls_add(impl_->socket.get(), wanted.get(), NLM_F_CREATE | NLM_F_EXCL);
    if (error == -NLE_OBJ_NOTFOUND) {
        return fail(ErrorCode::unavailable,
                    "this kernel cannot filter packets: it has no module cls_u32 or act_gact");
    }
    return check(error, "add a packet filter");
}

Result<void> PacketFilter::remove(int device, const IngressRule& rule) {
    const int error = rtnl_cls_delete(impl_->socket.get(), classifier(device, rule).get(), 0);
    if (error < 0 && code_of(error) == ErrorCode::not_found) return {};
    return check(error, "remove a packet filter");
}

std::uint64_t PacketFilter::dropped_in(int device) {
    return impl_->read(device, TC_H_CLSACT, clsact_handle).drops;
}

Result<void> PacketFilter::close_egress(int device) {
    return check(
        rtnl_qdisc_add(impl_->socket.get(), no_queue(device).get(), NLM_F_CREATE | NLM_F_REPLACE),
        "close what goes out (pfifo)");
}

Result<void> PacketFilter::open_egress(int device) {
    return check(rtnl_qdisc_delete(impl_->socket.get(), no_queue(device).get()),
                 "open what goes out");
}

std::uint64_t PacketFilter::dropped_out(int device) {
    return impl_->read(device, TC_H_ROOT, 0).drops;
}

}  // namespace dstm::dataplane
