/* What happens to IPv6 inside IPv4 (v6v4) or inside UDP in IPv4 (v6udpv4), on its headers alone:
 * RFC 4213, RFC 8200, RFC 6040. The order of the checks is that of
 * common/tunnel/reference_model.hpp. Inner packets with extension headers are the daemon's. */
#ifndef DSTM_IPV6_INSIDE_BPF_H
#define DSTM_IPV6_INSIDE_BPF_H

#include <linux/ipv6.h>
#include <linux/udp.h>

#include "tep/bpf/programs/decide.bpf.h"
#include "tep/bpf/programs/mss.bpf.h"
#include "tep/bpf/programs/route_cache.bpf.h"

#define OUTER_IPV4_SIZE sizeof(struct iphdr)
#define OUTER_UDP_SIZE (OUTER_IPV4_SIZE + sizeof(struct udphdr))
#define INNER_IPV6_MTU_MIN 1280 /* RFC 8200 s5 */
#define ICMPV6_TOO_BIG 2
#define ICMPV6_ROUTER_SOLICITATION 133
#define LINK_LOCAL 0x3fa /* the first ten bits of fe80::/10 */

/* The client's end as entries hold it, in peer[0]: address in network order, then the port in the
 * host's; port 0 is v6v4. One word, so that it is never half of two. */
static __always_inline __u64 ipv4_peer(__be32 address, __u16 port) {
    return (__u64)port << 32 | address;
}
static __always_inline __be32 peer_address(__u64 peer) { return (__be32)peer; }
static __always_inline __u16 peer_port(__u64 peer) { return (__u16)(peer >> 32); }
static __always_inline __u32 overhead_to(__u64 peer) {
    return peer_port(peer) ? OUTER_UDP_SIZE : OUTER_IPV4_SIZE;
}

/* Addresses are 4-aligned in a packet. */
static __always_inline void read_address(__u64 *out, const struct in6_addr *address) {
    const __u32 *words = (const __u32 *)address;
    out[0] = (__u64)words[1] << 32 | words[0];
    out[1] = (__u64)words[3] << 32 | words[2];
}

/* `available` bytes of packet begin at `ip`, of which at least sizeof(*ip) can be read. */
static __always_inline __u32 check_inner_ipv6(const struct ipv6hdr *ip, __u32 available) {
    if (*(const __u8 *)ip >> 4 != 6) return DSTM_DROP_INNER_BAD_VERSION;
    if (sizeof(*ip) + bpf_ntohs(ip->payload_len) > available) return DSTM_DROP_INNER_TRUNCATED;
    return DSTM_DROP_NONE;
}

static __always_inline __u32 check_short_inner_ipv6(__u8 first) {
    return first >> 4 == 6 ? DSTM_DROP_INNER_TRUNCATED : DSTM_DROP_INNER_BAD_VERSION;
}

/* RFC 8200 s4: hop-by-hop, routing, fragment, destination options. */
static __always_inline int has_extension(const struct ipv6hdr *ip) {
    return ip->nexthdr == 0 || ip->nexthdr == 43 || ip->nexthdr == 44 || ip->nexthdr == 60;
}

static __always_inline int has_link_scope(const __u64 *address) {
    const __u64 high = bpf_be64_to_cpu(address[0]);
    if (high >> 54 == LINK_LOCAL) return 1;
    return high >> 56 == 0xff && (high >> 48 & 0x0f) <= 2;
}

/* The address of one host: not multicast, not link-local, none that stands for one of IPv4. */
static __always_inline int is_ipv6_host(const __u64 *address) {
    const __u64 high = bpf_be64_to_cpu(address[0]);
    const __u32 third = (__u32)(bpf_be64_to_cpu(address[1]) >> 32);
    if (high >> 56 == 0xff || high >> 54 == LINK_LOCAL) return 0;
    return high != 0 || (third != 0 && third != 0xffff);
}

/* What concerns one link of IPv6 does not go through a tunnel. */
static __always_inline __u32 check_scope(const struct ipv6hdr *ip, const void *end,
                                         const __u64 *source, const __u64 *destination) {
    const __u8 *type = (const __u8 *)(ip + 1);
    if (ip->nexthdr == IPPROTO_ICMPV6 && ip->payload_len != 0 && (const void *)(type + 1) <= end &&
        *type == ICMPV6_ROUTER_SOLICITATION) {
        return DSTM_DROP_ROUTER_SOLICITATION;
    }
    if (has_link_scope(source) || has_link_scope(destination)) return DSTM_DROP_LINK_LOCAL;
    return DSTM_DROP_NONE;
}

