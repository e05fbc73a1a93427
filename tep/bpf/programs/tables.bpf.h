/* The maps, and how to find the entry of an inner address. */
#ifndef DSTM_TABLES_BPF_H
#define DSTM_TABLES_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tep/bpf/layout.h"

/* Read-only for the verifier: branches on what is not configured cost nothing. */
const volatile struct dstm_settings settings = {};

/* Set by the daemon at any time: how many tunnels are in `outside_slots`. */
volatile __u32 outside_count = 0;

/* Set by the daemon at any time: what is plain is forwarded here, past the kernel's routing; a set
 * of DSTM_STRAIGHT_*. */
volatile __u32 straight = 0;

/* Set by the daemon: where packets that leave a tunnel appear; 0 = where they came in. */
volatile __u32 deliver_to = 0;

/* Set by the daemon: the tunnel device; 0 = there is none yet. */
volatile __u32 tunnel_device = 0;

/* Set by the daemon: the interfaces with our programs, each in the place of its number modulo
 * DSTM_PORTS_MAX. */
volatile struct dstm_port ports[DSTM_PORTS_MAX] = {};

/* One array a pool; those without a pool are not created. The daemon sets the sizes, maps the
 * arrays into its memory, and writes and reads entries there without a system call. */
#define DSTM_ARRAY(name, element)          \
    struct {                               \
        __uint(type, BPF_MAP_TYPE_ARRAY);  \
        __uint(map_flags, BPF_F_MMAPABLE); \
        __uint(max_entries, 1);            \
        __type(key, __u32);                \
        __type(value, struct element);     \
    } name SEC(".maps")
/* `records_` beside it is the daemon's memory; no program reads it. */
#define DSTM_POOL_MAP(n)              \
    DSTM_ARRAY(pool_##n, dstm_entry); \
    DSTM_ARRAY(records_##n, dstm_record)
DSTM_POOL_MAP(0);
DSTM_POOL_MAP(1);
DSTM_POOL_MAP(2);
DSTM_POOL_MAP(3);
DSTM_POOL_MAP(4);
DSTM_POOL_MAP(5);
DSTM_POOL_MAP(6);
DSTM_POOL_MAP(7);

/* Tunnels whose inner address is in no pool: to it belongs a slot, and to the slot an entry in the
 * daemon's memory too, as those of a pool. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, DSTM_OUTSIDE_MAX);
    __type(key, __u32);
    __type(value, __u64); /* dstm_lead() */
} outside_slots SEC(".maps");

DSTM_ARRAY(outside_entries, dstm_entry);
DSTM_ARRAY(outside_records, dstm_outside_record); /* the daemon's */

/* Tunnels with IPv6 inside: the same for its address and for its prefix. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 2 * DSTM_IPV6_TUNNELS_MAX);
    __type(key, struct dstm_ipv6_key);
    __type(value, __u64); /* dstm_lead() */
} ipv6_slots SEC(".maps");

DSTM_ARRAY(ipv6_entries, dstm_entry);
DSTM_ARRAY(ipv6_records, dstm_ipv6_record); /* the daemon's */

/* Set by the daemon at any time: the lengths of the prefixes in there, at most
 * DSTM_PREFIX_LENGTHS_MAX. Bit 64 - n of the first stands for length n, that of the second for
 * 64 + n: the lowest bit is the longest prefix, and all from it upwards its mask. */
volatile __u64 prefix_lengths[2] = {};

/* The daemon's, as records_ are; no program reads the next two. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct dstm_meta);
} meta SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, DSTM_HOOKS_MAX);
    __type(key, __u32); /* interface */
    __type(value, struct dstm_hook);
} hooks SEC(".maps");

/* Where the first hops to clients are. A section is a map of one element, whose place the programs
 * know: no lookup. */
volatile struct dstm_next_hop next_hops[DSTM_NEXT_HOPS_MAX] SEC(".data.next_hops") = {};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, DSTM_DROP_COUNT);
    __type(key, __u32);
    __type(value, __u64);
} drops SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 512 * 1024);
} refused SEC(".maps");

static __always_inline void count_drop(__u32 reason) {
    __u64 *counter = bpf_map_lookup_elem(&drops, &reason);
    if (counter) ++*counter; /* of this CPU; a program is not interrupted by itself */
}

