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
    if ((words.first & bpf_htonl(0xff000000)) != bpf_htonl(IPV4_PLAIN << 24)) return 0;
    if (words.second & bpf_htonl(IPV4_OFFSET_MASK | IPV4_MORE_FRAGMENTS)) return 0;
    if (!(words.third & bpf_htonl(0xfe000000))) return 0; /* TTL 0 or 1 */
    if (!is_sum_right(words)) return 0;
    if (!has_protocol(words, IPPROTO_TCP) || !settings.mss_clamp) return 1;
    const __u8 *flags = (const __u8 *)(ip + 1) + TCP_FLAGS;
    return (const void *)(flags + 1) <= end && !(*flags & TCP_SYN);
}

/* What the kernel would drop on input by its source: no host's, or this host's as far as we know.
 */
static __always_inline int is_from_elsewhere(__be32 source) {
    return is_usable_unicast(source) && source != settings.inner && source != settings.outer_ipv4;
}

/* Others come too where the interface is promiscuous or a switch floods; they are not for here. */
static __always_inline int is_to_interface(const struct ethhdr *link, __u32 interface) {
    const volatile __u64 *here = (const volatile __u64 *)port_of(interface)->address;
    const __u64 differs = *(const __u64 *)link ^ *here;
    return bpf_be64_to_cpu(differs) >> 16 == 0; /* the upper six bytes of eight */
}

/* RFC 1141: one less in the upper byte of a word is one more there in the checksum, and a carry out
 * of it comes back at its other end. Both are in this word, in the packet's order. */
static __always_inline __be32 with_less_ttl(__be32 word) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return word - 1 + (word < 0xfffe0000 ? 0x00010000 : 0x00020000);
#else
    return word - 0x01000000 + ((word & 0xffff) < 0xfeff ? 0x0100 : 0x0101 - 0x10000);
#endif
}

