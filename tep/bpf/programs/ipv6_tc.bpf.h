/* Tunnels with IPv6 inside on the tc hooks, the same as those of v4v6. Layer 1: down behind the
 * kernel's IPv6 routing, up before its IPv4 input. Layer 2 passes by both. What is left to the
 * kernel reaches the daemon by the TUN device, the raw socket or the UDP socket: fragments,
 * extension headers, what does not fit, signalling, clients whose way the kernel must find first.
 * RFC 4213, RFC 768. */
#ifndef DSTM_IPV6_TC_BPF_H
#define DSTM_IPV6_TC_BPF_H

#include "tep/bpf/programs/ipv6_inside.bpf.h"
#include "tep/bpf/programs/tc.bpf.h"

/* Since Linux 6.3; Debian's 6.1 refuses it. */
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV6
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

/* With the MTU inside, which the kernel or the daemon knows; a SYN only. */
static __always_inline void clamp_mss_ipv6(struct __sk_buff *skb, __u32 ip_offset, __u32 total,
                                           __u32 path_mtu, __u64 peer) {
    const __u32 most = inner_ipv6_mtu(path_mtu, peer) - MSS_OVERHEAD_IPV6;
    clamp_mss(skb, ip_offset, sizeof(struct ipv6hdr), total, most);
}

/* Puts the headers before the inner packet at `at`, takes `hops` from it and sends it. No packet
 * pointer survives. TC_ACT_OK: untouched, for the daemon. */
static __always_inline int wrap_in_ipv4(struct __sk_buff *skb, __u32 at, __u32 total, int hops,
                                        const struct decision *decision,
                                        struct cached_route *route,
                                        const struct load *load) {
    const __u64 peer = decision->peer[0];
    const __u64 flags = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_FIXED_GSO;
    const __u64 udp_flag = peer_port(peer) ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : 0;
    if (skb->len > at + total && bpf_skb_change_tail(skb, at + total, 0)) {
        return drop_packet(DSTM_DROP_NO_HEADROOM);
    }
    if (bpf_skb_adjust_room(skb, overhead_to(peer), BPF_ADJ_ROOM_MAC, flags | udp_flag)) {
        return TC_ACT_OK; /* it was in a tunnel when GRO merged it: the daemon carries it */
    }
    if (at == 0 && bpf_skb_change_head(skb, ETH_HLEN, 0)) return drop_packet(DSTM_DROP_NO_HEADROOM);
    make_readable(skb, ETH_HLEN + OUTER_UDP_SIZE + sizeof(struct ipv6hdr));
    struct ethhdr *link = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct ipv6hdr *ip = (void *)(link + 1) + overhead_to(peer);
    if ((void *)(ip + 1) > end) return drop_packet(DSTM_DROP_NO_HEADROOM);
    ip->hop_limit -= hops;
    if (!write_headers(link, end, peer, total, skb->gso_size == 0)) {
        return drop_packet(DSTM_DROP_NO_HEADROOM);
    }
    link->h_proto = bpf_htons(ETH_P_IP);
    count_down(decision->entry, load->packets, load->bytes);
    return send_on(skb, route, ETH_P_IP);
}

static __always_inline int down_ipv6(struct __sk_buff *skb) {
    if (!settings.outer_ipv4) return TC_ACT_OK; /* the daemon's */
    const __u32 at = settings.device_header;
    make_readable(skb, at + sizeof(struct ipv6hdr) + 1);
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct ipv6hdr *ip = data + at;
    if ((void *)(ip + 1) > end) {
        const __u8 *first = data + at;
        return drop_packet((void *)(first + 1) > end ? DSTM_DROP_INNER_TRUNCATED
                                                     : check_short_inner_ipv6(*first));
    }
    const __u32 wrong = check_inner_ipv6(ip, skb->len - at);
    if (wrong) return drop_packet(wrong);
    if (has_extension(ip)) return TC_ACT_OK;
    const struct decision decision = decide_down_ipv6(ip, end);
    if (decision.fate == FATE_DROP) return drop_packet(decision.drop);
    if (!decision.entry) return TC_ACT_OK;

    const __u64 peer = decision.peer[0];
    const __u32 total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
    const __u8 protocol = ip->nexthdr;
    const struct load load = load_with(skb, at, total, sizeof(*ip), protocol);
    __u32 path_mtu = 0;
    struct cached_route *route =
        route_to_peer(skb, skb->ifindex, peer, decision.entry, &path_mtu);
    if (!route || load.largest + overhead_to(peer) > path_mtu) return TC_ACT_OK;
    if (settings.mss_clamp && protocol == IPPROTO_TCP) {
        clamp_mss_ipv6(skb, at, total, path_mtu, peer);
    }
    return wrap_in_ipv4(skb, at, total, 0, &decision, route, &load);
}