/* Takes the longest length out of `lengths`, one word of prefix_lengths. */
static __always_inline __u32 take_longest(__u64 *lengths, __u64 *mask) {
    __u64 last = *lengths & -*lengths;
    asm volatile("" : "+r"(last)); /* the compiler knows no instruction to count zeros */
    *lengths ^= last;
    *mask = bpf_cpu_to_be64(-last);
    return 64 - (__u32)__builtin_popcountll(last - 1);
}

/* The key of the longest prefix in `lengths` that there may be around this address; 0: none. */
static __always_inline int next_prefix(struct dstm_ipv6_key *key, __u64 *lengths, __u64 high,
                                       __u64 low) {
    __u64 mask;
    if (lengths[1]) {
        key->length = 64 + take_longest(&lengths[1], &mask);
        key->address[1] = low & mask;
        return 1;
    }
    if (!lengths[0]) return 0;
    key->length = take_longest(&lengths[0], &mask);
    key->address[0] = high & mask;
    key->address[1] = 0;
    return 1;
}

/* Whose address it is; else behind whom it is, by the longest prefix; and that one's peer. As many
 * lookups as there are lengths of prefixes, however many tunnels. Not inlined: it has many callers.
 * An entry that serves another tunnel by now is none: this one's has ended. */
static __noinline struct dstm_entry *find_ipv6_entry(__u64 high, __u64 low, __u64 *peer) {
    struct dstm_ipv6_key key = {{high, low}, 128, 0};
    __u64 lengths[2] = {prefix_lengths[0], prefix_lengths[1]};
    const volatile __u64 *found = bpf_map_lookup_elem(&ipv6_slots, &key);
    for (int i = 0; !found && i < DSTM_PREFIX_LENGTHS_MAX; ++i) {
        if (!next_prefix(&key, lengths, high, low)) break;
        found = bpf_map_lookup_elem(&ipv6_slots, &key);
    }
    if (!found) return NULL;
    const __u64 lead = *found;
    __u32 slot = (__u32)lead;
    struct dstm_entry *entry = bpf_map_lookup_elem(&ipv6_entries, &slot);
    if (!entry) return NULL;
    const volatile struct dstm_entry *shared = entry;
    *peer = shared->peer[0];
    const __u32 state = shared->state; /* after the peer, as in read_peer() */
    if (!(state & DSTM_ENTRY_CARRIED)) return NULL;
    return lead == dstm_lead(slot, state, dstm_ipv6_key_number(&key)) ? entry : NULL;
}

/* Not for layer 2: to the endpoint, or from client to client. */
static __always_inline int stays_here(const __u64 *destination) {
    const int is_own = destination[0] == settings.inner_ipv6[0] &&
                       destination[1] == settings.inner_ipv6[1];
    __u64 peer = 0;
    return is_own || find_ipv6_entry(destination[0], destination[1], &peer) != NULL;
}

static __always_inline struct decision refuse_ipv6(__u64 peer, const __u64 *source) {
    struct dstm_refused *note = bpf_ringbuf_reserve(&refused, sizeof(*note), 0);
    if (!note) return dropped(DSTM_DROP_SOURCE_CHECK);
    note->outer[0] = peer;
    note->outer[1] = 0;
    note->inner_ipv6[0] = source[0];
    note->inner_ipv6[1] = source[1];
    note->inner = 0;
    note->is_ipv6 = 1;
    bpf_ringbuf_submit(note, BPF_RB_NO_WAKEUP);
    return dropped(DSTM_DROP_NONE);
}

/* As is_said_of_path(). */
static __always_inline int is_said_of_path_ipv6(const struct ipv6hdr *ip, const void *end) {
    __u64 destination[2];
    read_address(destination, &ip->daddr);
    if (destination[0] != settings.inner_ipv6[0] || destination[1] != settings.inner_ipv6[1]) {
        return 0;
    }
    const __u8 *type = (const __u8 *)(ip + 1);
    return ip->nexthdr == IPPROTO_ICMPV6 && (const void *)(type + 1) <= end &&
           *type == ICMPV6_TOO_BIG;
}

