// The XDP programs as they are, in a loop that gives each packet another tunnel and undoes what the
// program did. Beside each stands the same loop without the program: the difference is its time.
//
// One run handles a batch, as a card's driver does: entering and leaving a program costs the kernel
// as much as two of these loops, and is no part of what is measured. No packet waits for what came
// of the one before it: the key comes from a counter, not from an entry, and goes into the packet in
// one word, which the processor can hand on from its store queue.
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>

#include "tep/bpf/programs/xdp.bpf.h"
#include "tests/bench/batch.h"

char program_license[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 tunnels = 1;
volatile __u64 seed = 1;
volatile __u64 failures = 0;  // packets that were not carried
volatile __u64 seen = 0;

static __always_inline __u32 next_key(void) {
    const __u64 next = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    seed = next;
    return (__u32)(((next >> 32) * tunnels) >> 32);
}

// What the IPv4 header sums up to without checksum and client, down and up; in the host's order.
const volatile __u32 sum_down = 0;
const volatile __u32 sum_up = 0;

// The words of the IPv4 header in which one packet differs from the next; as the programs read them.
static __always_inline void renew(struct iphdr *ip, __u32 key, int is_source, __u32 sum_of_rest) {
    const __u32 client = settings.pools[0].first + key;
    const __u32 sum = sum_of_rest + (client >> 16) + (client & 0xffff);
    const __u64 start = 64ull << 56 | (__u64)IPPROTO_UDP << 48 | (__u64)(__u16)~folded(sum) << 32;
    ((__u64 *)ip)[1] = bpf_cpu_to_be64(start | (is_source ? client : 0x0a000001));
    if (!is_source) ip->daddr = bpf_htonl(client);
}

// Back to this interface, as it was before the program sent it on.
static __always_inline void address_frame(void *link) { *(__u64 *)link = 0; }

// An IPv4 packet for a random tunnel stands in the frame.
static __always_inline int prepare_down(struct xdp_md *context) {
    void *link = (void *)(long)context->data;
    struct iphdr *ip = link + ETH_HLEN;
    if ((void *)(ip + 1) > (void *)(long)context->data_end) return 0;
    address_frame(link);
    renew(ip, next_key(), 0, sum_down);
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
    address_frame(link);
    renew(ip, key, 1, sum_up);
    return 1;
}

static __always_inline void note(int verdict) {
    if (verdict != XDP_REDIRECT) ++failures;
}

static __always_inline int is_here(const struct xdp_md *context) {
    const struct ethhdr *link = (void *)(long)context->data;
    if ((void *)(link + 1) > (void *)(long)context->data_end) return 0;
    return is_to_interface(link, context->ingress_ifindex);
}

#define FOR_BATCH for (int i = 0; i < DSTM_BENCH_BATCH; ++i)

SEC("xdp")
int bench_down(struct xdp_md *context) {
    FOR_BATCH {
        if (!prepare_down(context)) return XDP_ABORTED;
        note(is_here(context) ? xdp_down(context) : XDP_PASS);
        bpf_xdp_adjust_head(context, (int)OUTER_SIZE);
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
        note(is_here(context) ? xdp_up(context) : XDP_PASS);
        bpf_xdp_adjust_head(context, -(int)OUTER_SIZE);
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
