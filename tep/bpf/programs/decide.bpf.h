/* What happens to a packet, on its headers alone: the same for a socket buffer (tc) and a frame
 * (XDP). The order of the checks is that of common/tunnel/reference_model.hpp, so that the same
 * packet counts as the same drop in every data plane. */
#ifndef DSTM_DECIDE_BPF_H
#define DSTM_DECIDE_BPF_H

#include <linux/ipv6.h>

#include "tep/bpf/programs/inner.bpf.h"
#include "tep/bpf/programs/tables.bpf.h"

#define OUTER_SIZE sizeof(struct ipv6hdr)
#define LIMIT_OPTION_SIZE 8 /* destination options with an encapsulation limit, RFC 2473 s4.1.1 */
#define OUTER_HOP_LIMIT 64
#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMP_REDIRECT 5

enum fate {
    FATE_CARRY,
    FATE_DROP,    /* and `drop` says why */
    FATE_KERNEL,  /* not ours, or not for a program: the host's stack and then the daemon */
};

struct decision {
    enum fate fate;
    __u32 drop;
    struct dstm_entry *entry;
    __u64 peer[2]; /* down */
    int ecn;       /* up: of the inner packet as it leaves, or ECN_STAYS */
};

static __always_inline struct decision dropped(__u32 reason) {
    struct decision decision = {.fate = FATE_DROP, .drop = reason};
    return decision;
}

static __always_inline struct decision left_to_kernel(void) {
    struct decision decision = {.fate = FATE_KERNEL};
    return decision;
}

static __always_inline int is_to_endpoint(const struct ipv6hdr *outer) {
    const __u64 *destination = (const __u64 *)&outer->daddr;
    return destination[0] == settings.outer[0] && destination[1] == settings.outer[1];
}

/* Bytes before the inner packet, 0 when this is not a packet of a tunnel or has headers that the
 * kernel must read first (fragments, other options). `end` bounds what can be read. */
static __always_inline __u32 outer_size(const struct ipv6hdr *outer, const void *end) {
    if ((const void *)(outer + 1) > end) return 0;
    if (!is_to_endpoint(outer)) return 0;
    if (outer->version != 6) return 0;
    if (outer->nexthdr == IPPROTO_IPIP) return OUTER_SIZE;
    if (outer->nexthdr != IPPROTO_DSTOPTS) return 0;

    /* Linux sends: next header 4, length 0, option 4 (limit) of one byte, PadN of one byte. */
    const __u8 *options = (const __u8 *)(outer + 1);
    if ((const void *)(options + LIMIT_OPTION_SIZE) > end) return 0;
    if (options[0] != IPPROTO_IPIP || options[1] != 0 || options[2] != 4 || options[3] != 1) {
        return 0;
    }
    if (options[5] != 1 || options[6] != 1) return 0;
    return OUTER_SIZE + LIMIT_OPTION_SIZE;
}

/* Tells the daemon whom the source check refused; it finds out whether the outer or the inner
 * address is unknown or another's, and counts. What is no client's address by itself has no tunnel,
 * so that it is enough to ask for it here. */
static __always_inline struct decision refuse(const struct ipv6hdr *outer, __be32 inner) {
    if (!is_usable_unicast(inner) || inner == settings.inner) return dropped(DSTM_DROP_BAD_SOURCE);
    struct dstm_refused *note = bpf_ringbuf_reserve(&refused, sizeof(*note), 0);
    if (!note) return dropped(DSTM_DROP_SOURCE_CHECK);
    const __u64 *source = (const __u64 *)&outer->saddr;
    note->outer[0] = source[0];
    note->outer[1] = source[1];
    note->inner_ipv6[0] = 0;
    note->inner_ipv6[1] = 0;
    note->inner = bpf_ntohl(inner);
    note->is_ipv6 = 0;
    bpf_ringbuf_submit(note, BPF_RB_NO_WAKEUP);
    return dropped(DSTM_DROP_NONE);
}

/* `outer` can be read whole, check_inner() has been done; `place` is that of the source of `ip`. */
static __always_inline struct decision decide_up(struct place place, const struct ipv6hdr *outer,
                                                 __u32 traffic_class, struct ipv4_words ip,
                                                 __u32 tick, int is_destination_good) {
    if (!place.entry) return refuse(outer, ip.source);
    const struct peer peer = read_peer(place);
    if (peer.state & DSTM_ENTRY_WRITING) return left_to_kernel();
    const __u64 *outer_source = (const __u64 *)&outer->saddr;
    if (!(peer.state & DSTM_ENTRY_CARRIED) || peer.address[0] != outer_source[0] ||
        peer.address[1] != outer_source[1]) {
        return refuse(outer, ip.source);
    }
    if (tick >= place.entry->expires) return dropped(DSTM_DROP_EXPIRED);
    if (!is_destination_good && !is_usable_unicast(ip.destination)) {
        return dropped(DSTM_DROP_BAD_DESTINATION);
    }
    int ecn = ECN_STAYS;
    if (((tos_of(ip) ^ traffic_class) & ECN_MASK) != 0) {
        ecn = ecn_leaving(tos_of(ip), traffic_class);
        if (ecn < 0) return dropped(DSTM_DROP_ECN_CONGESTED);
    }
    place.entry->last_seen = tick; /* two packets on two CPUs write the same value: no lock */
    struct decision decision = {.fate = FATE_CARRY, .entry = place.entry, .ecn = ecn};
    return decision;
}

