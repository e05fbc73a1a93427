// Layer 1: v4v6 tunnels, and those with IPv6 inside (ipv6_tc.bpf.h), beside the kernel's stack
// (tc, clsact), for every kind of packet.
//
// Down: on the egress hook of the daemon's TUN device, behind the kernel's IPv4 routing, which has
// counted the TTL down. Up: on the ingress hook of the outer interfaces, before the kernel's IPv4
// input. What a program leaves to the kernel reaches the daemon by the TUN device or the raw
// socket, and meets the same rules there (common/dataplane/carrier.hpp). RFC 2473.
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "tep/bpf/programs/ipv6_tc.bpf.h"
#include "tep/bpf/programs/ipv6_xdp.bpf.h"

// Since Linux 6.3; Debian's 6.1 refuses it.
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#endif

char program_license[] SEC("license") = "Dual BSD/GPL";

// Sends an IPv6 packet with room for a link header to its first hop. With known link addresses
// this is two stores; without, the kernel's neighbour table does it.
static __always_inline int send_to(struct __sk_buff *skb, const struct dstm_next_hop *hop) {
    if (!hop->has_link_addresses) return bpf_redirect_neigh(hop->interface, NULL, 0, 0);
    struct ethhdr *link = (void *)(long)skb->data;
    if ((void *)(link + 1) > (void *)(long)skb->data_end) return drop_packet(DSTM_DROP_NO_HEADROOM);
    write_link(link, hop->destination, ETH_P_IPV6);
    return bpf_redirect(hop->interface, 0);
}

// `path_mtu` is that outside, 0 = not known. No packet pointer survives.
static __always_inline void clamp_mss_ipv4(struct __sk_buff *skb, __u32 at, const struct iphdr *ip,
                                           __u32 path_mtu) {
    if (!settings.mss_clamp || ip->protocol != IPPROTO_TCP || !is_first_fragment(ip)) return;
    const __u32 header_size = (*(const __u8 *)ip & 0x0f) * 4;
    const __u32 total = bpf_ntohs(ip->tot_len);
    const __u32 most = path_mtu - OUTER_SIZE - MSS_OVERHEAD_IPV4;
    if (path_mtu) clamp_mss(skb, at, header_size, total, most);
}

// `at` is where the inner packet begins, `total` its length, `hops` how many it has to lose. No
// packet pointer survives. TC_ACT_OK: untouched, for the daemon.
static __always_inline int wrap_and_send(struct __sk_buff *skb, __u32 at, __u32 total, int hops,
                                         const struct decision *decision,
                                         const struct dstm_next_hop *hop,
                                         const struct load *load) {
    if (skb->len > at + total && bpf_skb_change_tail(skb, at + total, 0)) {
        return drop_packet(DSTM_DROP_NO_HEADROOM);
    }
    // Fails when the packet was in a tunnel when GRO merged it: then the daemon carries it.
    if (bpf_skb_adjust_room(skb, OUTER_SIZE, BPF_ADJ_ROOM_MAC,
                            BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_FIXED_GSO)) {
        return TC_ACT_OK;
    }
    if (at == 0 && bpf_skb_change_head(skb, ETH_HLEN, 0)) return drop_packet(DSTM_DROP_NO_HEADROOM);
    void *data = (void *)(long)skb->data;
    struct ipv6hdr *outer = data + ETH_HLEN;
    struct iphdr *ip = (void *)(outer + 1);
    if ((void *)(ip + 1) > (void *)(long)skb->data_end) return drop_packet(DSTM_DROP_NO_HEADROOM);
    const struct ipv4_words words = words_of(ip);
    if (hops) count_ttl_down(ip, words);
    write_outer(outer, decision->peer, tos_of(words), total);
    ((struct ethhdr *)data)->h_proto = bpf_htons(ETH_P_IPV6);
    count_down(decision->entry, load->packets, load->bytes);
    return send_to(skb, hop);
}