/* Layer 2 where there is no XDP: from an IPv6 interface straight to a client. What is not plain
 * goes on to the kernel's routing, and so to layer 1, which judges and counts it. */
static __always_inline int straight_down_ipv6(struct __sk_buff *skb) {
    if (skb->vlan_present) return TC_ACT_UNSPEC;
    make_readable(skb, ETH_HLEN + sizeof(struct ipv6hdr) + TCP_HEADER_SIZE);
    void *end = (void *)(long)skb->data_end;
    struct ipv6hdr *ip = (void *)(long)skb->data + ETH_HLEN;
    if ((void *)(ip + 1) > end || !is_plain_ipv6(ip, end)) return TC_ACT_UNSPEC;
    if (check_inner_ipv6(ip, skb->len - ETH_HLEN) || !is_ipv6_from_elsewhere(ip)) {
        return TC_ACT_UNSPEC;
    }
    const struct decision decision = decide_down_ipv6(ip, end);
    if (decision.fate != FATE_CARRY || !decision.entry) return TC_ACT_UNSPEC;

    const __u64 peer = decision.peer[0];
    const __u32 total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
    const struct load load = load_with(skb, ETH_HLEN, total, sizeof(*ip), ip->nexthdr);
    __u32 path_mtu = 0;
    struct cached_route *route =
        route_to_peer(skb, skb->ifindex, peer, decision.entry, &path_mtu);
    if (!route || load.largest + overhead_to(peer) > path_mtu) return TC_ACT_UNSPEC;
    const int verdict = wrap_in_ipv4(skb, ETH_HLEN, total, 1, &decision, route, &load);
    return verdict == TC_ACT_OK ? TC_ACT_UNSPEC : verdict;
}

/* How this inner packet goes on without the kernel's routing; null: with it. */
static __always_inline struct cached_route *straight_route_ipv6(
    struct __sk_buff *skb, const struct ipv6hdr *ip, const void *end, const struct load *load,
    const struct dstm_entry *entry) {
    __u64 source[2];
    __u64 destination[2];
    if (!is_plain_ipv6(ip, end)) return NULL;
    read_address(source, &ip->saddr);
    read_address(destination, &ip->daddr);
    if (stays_here(destination)) return NULL;
    struct cached_route *route =
        route_to_ipv6(skb, skb->ifindex, source, destination, entry->last_seen);
    return route && route->mtu && load->largest > route->mtu ? NULL : route;
}

/* Takes `size` bytes of headers of IPv4 away: 0, or what the program says of the packet. */
static __always_inline int strip_ipv4(struct __sk_buff *skb, __u32 size, __u8 protocol,
                                      int *verdict) {
    const int longer = -(int)size;
    const long failed =
        bpf_skb_adjust_room(skb, longer, BPF_ADJ_ROOM_MAC,
                            BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_DECAP_L3_IPV6);
    if (!failed) return 1;
    *verdict = TC_ACT_UNSPEC;
    if (failed != -EINVAL || !may_change_version(skb, protocol)) return 0;
    /* Linux before 6.3: first from the 20 bytes of IPv4 to the 40 of IPv6, then all of them. */
    if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0)) return 0;
    *verdict = TC_ACT_SHOT;
    if (bpf_skb_adjust_room(skb, longer - 20, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO)) {
        count_drop(DSTM_DROP_NO_HEADROOM);
        return 0;
    }
    return 1;
}

