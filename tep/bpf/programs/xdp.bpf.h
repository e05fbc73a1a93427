/* Layer 2 in the driver: whole packets from interface to interface, before the kernel makes a
 * socket buffer of them. Takes only what is plain; everything else goes up to layer 1, untouched:
 * TTL 1, IP options, fragments, TCP SYN (its MSS), packets that do not fit, ways by interfaces that
 * take no frames. */
#ifndef DSTM_XDP_BPF_H
#define DSTM_XDP_BPF_H

#include "tep/bpf/programs/decide.bpf.h"
#include "tep/bpf/programs/mss.bpf.h"
#include "tep/bpf/programs/route_cache.bpf.h"

static __always_inline int drop_frame(__u32 reason) {
    if (reason != DSTM_DROP_NONE) count_drop(reason);
    return XDP_DROP;
}

static __always_inline int is_plain(const struct iphdr *ip, const void *end) {
    if (*(const __u8 *)ip != IPV4_PLAIN || ip->ttl <= 1) return 0;
    if (ip->frag_off & bpf_htons(IPV4_OFFSET_MASK | 0x2000)) return 0;
    if (!is_sum_right(ip)) return 0;
    if (!settings.mss_clamp || ip->protocol != IPPROTO_TCP) return 1;
    const __u8 *flags = (const __u8 *)(ip + 1) + TCP_FLAGS;
    return (const void *)(flags + 1) <= end && !(*flags & TCP_SYN);
}

/* What the kernel would drop on input by its source: no host's, or this host's as far as we know.
 */
static __always_inline int is_from_elsewhere(const struct iphdr *ip) {
    const __u32 source = bpf_ntohl(ip->saddr);
    return is_usable_unicast(source) && source != settings.inner &&
           ip->saddr != settings.outer_ipv4;
}

/* Others come too where the interface is promiscuous or a switch floods; they are not for here. */
static __always_inline int is_to_interface(const struct ethhdr *link, __u32 interface) {
    const struct dstm_port *port = port_of(interface);
    return port && *(const __u32 *)link->h_dest == *(const __u32 *)port->address &&
           *(const __u16 *)(link->h_dest + 4) == *(const __u16 *)(port->address + 4);
}

/* RFC 1141: one less in the upper byte of a word is one more there in the checksum. */
static __always_inline void count_ttl_down(struct iphdr *ip) {
    const __u32 sum = ip->check + bpf_htons(0x0100);
    --ip->ttl;
    ip->check = (__u16)(sum + (sum >= 0xffff));
}

/* A packet whose headers are written, but for the link's. */
static __always_inline int send_frame(const struct xdp_md *context,
                                      const struct cached_route *route, __u16 protocol) {
    struct ethhdr *link = (void *)(long)context->data;
    if ((void *)(link + 1) > (void *)(long)context->data_end) {
        return drop_frame(DSTM_DROP_NO_HEADROOM);
    }
    write_link(link, route->addresses, protocol);
    if (route->interface == context->ingress_ifindex) return XDP_TX;
    return bpf_redirect(route->interface, 0);
}

static __always_inline int xdp_down(struct xdp_md *context) {
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct iphdr *ip = data + ETH_HLEN;
    if ((void *)(ip + 1) > end || !is_plain(ip, end) || !is_from_elsewhere(ip)) return XDP_PASS;
    const __u32 available = end - (void *)ip;
    const __u32 total = bpf_ntohs(ip->tot_len);
    /* A frame that is longer than its packet, and one that is wrong: layer 1. */
    if (total != available || total < sizeof(*ip)) return XDP_PASS;
    const struct decision decision = decide_down(ip, end);
    if (decision.fate == FATE_DROP && decision.drop != DSTM_DROP_NO_TUNNEL) {
        return drop_frame(decision.drop);
    }
    if (decision.fate != FATE_CARRY || !decision.entry) return XDP_PASS;
    const struct dstm_next_hop *hop = next_hop_of(decision.entry);
    if (!hop || !hop->has_link_addresses || !hop->takes_frames) return XDP_PASS;
    if (total + OUTER_SIZE > path_mtu_of(decision.entry, hop)) return XDP_PASS;

    count_ttl_down(ip);
    const __u8 tos = ip->tos;
    if (bpf_xdp_adjust_head(context, -(int)OUTER_SIZE)) return drop_frame(DSTM_DROP_NO_HEADROOM);
    data = (void *)(long)context->data;
    end = (void *)(long)context->data_end;
    struct ethhdr *link = data;
    struct ipv6hdr *outer = data + ETH_HLEN;
    if ((void *)(outer + 1) > end) return drop_frame(DSTM_DROP_NO_HEADROOM);
    write_link(link, hop->destination, ETH_P_IPV6);
    write_outer(outer, decision.peer, tos, total);
    count_down(decision.entry, 1, total);
    if (hop->interface == context->ingress_ifindex) return XDP_TX;
    return bpf_redirect(hop->interface, 0);
}

static __always_inline int xdp_up(struct xdp_md *context) {
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ipv6hdr *outer = data + ETH_HLEN;
    if (outer_size(outer, end) != OUTER_SIZE) return XDP_PASS;
    struct iphdr *ip = (void *)outer + OUTER_SIZE;
    if ((void *)(ip + 1) > end || !is_plain(ip, end)) return XDP_PASS;
    const __u32 total = bpf_ntohs(ip->tot_len);
    const __u32 available = end - (void *)ip;
    if (total != available || bpf_ntohs(outer->payload_len) != total) return XDP_PASS;
    if (bpf_ntohl(ip->daddr) == settings.inner) return XDP_PASS;
    if (find_entry(bpf_ntohl(ip->daddr))) return XDP_PASS; /* a hairpin */
    const struct decision decision = decide_up(outer, ip);
    if (decision.fate == FATE_DROP) return drop_frame(decision.drop);
    if (decision.fate != FATE_CARRY || !decision.entry) return XDP_PASS;
    const __u32 tick = decision.entry->last_seen;
    const struct cached_route *route = known_route(ip->daddr, tick);
    if (!route) {
        route = ask_for_route(context, context->ingress_ifindex, ip->saddr, ip->daddr, tick);
    }
    if (!route || !route->takes_frames || (route->mtu && total > route->mtu)) return XDP_PASS;

    set_ecn(ip, decision.ecn);
    count_ttl_down(ip);
    count_up(decision.entry, 1, total);
    if (bpf_xdp_adjust_head(context, (int)OUTER_SIZE)) return drop_frame(DSTM_DROP_NO_HEADROOM);
    return send_frame(context, route, ETH_P_IP);
}

#endif