SEC("tc")
int dstm_down(struct __sk_buff *skb) {
    if (skb->protocol == bpf_htons(ETH_P_IPV6)) return down_ipv6(skb);
    const __u32 at = settings.device_header;
    make_readable(skb, at + sizeof(struct iphdr) + 1);
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct iphdr *ip = data + at;
    if ((void *)(ip + 1) > end) {
        const __u8 *first = data + at;
        return drop_packet((void *)(first + 1) > end ? DSTM_DROP_INNER_TRUNCATED
                                                     : check_short_inner(*first));
    }
    const __u32 wrong = check_inner(ip, skb->len - at);
    if (wrong) return drop_packet(wrong);
    const struct ipv4_words words = words_of(ip);
    const struct place place = find_place(bpf_ntohl(words.destination));
    const struct decision decision = decide_down(place, words, ip, end, current_tick());
    if (decision.fate == FATE_DROP) return drop_packet(decision.drop);
    if (decision.fate != FATE_CARRY || !decision.entry) return TC_ACT_OK;

    const struct dstm_next_hop *hop = next_hop_of(decision.entry);
    const struct load load = load_of(skb, at, ip);
    // RFC 2473 s7.2: the daemon answers "fragmentation needed", or has the outer packet fragmented.
    if (!fits_path(decision.entry, hop, load.largest + OUTER_SIZE)) return TC_ACT_OK;

    clamp_mss_ipv4(skb, at, ip, path_mtu_of(decision.entry, hop));
    return wrap_and_send(skb, at, total_of(words), 0, &decision, hop, &load);
}

enum stripped { STRIPPED, NOT_STRIPPED, HALF_STRIPPED };

// Takes `size` bytes of outer headers away. The kernel does not do it to merged packets of every
// protocol; half of it cannot be undone.
static __always_inline enum stripped strip_outer(struct __sk_buff *skb, __u32 size,
                                                 __u8 protocol) {
    const int longer = -(int)size;
    const long failed =
        bpf_skb_adjust_room(skb, longer, BPF_ADJ_ROOM_MAC,
                            BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_DECAP_L3_IPV4);
    if (!failed) return STRIPPED;
    if (failed != -EINVAL) return NOT_STRIPPED;
    // Linux before 6.3: first from the 40 bytes of IPv6 to the 20 of IPv4, then the rest.
    if (!may_change_version(skb, protocol)) return NOT_STRIPPED;
    if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0)) return NOT_STRIPPED;
    if (bpf_skb_adjust_room(skb, longer + 20, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO)) {
        return HALF_STRIPPED;
    }
    return STRIPPED;
}

// Client to client: the outer header gets the addresses of the second tunnel, where it stands.
// Stripped and wrapped anew, a merged packet would be refused by the kernel.
static __always_inline int turn_round(struct __sk_buff *skb, __u32 size,
                                      const struct decision *up, const struct load *load,
                                      struct iphdr *ip, struct ipv6hdr *outer, void *end,
                                      int *done) {
    *done = 0;
    if (ip->ttl <= 1) return 0;  // the kernel says "time exceeded"
    // Options and checksums are the kernel's to look at.
    const struct ipv4_words words = words_of(ip);
    if (*(const __u8 *)ip != IPV4_PLAIN || !is_sum_right(words)) return 0;
    const struct place place = find_place(bpf_ntohl(words.destination));
    const struct decision down = decide_down(place, words, ip, end, current_tick());
    if (down.fate != FATE_CARRY || !down.entry) return 0;  // the device's own hook decides
    const struct dstm_next_hop *hop = next_hop_of(down.entry);
    if (!fits_path(down.entry, hop, load->largest + OUTER_SIZE)) return 0;
    if (size != OUTER_SIZE) return 0;
    // Its MSS is for two tunnels to clamp, and it is one packet of a connection.
    if (settings.mss_clamp && ip->protocol == IPPROTO_TCP && is_first_fragment(ip)) {
        const __u8 *flags = (const __u8 *)ip + (*(const __u8 *)ip & 0x0f) * 4 + TCP_FLAGS;
        if ((void *)(flags + 1) > end || (*flags & TCP_SYN)) return 0;
    }
    *done = 1;
    set_ecn(ip, up->ecn);
    count_ttl_down(ip, words_of(ip));
    write_outer(outer, down.peer, ip->tos, bpf_ntohs(ip->tot_len));
    count_up(up->entry, load->packets, load->bytes);
    count_down(down.entry, load->packets, load->bytes);
    return send_to(skb, hop);
}