/* What a client says of its path to the endpoint is for the daemon (Carrier::hear_of_path). */
static __always_inline int is_said_of_path(const struct iphdr *ip, const void *end) {
    if (ip->daddr != settings.inner || ip->protocol != IPPROTO_ICMP) return 0;
    const __u8 *type = (const __u8 *)ip + (*(const __u8 *)ip & 0x0f) * 4;
    if (!is_first_fragment(ip) || (const void *)(type + 2) > end) return 0;
    return type[0] == ICMP_UNREACHABLE && type[1] == ICMP_FRAGMENTATION_NEEDED;
}

static __always_inline int is_carried(__u32 address) {
    const struct place place = find_place(address);
    return place.entry && (read_peer(place).state & DSTM_ENTRY_CARRIED);
}

/* Whether it may be a client's, without a look at its entry. */
static __always_inline int is_of_tunnels(__u32 address) {
#pragma unroll
    for (__u32 i = 0; i < DSTM_POOLS_MAX; ++i) {
        const __u32 size = settings.pools[i].size;
        if (size == 0) break;
        if (address - settings.pools[i].first < size) return 1;
    }
    return outside_count != 0 && lead_outside(address) != NO_LEAD;
}

/* The kernel sees a hairpin as a detour and would tell the client a shorter way; there is none. */
static __always_inline int is_own_redirect(const struct iphdr *ip, const void *end) {
    if (!is_first_fragment(ip)) return 0;
    const __u32 header_size = (*(const __u8 *)ip & 0x0f) * 4;
    const __u8 *type = (const __u8 *)ip + header_size;
    if (bpf_ntohs(ip->tot_len) <= header_size || (const void *)(type + 1) > end) return 0;
    return *type == ICMP_REDIRECT;
}

/* `ip` can be read whole and says `words`, `end` bounds what follows; check_inner() has been done;
 * `place` is that of its destination. */
static __always_inline struct decision decide_down(struct place place, struct ipv4_words words,
                                                   const struct iphdr *ip, const void *end,
                                                   __u32 tick) {
    if (!place.entry) return dropped(DSTM_DROP_NO_TUNNEL);
    const struct peer peer = read_peer(place);
    if (peer.state & DSTM_ENTRY_WRITING) return left_to_kernel();
    if (!(peer.state & DSTM_ENTRY_CARRIED)) return dropped(DSTM_DROP_NO_TUNNEL);
    if (!settings.hairpin && is_carried(bpf_ntohl(words.source))) {
        return dropped(DSTM_DROP_HAIRPIN_OFF);
    }
    if (has_protocol(words, IPPROTO_ICMP) && words.source == settings.inner &&
        is_own_redirect(ip, end)) {
        return dropped(DSTM_DROP_REDIRECT);
    }
    if (tick >= place.entry->expires) return dropped(DSTM_DROP_EXPIRED);
    struct decision decision = {.fate = FATE_CARRY, .entry = place.entry};
    decision.peer[0] = peer.address[0];
    decision.peer[1] = peer.address[1];
    return decision;
}

static __always_inline const struct dstm_next_hop *next_hop_of(const struct dstm_entry *entry) {
    const volatile struct dstm_next_hop *hop = &next_hops[entry->next_hop % DSTM_NEXT_HOPS_MAX];
    asm volatile("" : "+r"(hop)); /* or the compiler finds it anew for each use */
    return (const struct dstm_next_hop *)hop;
}

/* Whether an outer packet of `size` bytes fits the path to the client. Not where there is none. */
static __always_inline int fits_path(const struct dstm_entry *entry,
                                     const struct dstm_next_hop *hop, __u32 size) {
    if (size > hop->mtu) return 0;
    return size - 1 <= (__u32)entry->path_mtu - 1; /* 0 sets no limit */
}

/* What fits it; 0: there is none. */
static __always_inline __u32 path_mtu_of(const struct dstm_entry *entry,
                                         const struct dstm_next_hop *hop) {
    const __u32 path = entry->path_mtu;
    return path && path < hop->mtu ? path : hop->mtu;
}

static __always_inline void count_up(struct dstm_entry *entry, __u64 packets, __u64 bytes) {
    __sync_fetch_and_add(&entry->packets_up, packets);
    __sync_fetch_and_add(&entry->bytes_up, bytes);
}

static __always_inline void count_down(struct dstm_entry *entry, __u64 packets, __u64 bytes) {
    __sync_fetch_and_add(&entry->packets_down, packets);
    __sync_fetch_and_add(&entry->bytes_down, bytes);
}

/* RFC 2473 s5.1; RFC 2983 s3 and RFC 6040 s4.1: the traffic class is a copy of the inner one. In
 * whole words: a processor forwards no value that was stored in parts. */
static __always_inline void write_outer(struct ipv6hdr *outer, const __u64 *peer, __u8 tos,
                                        __u32 payload_size) {
    __u64 *words = (__u64 *)outer;
    words[0] = bpf_cpu_to_be64(6ULL << 60 | (__u64)tos << 52 | (__u64)(__u16)payload_size << 16 |
                               IPPROTO_IPIP << 8 | OUTER_HOP_LIMIT);
    words[1] = settings.outer[0];
    words[2] = settings.outer[1];
    words[3] = peer[0];
    words[4] = peer[1];
}

/* `addresses` are twelve bytes, destination and source, of sixteen that are aligned; byte by byte
 * the compiler would copy them otherwise. */
static __always_inline void write_link(void *link, const void *addresses, __u16 protocol) {
    const __u64 *words = addresses;
    *(__u64 *)link = words[0];
    *(__u32 *)(link + 8) = *(const __u32 *)(words + 1);
    *(__u16 *)(link + 12) = bpf_htons(protocol);
}

#endif