/* TC_ACT_UNSPEC: not for a program. `may`: pass by the kernel's IPv6 routing. */
static __always_inline int up_ipv6(struct __sk_buff *skb, int may) {
    if (skb->vlan_present && (skb->vlan_tci & 0x0fff)) return TC_ACT_UNSPEC;
    make_readable(skb, ETH_HLEN + OUTER_UDP_SIZE + sizeof(struct ipv6hdr) + 20);
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct iphdr *outer = data + ETH_HLEN;
    if ((void *)(outer + 1) > end) return TC_ACT_UNSPEC;
    __u64 peer = 0;
    const __u32 size = open_ipv4(outer, end, &peer);
    const __u32 outer_total = bpf_ntohs(outer->tot_len);
    if (size == 0 || outer_total < size) return TC_ACT_UNSPEC;
    if (outer_total + ETH_HLEN > skb->len) return drop_packet(DSTM_DROP_OUTER_TRUNCATED);
    const __u32 available = outer_total - size;

    struct ipv6hdr *ip = (void *)outer + size;
    if (available < sizeof(*ip) || (void *)(ip + 1) > end) {
        const __u8 *first = (void *)ip;
        return drop_packet(available == 0 || (void *)(first + 1) > end
                               ? DSTM_DROP_INNER_TRUNCATED
                               : check_short_inner_ipv6(*first));
    }
    const __u32 wrong = check_inner_ipv6(ip, available);
    if (wrong) return drop_packet(wrong);
    const __u32 total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
    if (has_extension(ip) || (skb->gso_size && total != available)) return TC_ACT_UNSPEC;
    const struct decision decision = decide_up_ipv6(peer, outer->tos, ip, end);
    if (decision.fate == FATE_DROP) return drop_packet(decision.drop);
    if (!decision.entry || is_said_of_path_ipv6(ip, end)) return TC_ACT_UNSPEC;

    const __u8 protocol = ip->nexthdr;
    const int is_at_end = ip->hop_limit <= 1;
    const __u32 ip_offset = ETH_HLEN + size;
    const struct load load = load_with(skb, ip_offset, total, sizeof(*ip), protocol);
    __u32 path_mtu = 0;
    const __u8 *tcp_flags = (void *)(ip + 1) + TCP_FLAGS;
    if (settings.mss_clamp && protocol == IPPROTO_TCP && (void *)(tcp_flags + 1) <= end &&
        (*tcp_flags & TCP_SYN) &&
        !route_to_peer(skb, skb->ifindex, peer, decision.entry, &path_mtu)) {
        return TC_ACT_UNSPEC; /* for how large the MSS may be */
    }
    struct cached_route *onward =
        may ? straight_route_ipv6(skb, ip, end, &load, decision.entry) : NULL;
    /* Bytes behind the inner packet are not carried. */
    if (skb->len > ip_offset + total && bpf_skb_change_tail(skb, ip_offset + total, 0)) {
        return drop_packet(DSTM_DROP_NO_HEADROOM);
    }
    if (path_mtu) clamp_mss_ipv6(skb, ip_offset, total, path_mtu, peer);
    int verdict = 0;
    if (!strip_ipv4(skb, size, protocol, &verdict)) return verdict;
    struct ethhdr *link = (void *)(long)skb->data;
    ip = (void *)(link + 1);
    if ((void *)(ip + 1) > (void *)(long)skb->data_end) return drop_packet(DSTM_DROP_NO_HEADROOM);
    link->h_proto = bpf_htons(ETH_P_IPV6);
    set_ecn_ipv6(ip, decision.ecn);
    count_up(decision.entry, load.packets, load.bytes);
    if (onward) {
        --ip->hop_limit;
        return send_on(skb, onward, ETH_P_IPV6);
    }
    /* The kernel's "time exceeded" comes from the inner address of the endpoint, not the outer. */
    if (is_at_end && tunnel_device) return bpf_redirect(tunnel_device, BPF_F_INGRESS);
    return TC_ACT_OK;
}

#endif
