// The XDP programs as they are, in a loop that gives each packet another tunnel and undoes what the
// program did. Beside each stands the same loop without the program: the difference is its time.
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>

#include "tep/bpf/programs/xdp.bpf.h"

char program_license[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 tunnels = 1;
volatile __u64 seed = 1;
volatile __u64 failures = 0;  // packets that were not carried

#define PEER_NETWORK bpf_cpu_to_be64(0x20010db800010000ULL)

static __always_inline __u32 next_key(void) {
    const __u64 next = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    seed = next;
    return (__u32)(((next >> 32) * tunnels) >> 32);
}

// An IPv4 packet for a random tunnel stands in the frame.
static __always_inline int prepare_down(struct xdp_md *context) {
    struct ethhdr *link = (void *)(long)context->data;
    struct iphdr *ip = (void *)(link + 1);
    if ((void *)(ip + 1) > (void *)(long)context->data_end) return 0;
    /* Whole words, as a card would write them. */
    *(__u16 *)((void *)link + 12) = bpf_htons(ETH_P_IP);
    *(__u16 *)&ip->ttl = bpf_htons(64 << 8 | IPPROTO_UDP);
    ip->daddr = bpf_htonl(settings.pools[0].first + next_key());
    return 1;
}

// One from a random tunnel, with its outer header.
static __always_inline int prepare_up(struct xdp_md *context) {
    struct ethhdr *link = (void *)(long)context->data;
    struct ipv6hdr *outer = (void *)(link + 1);
    struct iphdr *ip = (void *)(outer + 1);
    const void *end = (void *)(long)context->data_end;
    if ((void *)(ip + 1) > end) return 0;
    const __u32 key = next_key();
    const __u64 endpoint[2] = {settings.outer[0], settings.outer[1]};
    const __u64 peer[2] = {PEER_NETWORK, bpf_cpu_to_be64(key)};
    write_outer(outer, endpoint, 0, end - (void *)ip);
    __u64 *words = (__u64 *)outer;
    words[1] = peer[0];
    words[2] = peer[1];
    *(__u16 *)((void *)link + 12) = bpf_htons(ETH_P_IPV6);
    *(__u16 *)&ip->ttl = bpf_htons(64 << 8 | IPPROTO_UDP);
    ip->saddr = bpf_htonl(settings.pools[0].first + key);
    return 1;
}

SEC("xdp")
int bench_down(struct xdp_md *context) {
    if (!prepare_down(context)) return XDP_ABORTED;
    const int verdict = xdp_down(context);
    if (verdict != XDP_REDIRECT && verdict != XDP_TX) ++failures;
    bpf_xdp_adjust_head(context, (int)OUTER_SIZE);
    return verdict;
}

SEC("xdp")
int bench_down_frame(struct xdp_md *context) {
    if (!prepare_down(context)) return XDP_ABORTED;
    bpf_xdp_adjust_head(context, 0);
    return XDP_PASS;
}

volatile __u64 seen = 0;

/* What the machine takes for one random entry: the least that any program can. */
SEC("xdp")
int bench_lookup(struct xdp_md *context) {
    if (!prepare_down(context)) return XDP_ABORTED;
    const struct iphdr *ip = (void *)(long)context->data + ETH_HLEN;
    if ((void *)(ip + 1) > (void *)(long)context->data_end) return XDP_ABORTED;
    const struct dstm_entry *entry = find_entry(bpf_ntohl(ip->daddr));
    if (entry) seen += entry->peer[0];
    bpf_xdp_adjust_head(context, 0);
    return XDP_PASS;
}

SEC("xdp")
int bench_up(struct xdp_md *context) {
    if (!prepare_up(context)) return XDP_ABORTED;
    const int verdict = xdp_up(context);
    if (verdict != XDP_REDIRECT && verdict != XDP_TX) ++failures;
    bpf_xdp_adjust_head(context, -(int)OUTER_SIZE);
    return verdict;
}

SEC("xdp")
int bench_up_frame(struct xdp_md *context) {
    if (!prepare_up(context)) return XDP_ABORTED;
    bpf_xdp_adjust_head(context, 0);
    return XDP_PASS;
}