// How this inner packet goes on without the kernel's routing; null: with it.
static __always_inline struct cached_route *straight_route(struct __sk_buff *skb, int may,
                                                                 const struct iphdr *ip,
                                                                 const void *end,
                                                                 const struct load *load,
                                                                 const struct dstm_entry *entry) {
    const struct ipv4_words words = words_of(ip);
    if (!may || !is_plain(words, ip, end) || words.destination == settings.inner) return NULL;
    struct cached_route *route =
        route_to(skb, skb->ingress_ifindex, ip->saddr, ip->daddr, entry->last_seen);
    if (route && route->mtu && load->largest > route->mtu) return NULL;
    return route;
}

// An inner packet behind a link header; without a route to the kernel's input.
static __always_inline int deliver(struct __sk_buff *skb, struct cached_route *route,
                                   int ecn) {
    struct ethhdr *link = (void *)(long)skb->data;
    struct iphdr *ip = (void *)(link + 1);
    if ((void *)(ip + 1) > (void *)(long)skb->data_end) return drop_packet(DSTM_DROP_NO_HEADROOM);
    link->h_proto = bpf_htons(ETH_P_IP);
    set_ecn(ip, ecn);
    if (!route) return deliver_to ? bpf_redirect(deliver_to, BPF_F_INGRESS) : TC_ACT_OK;
    count_ttl_down(ip, words_of(ip));
    return send_on(skb, route, ETH_P_IP);
}

// Layer 2 where there is no XDP: from an IPv4 interface straight to the outer one. What is not
// plain goes on to the kernel's routing, and so to layer 1, which judges and counts it.
static __always_inline int straight_down(struct __sk_buff *skb) {
    if (skb->vlan_present) return TC_ACT_UNSPEC;
    make_readable(skb, ETH_HLEN + sizeof(struct iphdr) + 20);
    void *end = (void *)(long)skb->data_end;
    struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;
    if ((void *)(ip + 1) > end) return TC_ACT_UNSPEC;
    const struct ipv4_words words = words_of(ip);
    if (!is_plain(words, ip, end) || !is_from_elsewhere(words.source)) return TC_ACT_UNSPEC;
    if (check_inner(ip, skb->len - ETH_HLEN)) return TC_ACT_UNSPEC;
    const struct place place = find_place(bpf_ntohl(words.destination));
    const struct decision decision = decide_down(place, words, ip, end, current_tick());
    if (decision.fate != FATE_CARRY || !decision.entry) return TC_ACT_UNSPEC;
    const struct dstm_next_hop *hop = next_hop_of(decision.entry);
    const struct load load = load_of(skb, ETH_HLEN, ip);
    if (!fits_path(decision.entry, hop, load.largest + OUTER_SIZE)) return TC_ACT_UNSPEC;
    const int verdict = wrap_and_send(skb, ETH_HLEN, total_of(words), 1, &decision, hop, &load);
    return verdict == TC_ACT_OK ? TC_ACT_UNSPEC : verdict;
}