static __always_inline const volatile struct dstm_port *port_of(__u32 interface) {
    return &ports[interface % DSTM_PORTS_MAX];
}

/* The kernel inlines the lookup in an array where it knows which one it is: the empty line of
 * assembler, another one for each map, keeps the compiler from making one call of all. */
#define DSTM_LOOK_UP(map, key)                                      \
    ({                                                              \
        struct dstm_entry *found = bpf_map_lookup_elem(&map, key);  \
        asm volatile("# " #map : "+r"(found));                      \
        found;                                                      \
    })

/* Of a pool that is not configured the size is 0, and the verifier takes its lookup away. */
#define DSTM_IN_POOL(n)                                                            \
    {                                                                              \
        if (n > 0 && settings.pools[n].size == 0) return NULL;                     \
        __u32 index = address - settings.pools[n].first;                           \
        if (index < settings.pools[n].size) return DSTM_LOOK_UP(pool_##n, &index); \
    }

/* `address` in host order. */
static __always_inline struct dstm_entry *find_in_pool(__u32 address) {
    DSTM_IN_POOL(0)
    DSTM_IN_POOL(1)
    DSTM_IN_POOL(2)
    DSTM_IN_POOL(3)
    DSTM_IN_POOL(4)
    DSTM_IN_POOL(5)
    DSTM_IN_POOL(6)
    DSTM_IN_POOL(7)
    return NULL;
}

/* What an address outside all pools leads to. Not inlined: few packets need it, and what it needs
 * would be in the way of all others. */
#define NO_LEAD (~0ull)
static __noinline __u64 lead_outside(__u32 address) {
    const volatile __u64 *found = bpf_map_lookup_elem(&outside_slots, &address);
    if (!found) return NO_LEAD;
    const __u64 lead = *found;
    const __u64 tag = lead ^ dstm_lead(0, 0, address);
    return tag >> 48 == 0 ? lead : NO_LEAD;
}

/* Where the tunnel of an address stands. */
struct place {
    struct dstm_entry *entry; /* null: it has none */
    int has_use;              /* outside the pools, where slots serve one tunnel after another: */
    __u32 use;                /* the use number that belongs to the address */
};

static __always_inline struct place find_outside(__u32 address) {
    const __u64 lead = lead_outside(address);
    __u32 slot = (__u32)lead; /* of NO_LEAD there is no such element */
    struct place place = {DSTM_LOOK_UP(outside_entries, &slot), 1, (__u16)(lead >> 32)};
    return place;
}

static __always_inline struct place find_place(__u32 address) {
    const struct place place = {find_in_pool(address), 0, 0};
    return place.entry || outside_count == 0 ? place : find_outside(address);
}

/* The tick, below the jiffy in which the kernel was last asked for it. */
volatile __u64 tick_of_jiffy = 0;

/* The kernel's clock moves once a jiffy, and the number of the jiffy costs one load where the clock
 * costs two calls. */
static __always_inline __u32 current_tick(void) {
    const __u32 jiffy = (__u32)bpf_jiffies64();
    const __u64 known = tick_of_jiffy;
    if ((__u32)(known >> 32) == jiffy) return (__u32)known;
    const __u32 tick = (__u32)(bpf_ktime_get_coarse_ns() >> DSTM_TICK_SHIFT);
    tick_of_jiffy = (__u64)jiffy << 32 | tick;
    return tick;
}

/* A copy of the peer of an entry. The three reads keep their order: volatile for the compiler,
 * and loads are not reordered with loads on x86; elsewhere the window is a few nanoseconds of a
 * client's move. */
struct peer {
    __u64 address[2];
    __u32 state; /* DSTM_ENTRY_WRITING when the two halves may not belong together */
};

/* Of a slot that serves another tunnel by now the state says nothing: this one has ended. */
static __always_inline struct peer read_peer(struct place place) {
    const volatile struct dstm_entry *shared = place.entry;
    struct peer peer;
    peer.state = shared->state;
    peer.address[0] = shared->peer[0];
    peer.address[1] = shared->peer[1];
    if (shared->state != peer.state) {
        peer.state = DSTM_ENTRY_WRITING;
    } else if (place.has_use && peer.state >> DSTM_ENTRY_USE_SHIFT != place.use) {
        peer.state &= DSTM_ENTRY_WRITING;
    }
    return peer;
}

#endif