/* `ip` says `words`. */
static __always_inline void count_ttl_down(struct iphdr *ip, struct ipv4_words words) {
    ((__be32 *)ip)[2] = with_less_ttl(words.third);
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

static __always_inline int carry_down_frame(struct xdp_md *context, struct iphdr *ip, void *end,
                                            struct place place, __u32 tick) {
    const struct ipv4_words words = words_of(ip);
    if (!is_plain(words, ip, end) || !is_from_elsewhere(words.source)) return XDP_PASS;
    const __u32 total = total_of(words);
    /* A frame that is longer than its packet, and one that is wrong: layer 1. */
    if (total != end - (void *)ip) return XDP_PASS;
    const struct decision decision = decide_down(place, words, ip, end, tick);
    if (decision.fate == FATE_DROP && decision.drop != DSTM_DROP_NO_TUNNEL) {
        return drop_frame(decision.drop);
    }
    if (decision.fate != FATE_CARRY) return XDP_PASS;
    const struct dstm_next_hop *hop = next_hop_of(place.entry);
    if (!hop->has_link_addresses || !hop->takes_frames) return XDP_PASS;
    if (!fits_path(place.entry, hop, total + OUTER_SIZE)) return XDP_PASS;

    count_ttl_down(ip, words);
    if (bpf_xdp_adjust_head(context, -(int)OUTER_SIZE)) return drop_frame(DSTM_DROP_NO_HEADROOM);
    void *data = (void *)(long)context->data;
    struct ipv6hdr *outer = data + ETH_HLEN;
    if ((void *)(outer + 1) > (void *)(long)context->data_end) {
        return drop_frame(DSTM_DROP_NO_HEADROOM);
    }
    write_link(data, hop->destination, ETH_P_IPV6);
    write_outer(outer, decision.peer, tos_of(words), total);
    count_down(place.entry, 1, total);
    if (hop->interface == context->ingress_ifindex) return XDP_TX;
    return bpf_redirect(hop->interface, 0);
}

/* Apart from tunnels of pools, so that those need not ask which they are. */
static __noinline int xdp_down_outside(struct xdp_md *context) {
    struct iphdr *ip = (void *)(long)context->data + ETH_HLEN;
    void *end = (void *)(long)context->data_end;
    if ((void *)(ip + 1) > end) return XDP_PASS;
    const __u32 tick = current_tick();
    const struct place place = find_outside(bpf_ntohl(ip->daddr));
    return place.entry ? carry_down_frame(context, ip, end, place, tick) : XDP_PASS;
}

/* First all that calls the kernel: what has been read before a call must be kept over it. */
static __always_inline int xdp_down(struct xdp_md *context, void *data, void *end) {
    struct iphdr *ip = data + ETH_HLEN;
    if ((void *)(ip + 1) > end) return XDP_PASS;
    const __u32 tick = current_tick();
    const struct place place = {find_in_pool(bpf_ntohl(ip->daddr)), 0, 0};
    if (place.entry) return carry_down_frame(context, ip, end, place, tick);
    return outside_count ? xdp_down_outside(context) : XDP_PASS;
}

/* `route` is null where none is known. */
static __always_inline int carry_up_frame(struct xdp_md *context, struct ipv6hdr *outer, void *end,
                                          struct place place, const struct cached_route *route,
                                          __u32 tick) {
    struct iphdr *ip = (void *)(outer + 1);
    const struct ipv4_words words = words_of(ip);
    if (!is_plain(words, ip, end)) return XDP_PASS;
    const __u32 total = total_of(words);
    const __u32 first = bpf_ntohl(*(const __be32 *)outer);
    const __u32 second = bpf_ntohl(((const __be32 *)outer)[1]);
    if (first >> 28 != 6 || second >> 8 != (total << 8 | IPPROTO_IPIP)) return XDP_PASS;
    if (total != end - (void *)ip) return XDP_PASS;
    const struct decision decision = decide_up(place, outer, first >> 20, words, tick, !!route);
    if (decision.fate == FATE_DROP) return drop_frame(decision.drop);
    if (decision.fate != FATE_CARRY) return XDP_PASS;
    if (!route) {
        ask_for_route(context, context->ingress_ifindex, ip->saddr, ip->daddr, tick);
        return XDP_PASS; /* by tc it goes to the neighbour table */
    }
    if (!route->takes_frames) return XDP_PASS;
    if (total - 1 > (__u32)route->mtu - 1) return XDP_PASS; /* 0 sets no limit */

    if (decision.ecn == ECN_STAYS) {
        count_ttl_down(ip, words);
    } else {
        set_ecn(ip, decision.ecn);
        count_ttl_down(ip, words_of(ip));
    }
    count_up(decision.entry, 1, total);
    if (bpf_xdp_adjust_head(context, (int)OUTER_SIZE)) return drop_frame(DSTM_DROP_NO_HEADROOM);
    return send_frame(context, route, ETH_P_IP);
}

/* To the endpoint itself, or from client to client. No route is kept to either. */
static __always_inline int is_to_stay(__be32 destination) {
    return destination == settings.inner || is_of_tunnels(bpf_ntohl(destination));
}

/* Of a tunnel outside the pools, of none, or by a way that is not known. Apart, so that what most
 * packets need is short. */
static __noinline int xdp_up_otherwise(struct xdp_md *context) {
    struct ipv6hdr *outer = (void *)(long)context->data + ETH_HLEN;
    const struct iphdr *ip = (void *)(outer + 1);
    void *end = (void *)(long)context->data_end;
    if ((void *)(ip + 1) > end || is_to_stay(ip->daddr)) return XDP_PASS;
    const struct place place = find_place(bpf_ntohl(ip->saddr));
    return carry_up_frame(context, outer, end, place, NULL, current_tick());
}

static __always_inline int xdp_up(struct xdp_md *context, void *data, void *end) {
    struct ipv6hdr *outer = data + ETH_HLEN;
    const struct iphdr *ip = (void *)(outer + 1);
    if ((void *)(ip + 1) > end || !is_to_endpoint(outer)) return XDP_PASS;
    const __u32 tick = current_tick();
    const struct cached_route *route = known_route(ip->daddr, tick);
    if (!route) return xdp_up_otherwise(context);
    const struct place place = {find_in_pool(bpf_ntohl(ip->saddr)), 0, 0};
    if (!place.entry) return xdp_up_otherwise(context);
    return carry_up_frame(context, outer, end, place, route, tick);
}

#endif
