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

/* `ip` says `words`. */
static __always_inline int is_plain(struct ipv4_words words, const struct iphdr *ip,
                                    const void *end) {
    if (words.first >> 56 != IPV4_PLAIN || ttl_of(words) <= 1) return 0;
    if (words.first & (IPV4_OFFSET_MASK | IPV4_MORE_FRAGMENTS)) return 0;
    if (!is_sum_right(words)) return 0;
    if (protocol_of(words) != IPPROTO_TCP || !settings.mss_clamp) return 1;
    const __u8 *flags = (const __u8 *)(ip + 1) + TCP_FLAGS;
    return (const void *)(flags + 1) <= end && !(*flags & TCP_SYN);
}

struct own_addresses {
    __u32 inner;
    __u32 outer_ipv4;
};

/* What the kernel would drop on input by its source: no host's, or this host's as far as we know.
 */
static __always_inline int is_from_elsewhere(struct ipv4_words ip) {
    const struct own_addresses own = DSTM_TOGETHER(struct own_addresses, &settings.inner);
    const __u32 source = source_of(ip);
    return is_usable_unicast(source) && source != own.inner &&
           bpf_htonl(source) != own.outer_ipv4;
}

/* Others come too where the interface is promiscuous or a switch floods; they are not for here. */
static __always_inline int is_to_interface(const struct ethhdr *link, __u32 interface) {
    const __u64 differs = *(const __u64 *)link ^ *(const volatile __u64 *)port_of(interface)->address;
    return bpf_be64_to_cpu(differs) >> 16 == 0; /* the upper six bytes of eight */
}

/* RFC 1141: one less in the upper byte of a word is one more there in the checksum. `ip` says
 * `words`. */
static __always_inline void count_ttl_down(struct iphdr *ip, struct ipv4_words words) {
    const __u32 before = words.second >> 32;
    const __u32 sum = (before & 0xffff) + 0x0100;
    const __u32 check = (__u16)(sum + (sum >= 0xffff));
    ((__u32 *)ip)[2] = bpf_htonl(((before & 0xffff0000) - 0x01000000) | check);
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

/* Both look their tunnel up first: what has been read before a lookup must be kept over it. */
static __always_inline int xdp_down(struct xdp_md *context) {
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct iphdr *ip = data + ETH_HLEN;
    if ((void *)(ip + 1) > end) return XDP_PASS;
    const struct place place = find_place(bpf_ntohl(ip->daddr));
    const struct ipv4_words words = words_of(ip);
    if (!place.entry || !is_plain(words, ip, end) || !is_from_elsewhere(words)) return XDP_PASS;
    const __u32 total = total_of(words);
    /* A frame that is longer than its packet, and one that is wrong: layer 1. */
    if (total != end - (void *)ip) return XDP_PASS;
    const struct decision decision = decide_down(place, words, ip, end);
    if (decision.fate == FATE_DROP && decision.drop != DSTM_DROP_NO_TUNNEL) {
        return drop_frame(decision.drop);
    }
    if (decision.fate != FATE_CARRY) return XDP_PASS;
    const struct way_out out = way_out_of(place.entry);
    if (!out.hop || !out.way.has_link_addresses || !out.way.takes_frames) return XDP_PASS;
    if (total + OUTER_SIZE > out.path_mtu) return XDP_PASS;

    count_ttl_down(ip, words);
    if (bpf_xdp_adjust_head(context, -(int)OUTER_SIZE)) return drop_frame(DSTM_DROP_NO_HEADROOM);
    data = (void *)(long)context->data;
    end = (void *)(long)context->data_end;
    struct ipv6hdr *outer = data + ETH_HLEN;
    if ((void *)(outer + 1) > end) return drop_frame(DSTM_DROP_NO_HEADROOM);
    write_link(data, out.hop->destination, ETH_P_IPV6);
    write_outer(outer, decision.peer, tos_of(words), total);
    count_down(place.entry, 1, total);
    if (out.way.interface == context->ingress_ifindex) return XDP_TX;
    return bpf_redirect(out.way.interface, 0);
}

static __always_inline int xdp_up(struct xdp_md *context) {
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ipv6hdr *outer = data + ETH_HLEN;
    struct iphdr *ip = (void *)(outer + 1);
    if ((void *)(ip + 1) > end || !is_to_endpoint(outer)) return XDP_PASS;
    const struct place place = find_place(bpf_ntohl(ip->saddr));
    if (is_of_tunnels(bpf_ntohl(ip->daddr))) return XDP_PASS; /* a hairpin */
    const struct ipv4_words words = words_of(ip);
    if (!is_plain(words, ip, end) || words.destination == settings.inner) return XDP_PASS;
    const __u32 total = total_of(words);
    const __u64 outer_word = bpf_be64_to_cpu(*(const __u64 *)outer);
    if (outer_word >> 60 != 6 || (__u8)(outer_word >> 8) != IPPROTO_IPIP) return XDP_PASS;
    if (total != end - (void *)ip || (outer_word >> 16 & 0xffff) != total) return XDP_PASS;
    const struct decision decision = decide_up(place, outer, outer_word >> 52, words);
    if (decision.fate == FATE_DROP) return drop_frame(decision.drop);
    if (decision.fate != FATE_CARRY) return XDP_PASS;
    const struct cached_route *route = known_route(ip->daddr, decision.tick);
    if (!route) {
        route = ask_for_route(context, context->ingress_ifindex, ip->saddr, ip->daddr,
                              decision.tick);
    }
    if (!route) return XDP_PASS;
    const struct route_way way = DSTM_TOGETHER(struct route_way, &route->interface);
    if (!way.takes_frames || (way.mtu && total > way.mtu)) return XDP_PASS;

    if ((tos_of(words) & ECN_MASK) == decision.ecn) {
        count_ttl_down(ip, words);
    } else {
        set_ecn(ip, decision.ecn);
        count_ttl_down(ip, words_of(ip));
    }
    count_up(decision.entry, 1, total);
    if (bpf_xdp_adjust_head(context, (int)OUTER_SIZE)) return drop_frame(DSTM_DROP_NO_HEADROOM);
    return send_frame(context, route, ETH_P_IP);
}

#endif
