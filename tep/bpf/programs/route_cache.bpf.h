/* The IPv4 next hop of what leaves a tunnel, when a program forwards it itself: the kernel's answer
 * is kept per destination for a moment, since asking costs more than all the rest. */
#ifndef DSTM_ROUTE_CACHE_BPF_H
#define DSTM_ROUTE_CACHE_BPF_H

#include <linux/if_ether.h>

#include "tep/bpf/programs/tables.bpf.h"

#define AF_INET 2
#define ROUTE_CACHE_SLOTS 4096
#define ROUTE_CACHE_TICKS 8 /* half a second: how long a change of routes may go unseen */

struct cached_route {
    __u32 destination; /* network order; 0 = none */
    __u32 until;       /* tick */
    __u32 interface;
    __u32 mtu;
    __u64 is_new; /* the kernel has been asked for this very packet */
    __u8 addresses[16] __attribute__((aligned(8))); /* of the link: to, from; four of padding */
};

/* One a CPU: written and read without locks. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, ROUTE_CACHE_SLOTS);
    __type(key, __u32);
    __type(value, struct cached_route);
} route_cache SEC(".maps");

/* `context` is that of a tc or XDP program. Null: the kernel must forward this one. */
static __always_inline const struct cached_route *route_to(void *context, __u32 interface,
                                                           __be32 source, __be32 destination,
                                                           __u32 tick) {
    __u32 slot = (destination * 0x9e3779b1u) >> 20; /* 12 bits: ROUTE_CACHE_SLOTS */
    struct cached_route *route = bpf_map_lookup_elem(&route_cache, &slot);
    if (!route) return NULL;
    if (route->destination == destination && tick < route->until) {
        route->is_new = 0;
        return route;
    }

    struct bpf_fib_lookup question = {};
    question.family = AF_INET;
    question.ifindex = interface;
    question.ipv4_src = source;
    question.ipv4_dst = destination;
    question.tot_len = 1; /* fits, and so the answer has the MTU of the path, not of the link */
    route->destination = 0;
    if (bpf_fib_lookup(context, &question, sizeof(question), 0) != BPF_FIB_LKUP_RET_SUCCESS) {
        return NULL;
    }
    route->is_new = 1;
    route->interface = question.ifindex;
    route->mtu = question.mtu_result;
    __builtin_memcpy(route->addresses, question.dmac, ETH_ALEN);
    __builtin_memcpy(route->addresses + ETH_ALEN, question.smac, ETH_ALEN);
    route->until = tick + ROUTE_CACHE_TICKS;
    route->destination = destination;
    return route;
}

#endif