/* check_inner_ipv6() has been done, and there is no extension header. */
static __always_inline struct decision decide_up_ipv6(__u64 peer, __u8 outer_tos,
                                                      const struct ipv6hdr *ip, const void *end) {
    __u64 source[2];
    __u64 destination[2];
    read_address(source, &ip->saddr);
    read_address(destination, &ip->daddr);
    const __u32 out_of_scope = check_scope(ip, end, source, destination);
    if (out_of_scope) return dropped(out_of_scope);
    const int is_own =
        source[0] == settings.inner_ipv6[0] && source[1] == settings.inner_ipv6[1];
    if (is_own || !is_ipv6_host(source)) return dropped(DSTM_DROP_BAD_SOURCE);
    __u64 owner = 0;
    struct dstm_entry *entry = find_ipv6_entry(source[0], source[1], &owner);
    if (!entry || owner != peer) return refuse_ipv6(peer, source);
    const __u32 tick = current_tick();
    if (tick >= entry->expires) return dropped(DSTM_DROP_EXPIRED);
    if (!is_ipv6_host(destination)) return dropped(DSTM_DROP_BAD_DESTINATION);
    const int ecn = ecn_leaving(bpf_ntohs(*(const __u16 *)ip) >> 4, outer_tos);
    if (ecn < 0) return dropped(DSTM_DROP_ECN_CONGESTED);
    if (entry->last_seen != tick) entry->last_seen = tick;
    struct decision decision = {.fate = FATE_CARRY, .entry = entry, .ecn = ecn};
    decision.peer[0] = peer;
    return decision;
}

/* As above. */
static __always_inline struct decision decide_down_ipv6(const struct ipv6hdr *ip,
                                                        const void *end) {
    __u64 source[2];
    __u64 destination[2];
    read_address(source, &ip->saddr);
    read_address(destination, &ip->daddr);
    const __u32 out_of_scope = check_scope(ip, end, source, destination);
    if (out_of_scope) return dropped(out_of_scope);
    __u64 peer = 0;
    __u64 sender = 0;
    struct dstm_entry *entry = find_ipv6_entry(destination[0], destination[1], &peer);
    if (!entry) return dropped(DSTM_DROP_NO_TUNNEL);
    if (!settings.hairpin && find_ipv6_entry(source[0], source[1], &sender)) {
        return dropped(DSTM_DROP_HAIRPIN_OFF);
    }
    if (current_tick() >= entry->expires) return dropped(DSTM_DROP_EXPIRED);
    struct decision decision = {.fate = FATE_CARRY, .entry = entry};
    decision.peer[0] = peer;
    return decision;
}

/* What layer 2 takes: nothing for which the kernel or the daemon must say or change something. */
static __always_inline int is_plain_ipv6(const struct ipv6hdr *ip, const void *end) {
    if (*(const __u8 *)ip >> 4 != 6 || ip->hop_limit <= 1) return 0;
    if (ip->payload_len == 0 || has_extension(ip)) return 0;
    if (!settings.mss_clamp || ip->nexthdr != IPPROTO_TCP) return 1;
    const __u8 *flags = (const __u8 *)(ip + 1) + TCP_FLAGS;
    return (const void *)(flags + 1) <= end && !(*flags & TCP_SYN);
}

/* As is_from_elsewhere(). */
static __always_inline int is_ipv6_from_elsewhere(const struct ipv6hdr *ip) {
    __u64 source[2];
    read_address(source, &ip->saddr);
    if (source[0] == settings.outer[0] && source[1] == settings.outer[1]) return 0;
    if (source[0] == settings.inner_ipv6[0] && source[1] == settings.inner_ipv6[1]) return 0;
    return is_ipv6_host(source);
}

/* The way to a client, and the MTU of the path there; null: the kernel's, by the daemon. */
static __always_inline struct cached_route *route_to_peer(void *context, __u32 interface,
                                                                __u64 peer,
                                                                const struct dstm_entry *entry,
                                                                __u32 *path_mtu) {
    struct cached_route *route =
        route_to(context, interface, settings.outer_ipv4, peer_address(peer), current_tick());
    if (!route || route->mtu == 0) return NULL;
    const __u32 path = entry->path_mtu;
    *path_mtu = path && path < route->mtu ? path : route->mtu;
    return route;
}

/* What fits inside: at least what every link of IPv6 carries, in outer fragments if need be. */
static __always_inline __u32 inner_ipv6_mtu(__u32 path_mtu, __u64 peer) {
    const __u32 overhead = overhead_to(peer);
    return path_mtu < INNER_IPV6_MTU_MIN + overhead ? INNER_IPV6_MTU_MIN : path_mtu - overhead;
}

static __always_inline void set_ecn_ipv6(struct ipv6hdr *ip, int ecn) {
    __u8 *second = (__u8 *)ip + 1;
    *second = (__u8)((*second & 0xcf) | ecn << 4);
}

/* RFC 4213 s3.5, with DF: what does not fit is not sent from here. */
static __always_inline void write_outer_ipv4(struct iphdr *outer, __u64 peer, __u8 tos,
                                             __u32 payload_size) {
    const __u8 protocol = peer_port(peer) ? IPPROTO_UDP : IPPROTO_IPV6;
    __u32 *words = (__u32 *)outer;
    words[0] = bpf_htonl(0x45u << 24 | (__u32)tos << 16 |
                         (__u32)(__u16)(OUTER_IPV4_SIZE + payload_size));
    words[1] = bpf_htonl(IPV4_DONT_FRAGMENT);
    words[2] = bpf_htonl((__u32)OUTER_HOP_LIMIT << 24 | (__u32)protocol << 16);
    words[3] = settings.outer_ipv4;
    words[4] = peer_address(peer);
    outer->check = (__u16)~sum_of_header(outer);
}

