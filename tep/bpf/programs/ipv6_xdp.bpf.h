/* Layer 2 in the driver for tunnels with IPv6 inside: as xdp.bpf.h, with the headers of RFC 4213
 * and RFC 768. Besides what is not plain there, extension headers, signalling, and packets of one
 * link only go up to layer 1, untouched. */
#ifndef DSTM_IPV6_XDP_BPF_H
#define DSTM_IPV6_XDP_BPF_H

#include "tep/bpf/programs/ipv6_inside.bpf.h"
#include "tep/bpf/programs/xdp.bpf.h"

/* Whether this packet is to go by the neighbour table: up to tc, which sends it there. */
static __always_inline int goes_up_for(struct cached_route *route) {
    if (route->owes != 1) return 0;
    route->owes = 2;
    return 1;
}

static __always_inline int xdp_down_ipv6(struct xdp_md *context) {
    void *end = (void *)(long)context->data_end;
    struct ipv6hdr *ip = (void *)(long)context->data + ETH_HLEN;
    if ((void *)(ip + 1) > end || !is_plain_ipv6(ip, end)) return XDP_PASS;
    if (!is_ipv6_from_elsewhere(ip)) return XDP_PASS;
    const __u32 total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
    if (total != end - (void *)ip) return XDP_PASS;
    const struct decision decision = decide_down_ipv6(ip, end);
    /* The rest of what layer 1 would drop is the host's own: its neighbours, its link. */
    if (decision.drop == DSTM_DROP_EXPIRED || decision.drop == DSTM_DROP_HAIRPIN_OFF) {
        return drop_frame(decision.drop);
    }
    if (decision.fate != FATE_CARRY || !decision.entry) return XDP_PASS;
    const __u64 peer = decision.peer[0];
    __u32 path_mtu = 0;
    struct cached_route *route =
        route_to_peer(context, context->ingress_ifindex, peer, decision.entry, &path_mtu);
    if (!route || !route->takes_frames || total + overhead_to(peer) > path_mtu) return XDP_PASS;
    if (goes_up_for(route)) return XDP_PASS;

    --ip->hop_limit;
    if (bpf_xdp_adjust_head(context, -(int)overhead_to(peer))) {
        return drop_frame(DSTM_DROP_NO_HEADROOM);
    }
    if (!write_headers((void *)(long)context->data, (void *)(long)context->data_end, peer, total,
                       1)) {
        return drop_frame(DSTM_DROP_NO_HEADROOM);
    }
    count_down(decision.entry, 1, total);
    return send_frame(context, route, ETH_P_IP);
}

static __always_inline int xdp_up_ipv6(struct xdp_md *context) {
    void *end = (void *)(long)context->data_end;
    struct iphdr *outer = (void *)(long)context->data + ETH_HLEN;
    __u64 peer = 0;
    if ((void *)(outer + 1) > end) return XDP_PASS;
    const __u32 size = open_ipv4(outer, end, &peer);
    if (size == 0) return XDP_PASS;
    struct ipv6hdr *ip = (void *)outer + size;
    if ((void *)(ip + 1) > end || !is_plain_ipv6(ip, end)) return XDP_PASS;
    const __u32 total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
    if (total != end - (void *)ip || bpf_ntohs(outer->tot_len) != size + total) return XDP_PASS;
    __u64 source[2];
    __u64 destination[2];
    read_address(source, &ip->saddr);
    read_address(destination, &ip->daddr);
    if (stays_here(destination)) return XDP_PASS;
    const struct decision decision = decide_up_ipv6(peer, outer->tos, ip, end);
    if (decision.fate == FATE_DROP) return drop_frame(decision.drop);
    if (decision.fate != FATE_CARRY || !decision.entry) return XDP_PASS;
    struct cached_route *route = route_to_ipv6(
        context, context->ingress_ifindex, source, destination, decision.entry->last_seen);
    if (!route || !route->takes_frames || (route->mtu && total > route->mtu)) return XDP_PASS;
    if (goes_up_for(route)) return XDP_PASS;

    set_ecn_ipv6(ip, decision.ecn);
    --ip->hop_limit;
    count_up(decision.entry, 1, total);
    if (bpf_xdp_adjust_head(context, (int)size)) return drop_frame(DSTM_DROP_NO_HEADROOM);
    return send_frame(context, route, ETH_P_IPV6);
}

/* A frame of another protocol goes on, and one in a VLAN, which has an interface of its own. */
static __always_inline int carry_frame(struct xdp_md *context) {
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    const struct ethhdr *link = data;
    const struct iphdr *ip = (void *)(link + 1); /* and of IPv6 as much */
    if ((void *)(ip + 1) > end || !is_to_interface(link, context->ingress_ifindex)) return XDP_PASS;
    if (link->h_proto == bpf_htons(ETH_P_IPV6)) {
        if (!settings.outer_ipv4) return xdp_up(context, data, end);
        const struct ipv6hdr *outer = (void *)ip;
        if ((void *)(outer + 1) > end) return XDP_PASS;
        return is_to_endpoint(outer) ? xdp_up(context, data, end) : xdp_down_ipv6(context);
    }
    if (link->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
    return settings.outer_ipv4 && ip->daddr == settings.outer_ipv4 ? xdp_up_ipv6(context)
                                                                   : xdp_down(context, data, end);
}

#endif
