// The XDP programs as they are, in a loop that gives each packet another tunnel and undoes what the
// program did. Beside each stands the same loop without the program: the difference is its time.
//
// One run handles a batch, as a card's driver does: entering and leaving a program costs the kernel
// as much as two of these loops, and is no part of what is measured. No packet waits for what came
// of the one before it: the key comes from a counter, not from an entry, and goes into the packet
// in whole words, which the processor can hand on from its store queue.
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>

#include "tep/bpf/programs/ipv6_xdp.bpf.h"
#include "tests/bench/batch.h"

char program_license[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 tunnels = 1;
volatile __u64 seed = 1;
volatile __u64 failures = 0;  // packets that went up, as the first by a way must now and then
volatile __u64 seen = 0;

static __always_inline __u32 next_key(void) {
    const __u64 next = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    seed = next;
    return (__u32)(((next >> 32) * tunnels) >> 32);
}

const volatile __u32 checksum = 0;  // of the packet of key 0, in the packet's order

// The words of the IPv4 header in which one packet differs from the next, and their identifications
// that keep the checksum the same. `client` is the address of key 0 in a /12, `other` that of who
// talks to it.
static __always_inline void renew(__be32 *ip, __be32 *client, __be32 *other, __u32 key) {
    ip[1] = bpf_htonl(~key << 16);
    ip[2] = bpf_htonl(64 << 24 | IPPROTO_UDP << 16) | checksum;
    *client = bpf_htonl(DSTM_BENCH_CLIENT + key);
    *other = bpf_htonl(DSTM_BENCH_OTHER - (key >> 16));
}

// Back to this interface, as it was before the program sent it on.
static __always_inline void address_frame(struct ethhdr *link, __u16 protocol) {
    __u64 nobody = 0;
    asm volatile("" : "+r"(nobody)); /* not one register of four for all turns */
    *(__u64 *)link = nobody;
    link->h_proto = bpf_htons(protocol);
}

// An IPv4 packet for a random tunnel stands in the frame.
static __always_inline int prepare_down(struct xdp_md *context) {
    void *link = (void *)(long)context->data;
    struct iphdr *ip = link + ETH_HLEN;
    if ((void *)(ip + 1) > (void *)(long)context->data_end) return 0;
    address_frame(link, ETH_P_IP);
    renew((__be32 *)ip, &ip->daddr, &ip->saddr, next_key());
    return 1;
}

// One from a random tunnel, with its outer header. Where the link header of the packet before was,
// the endpoint's address stands again.
static __always_inline int prepare_up(struct xdp_md *context) {
    void *link = (void *)(long)context->data;
    struct ipv6hdr *outer = link + ETH_HLEN;
    struct iphdr *ip = (void *)(outer + 1);
    if ((void *)(ip + 1) > (void *)(long)context->data_end) return 0;
    const __u32 key = next_key();
    __u64 *words = (__u64 *)outer;
    words[2] = bpf_cpu_to_be64(key);  // the client's interface identifier
    words[3] = settings.outer[0];
    words[4] = settings.outer[1];
    address_frame(link, ETH_P_IPV6);
    renew((__be32 *)ip, &ip->saddr, &ip->daddr, key);
    return 1;
}

// Takes back what the program did to the frame, if it carried it.
static __always_inline void undo(struct xdp_md *context, int verdict, int growth) {
    if (verdict == XDP_REDIRECT) {
        bpf_xdp_adjust_head(context, growth);
    } else {
        ++failures;
    }
}

#define FOR_BATCH                                                             \
    for (volatile __u64 i = 0; i < DSTM_BENCH_BATCH; ++i)

SEC("xdp")
int bench_down(struct xdp_md *context) {
    FOR_BATCH {
        if (!prepare_down(context)) return XDP_ABORTED;
        undo(context, carry_frame(context), (int)OUTER_SIZE);
    }
    return XDP_PASS;
}

SEC("xdp")
int bench_down_frame(struct xdp_md *context) {
    FOR_BATCH {
        if (!prepare_down(context)) return XDP_ABORTED;
        bpf_xdp_adjust_head(context, 0);
    }
    return XDP_PASS;
}

/* What the machine takes for one random entry: the least that any program can. */
SEC("xdp")
int bench_lookup(struct xdp_md *context) {
    FOR_BATCH {
        if (!prepare_down(context)) return XDP_ABORTED;
        const struct iphdr *ip = (void *)(long)context->data + ETH_HLEN;
        if ((void *)(ip + 1) > (void *)(long)context->data_end) return XDP_ABORTED;
        const struct place place = find_place(bpf_ntohl(ip->daddr));
        if (place.entry) seen += place.entry->peer[0];
        bpf_xdp_adjust_head(context, 0);
    }
    return XDP_PASS;
}

SEC("xdp")
int bench_up(struct xdp_md *context) {
    FOR_BATCH {
        if (!prepare_up(context)) return XDP_ABORTED;
        undo(context, carry_frame(context), -(int)OUTER_SIZE);
    }
    return XDP_PASS;
}

SEC("xdp")
int bench_up_frame(struct xdp_md *context) {
    FOR_BATCH {
        if (!prepare_up(context)) return XDP_ABORTED;
        bpf_xdp_adjust_head(context, 0);
    }
    return XDP_PASS;
}
