/* The next hop of what leaves a tunnel, when a program forwards it itself: the kernel's answer is
 * kept per destination for a moment, since asking costs more than all the rest. */
#ifndef DSTM_ROUTE_CACHE_BPF_H
#define DSTM_ROUTE_CACHE_BPF_H

#include <linux/if_ether.h>

#include "tep/bpf/programs/tables.bpf.h"

#define AF_INET 2
#define AF_INET6 10
#define ROUTE_CACHE_SLOTS 4096
#define ROUTE_CACHE_TICKS 8 /* half a second: how long a change of routes may go unseen */

struct cached_route {
    __u32 destination; /* network order; 0 = none */
    __u32 until;       /* tick */
    __u32 interface;
    __u16 mtu;
    __u8 takes_frames; /* as in dstm_port */
    __u8 owes;         /* a packet to the kernel's neighbour table; 2: XDP has sent one up for it */
    __u8 addresses[16] __attribute__((aligned(8))); /* of the link: to, from; four of padding */
};

/* One a CPU: written and read without locks. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, ROUTE_CACHE_SLOTS);
    __type(key, __u32);
    __type(value, struct cached_route);
} route_cache SEC(".maps");

static __always_inline void write_route(struct cached_route *route,
                                        const struct bpf_fib_lookup *answer, __u32 tick) {
    const volatile struct dstm_port *port = port_of(answer->ifindex);
    route->owes = 1;
    route->takes_frames = port->interface == answer->ifindex && port->takes_frames;
    route->interface = answer->ifindex;
    route->mtu = answer->mtu_result;
    __builtin_memcpy(route->addresses, answer->dmac, ETH_ALEN);
    __builtin_memcpy(route->addresses + ETH_ALEN, answer->smac, ETH_ALEN);
    route->until = tick + ROUTE_CACHE_TICKS;
}

static __always_inline struct cached_route *route_slot(__be32 destination) {
    __u32 slot = (destination * 0x9e3779b1u) >> 20; /* 12 bits: ROUTE_CACHE_SLOTS */
    return bpf_map_lookup_elem(&route_cache, &slot);
}

static __always_inline struct cached_route *known_route(__be32 destination, __u32 tick) {
    struct cached_route *route = route_slot(destination);
    return route && route->destination == destination && tick < route->until ? route : NULL;
}

/* Apart from the look into the cache, so that what only the question needs is not read for every
 * packet. `context` is that of a tc or XDP program. Null: the kernel must
 * forward this one; a way back into the tunnels is its own, too. */
static __noinline struct cached_route *ask_for_route(void *context, __u32 interface,
                                                           __be32 source, __be32 destination,
                                                           __u32 tick) {
    struct cached_route *route = route_slot(destination);
    if (!route) return NULL;
    struct bpf_fib_lookup question = {};
    question.family = AF_INET;
    question.ifindex = interface;
    question.ipv4_src = source;
    question.ipv4_dst = destination;
    question.tot_len = 1; /* fits, and so the answer has the MTU of the path, not of the link */
    route->destination = 0;
    if (bpf_fib_lookup(context, &question, sizeof(question), 0) != BPF_FIB_LKUP_RET_SUCCESS ||
        question.ifindex == tunnel_device) {
        return NULL;
    }
    write_route(route, &question, tick);
    route->destination = destination;
    return route;
}

static __always_inline struct cached_route *route_to(void *context, __u32 interface,
                                                           __be32 source, __be32 destination,
                                                           __u32 tick) {
    struct cached_route *route = known_route(destination, tick);
    return route ? route : ask_for_route(context, interface, source, destination, tick);
}

struct cached_ipv6_route {
    __u64 destination[2]; /* zeros = none */
    struct cached_route route;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, ROUTE_CACHE_SLOTS);
    __type(key, __u32);
    __type(value, struct cached_ipv6_route);
} route_cache_v6 SEC(".maps");

/* As route_to(). */
static __always_inline struct cached_route *route_to_ipv6(void *context, __u32 interface,
                                                                const __u64 *source,
                                                                const __u64 *destination,
                                                                __u32 tick) {
    __u32 slot = (__u32)((destination[0] ^ destination[1]) * 0x9e3779b97f4a7c15ULL >> 52);
    struct cached_ipv6_route *cached = bpf_map_lookup_elem(&route_cache_v6, &slot);
    if (!cached) return NULL;
    struct cached_route *route = &cached->route;
    if (cached->destination[0] == destination[0] && cached->destination[1] == destination[1] &&
        tick < route->until) {
        return route;
    }

    struct bpf_fib_lookup question = {};
    question.family = AF_INET6;
    question.ifindex = interface;
    __builtin_memcpy(question.ipv6_src, source, sizeof(question.ipv6_src));
    __builtin_memcpy(question.ipv6_dst, destination, sizeof(question.ipv6_dst));
    question.tot_len = 1;
    cached->destination[0] = cached->destination[1] = 0;
    if (bpf_fib_lookup(context, &question, sizeof(question), 0) != BPF_FIB_LKUP_RET_SUCCESS ||
        question.ifindex == tunnel_device) {
        return NULL;
    }
    write_route(route, &question, tick);
    cached->destination[0] = destination[0];
    cached->destination[1] = destination[1];
    return route;
}

#endif