/* The sum of an inner packet whose transport checksum is right, or will be when the host's card
 * has filled it in: that checksum takes back the addresses and the segment, which leaves the
 * header's first words. 0: not of such a transport. */
static __always_inline __u32 sum_of_inner(const struct ipv6hdr *ip, const void *end) {
    const struct udphdr *udp = (const void *)(ip + 1);
    /* Options may follow the datagram, which its checksum does not cover (RFC 9868). */
    const int is_udp = ip->nexthdr == IPPROTO_UDP && (const void *)(udp + 1) <= end && udp->check &&
                       udp->len == ip->payload_len;
    if (!is_udp && ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_ICMPV6) return 0;
    const __u16 *words = (const __u16 *)ip;
    return (__u32)words[0] + words[1] + words[3] + (__u16)~bpf_htons(ip->nexthdr);
}

/* RFC 768. `inner` is sum_of_inner(); without it the field stays empty. */
static __always_inline void write_udp(struct udphdr *udp, __u64 peer, __u32 inner_size,
                                      __u32 inner) {
    const __u16 size = bpf_htons((__u16)(sizeof(*udp) + inner_size));
    udp->source = bpf_htons(settings.udp_port);
    udp->dest = bpf_htons(peer_port(peer));
    udp->len = size;
    udp->check = 0;
    if (!inner) return;
    const __u32 addresses = (settings.outer_ipv4 & 0xffff) + (settings.outer_ipv4 >> 16) +
                            (peer_address(peer) & 0xffff) + (peer_address(peer) >> 16);
    const __u16 check = (__u16)~folded(addresses + bpf_htons(IPPROTO_UDP) + size + udp->source +
                                       udp->dest + size + inner);
    udp->check = check ? check : 0xffff;
}

/* What comes before an inner packet of `total` bytes, behind the link header at `link`; 0: there is
 * no room. Of what will be more than one packet, each would need its own checksum of UDP. */
static __always_inline int write_headers(void *link, const void *end, __u64 peer, __u32 total,
                                         int is_one_packet) {
    struct iphdr *outer = link + ETH_HLEN;
    struct udphdr *udp = (void *)(outer + 1);
    struct ipv6hdr *ip = peer_port(peer) ? (void *)(udp + 1) : (void *)udp;
    if ((void *)(ip + 1) > end) return 0;
    const __u8 tos = (__u8)(bpf_ntohs(*(const __u16 *)ip) >> 4);
    write_outer_ipv4(outer, peer, tos, overhead_to(peer) - OUTER_IPV4_SIZE + total);
    if (peer_port(peer)) write_udp(udp, peer, total, is_one_packet ? sum_of_inner(ip, end) : 0);
    return 1;
}

/* Where the inner packet of an IPv4 packet to this endpoint begins behind the IPv4 header, and
 * whose it is; 0: none of ours, or the kernel's (options, fragments, a wrong
 * checksum, signalling). */
static __always_inline __u32 open_ipv4(const struct iphdr *outer, const void *end, __u64 *peer) {
    if (*(const __u8 *)outer != IPV4_PLAIN || outer->daddr != settings.outer_ipv4) return 0;
    if (outer->frag_off & bpf_htons(IPV4_OFFSET_MASK | IPV4_MORE_FRAGMENTS)) return 0;
    if (!is_sum_right(words_of(outer))) return 0;
    *peer = ipv4_peer(outer->saddr, 0);
    if (outer->protocol == IPPROTO_IPV6) return OUTER_IPV4_SIZE;
    if (outer->protocol != IPPROTO_UDP || !settings.udp_port) return 0;
    const struct udphdr *udp = (const void *)(outer + 1);
    const __u8 *first = (const void *)(udp + 1);
    if ((const void *)(first + 1) > end || udp->dest != bpf_htons(settings.udp_port)) return 0;
    /* A datagram shorter than its packet, and data in which the first nibble is not 6. */
    if (bpf_ntohs(udp->len) + OUTER_IPV4_SIZE != bpf_ntohs(outer->tot_len)) return 0;
    if (bpf_ntohs(udp->len) <= sizeof(*udp) || *first >> 4 != 6 || !udp->source) return 0;
    *peer = ipv4_peer(outer->saddr, bpf_ntohs(udp->source));
    return OUTER_UDP_SIZE;
}

#endif
