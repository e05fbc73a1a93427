/* What all programs on socket buffers do with one. */
#ifndef DSTM_TC_BPF_H
#define DSTM_TC_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "tep/bpf/programs/decide.bpf.h"
#include "tep/bpf/programs/mss.bpf.h"
#include "tep/bpf/programs/route_cache.bpf.h"

#ifndef PACKET_HOST
#define PACKET_HOST 0 /* <linux/if_packet.h> */
#endif
#ifndef EINVAL
#define EINVAL 22
#endif

static __always_inline int drop_packet(__u32 reason) {
    if (reason != DSTM_DROP_NONE) count_drop(reason);
    return TC_ACT_SHOT;
}

// A merged packet stands for many (GRO, TSO): what the wire carries is counted.
struct load {
    __u64 packets;
    __u64 bytes;
    __u32 largest;  // inner packet as it will be on the wire
};

static __always_inline struct load load_with(struct __sk_buff *skb, __u32 ip_offset, __u32 total,
                                             __u32 ip_size, __u8 protocol) {
    struct load load = {1, total, total};
    if (skb->gso_size == 0) return load;
    __u32 headers = ip_size + 8;  // UDP
    if (protocol == IPPROTO_TCP) {
        __u8 offset = 0x50;
        bpf_skb_load_bytes(skb, ip_offset + ip_size + 12, &offset, 1);
        headers = ip_size + (offset >> 4) * 4;
    }
    load.largest = headers + skb->gso_size;
    // Of one from a virtual machine the kernel has not counted the segments.
    const __u32 payload = total > headers ? total - headers : 0;
    load.packets = skb->gso_segs ? skb->gso_segs
                                 : (payload + skb->gso_size - 1) / skb->gso_size;
    if (load.packets == 0) load.packets = 1;
    load.bytes += (load.packets - 1) * headers;
    return load;
}

static __always_inline struct load load_of(struct __sk_buff *skb, __u32 ip_offset,
                                           const struct iphdr *ip) {
    return load_with(skb, ip_offset, bpf_ntohs(ip->tot_len), (*(const __u8 *)ip & 0x0f) * 4,
                     ip->protocol);
}

// Makes the first `size` bytes readable by packet pointers; the caller reloads its pointers.
static __always_inline void make_readable(struct __sk_buff *skb, __u32 size) {
    if (skb->data_end - skb->data >= size) return;
    bpf_skb_pull_data(skb, skb->len < size ? skb->len : size);
}

// Whether an old kernel may change the version of IP under it. Merged packets of other protocols it
// would not shorten afterwards.
static __always_inline int may_change_version(const struct __sk_buff *skb, __u8 protocol) {
    return skb->gso_size == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

// An IP packet behind a link header, past the kernel's routing. Now and then by its neighbour
// table, which so learns whether the neighbour lives.
static __always_inline int send_on(struct __sk_buff *skb, struct cached_route *route,
                                   __u16 protocol) {
    struct ethhdr *link = (void *)(long)skb->data;
    if ((void *)(link + 1) > (void *)(long)skb->data_end) return drop_packet(DSTM_DROP_NO_HEADROOM);
    if (route->owes) {
        route->owes = 0;
        return bpf_redirect_neigh(route->interface, NULL, 0, 0);
    }
    write_link(link, route->addresses, protocol);
    return bpf_redirect(route->interface, 0);
}

#endif