// `families`: what may pass by the kernel's routing (DSTM_STRAIGHT_*).
static __always_inline int carry_up(struct __sk_buff *skb, __u32 families) {
    if (skb->pkt_type != PACKET_HOST) return TC_ACT_UNSPEC;  // for another station
    const int may = (families & DSTM_STRAIGHT_IPV4) != 0;
    const int may_ipv6 = (families & DSTM_STRAIGHT_IPV6) != 0;
    if (skb->protocol == bpf_htons(ETH_P_IP)) {
        const int verdict = settings.outer_ipv4 ? up_ipv6(skb, may_ipv6) : TC_ACT_UNSPEC;
        return verdict == TC_ACT_UNSPEC && may ? straight_down(skb) : verdict;
    }
    if (skb->protocol != bpf_htons(ETH_P_IPV6)) return TC_ACT_UNSPEC;
    // The VLAN's own interface comes next; identifier 0 is a priority and no VLAN.
    if (skb->vlan_present && (skb->vlan_tci & 0x0fff)) return TC_ACT_UNSPEC;
    make_readable(skb, ETH_HLEN + OUTER_SIZE + LIMIT_OPTION_SIZE + 60 + 20);
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct ipv6hdr *outer = data + ETH_HLEN;
    const __u32 size = outer_size(outer, end);
    if (size == 0 || (void *)(outer + 1) > end) {
        return settings.outer_ipv4 && may_ipv6 ? straight_down_ipv6(skb) : TC_ACT_UNSPEC;
    }
    const __u32 payload = bpf_ntohs(outer->payload_len);
    if (payload == 0) return TC_ACT_UNSPEC;  // longer than the field can say
    if (payload + ETH_HLEN + OUTER_SIZE > skb->len) return drop_packet(DSTM_DROP_OUTER_TRUNCATED);
    if (payload < size - OUTER_SIZE) return TC_ACT_UNSPEC;
    const __u32 available = payload - (size - OUTER_SIZE);

    struct iphdr *ip = (void *)outer + size;
    if (available < sizeof(*ip) || (void *)(ip + 1) > end) {
        const __u8 *first = (void *)ip;
        return drop_packet(available == 0 || (void *)(first + 1) > end
                               ? DSTM_DROP_INNER_TRUNCATED
                               : check_short_inner(*first));
    }
    const __u32 wrong = check_inner(ip, available);
    if (wrong) return drop_packet(wrong);
    const struct ipv4_words words = words_of(ip);
    const struct place place = find_place(bpf_ntohl(words.source));
    const __u32 traffic_class = bpf_ntohs(*(const __u16 *)outer) >> 4;
    const struct decision decision =
        decide_up(place, outer, traffic_class, words, current_tick(), 0);
    if (decision.fate == FATE_DROP) return drop_packet(decision.drop);
    if (decision.fate != FATE_CARRY || !decision.entry) return TC_ACT_UNSPEC;
    if (is_said_of_path(ip, end)) return TC_ACT_UNSPEC;

    const __u32 ip_offset = ETH_HLEN + size;
    const struct load load = load_of(skb, ip_offset, ip);
    const __u32 total = bpf_ntohs(ip->tot_len);
    // Bytes behind the inner packet are not carried.
    if (skb->len > ip_offset + total && bpf_skb_change_tail(skb, ip_offset + total, 0)) {
        return drop_packet(DSTM_DROP_NO_HEADROOM);
    }
    data = (void *)(long)skb->data;
    end = (void *)(long)skb->data_end;
    outer = data + ETH_HLEN;
    ip = (void *)outer + size;
    if ((void *)(outer + 1) > end || (void *)(ip + 1) > end) {
        return drop_packet(DSTM_DROP_NO_HEADROOM);
    }
    if (settings.hairpin && ip->daddr != settings.inner) {
        int done = 0;
        const int verdict = turn_round(skb, size, &decision, &load, ip, outer, end, &done);
        if (done) return verdict;
    }
    struct cached_route *route = straight_route(skb, may, ip, end, &load, decision.entry);
    const __u8 protocol = ip->protocol;
    clamp_mss_ipv4(skb, ip_offset, ip, path_mtu_of(decision.entry, next_hop_of(decision.entry)));
    const enum stripped stripped = strip_outer(skb, size, protocol);
    if (stripped == NOT_STRIPPED) return TC_ACT_UNSPEC;
    if (stripped == HALF_STRIPPED) return drop_packet(DSTM_DROP_NO_HEADROOM);
    count_up(decision.entry, load.packets, load.bytes);
    return deliver(skb, route, decision.ecn);
}

// One for each kind of interface: as `straight` says at the moment, never, always.
SEC("tc")
int dstm_up(struct __sk_buff *skb) { return carry_up(skb, straight); }
SEC("tc")
int dstm_up_routed(struct __sk_buff *skb) { return carry_up(skb, 0); }
SEC("tc")
int dstm_up_straight(struct __sk_buff *skb) {
    return carry_up(skb, DSTM_STRAIGHT_IPV4 | DSTM_STRAIGHT_IPV6);
}

// Layer 2: from interface to interface, on either side of the endpoint.
SEC("xdp")
int dstm_xdp(struct xdp_md *context) { return carry_frame(context); }
