// Packets for the path bench: each for another, random tunnel, put into a device as frames. And
// the end of the path, where they are thrown away.
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tests/bench/generate.h"

char program_license[] SEC("license") = "Dual BSD/GPL";

const volatile struct generator_settings settings = {};
volatile __u64 seed = 1;

static __always_inline __u32 next_key(void) {
    const __u64 next = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    seed = next;
    return (__u32)(((next >> 32) * settings.tunnels) >> 32);
}

// RFC 1624: the header's checksum is right for an address whose words are zero.
static __always_inline void set_address(struct iphdr *ip, __be32 *field, __u32 address) {
    *field = bpf_htonl(address);
    __u32 sum = (__u16)~settings.checksum + (*field & 0xffff) + (*field >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    ip->check = (__u16)~sum;
}

SEC("xdp")
int generate(struct xdp_md *context) {
    if (bpf_xdp_adjust_head(context, GENERATE_ROOM)) return XDP_ABORTED;
    struct ethhdr *link = (void *)(long)context->data;
    const void *end = (void *)(long)context->data_end;
    const __u32 key = next_key();
    // Written whole each time: a frame comes back with what the path has made of it.
    if (settings.wrapped) {
        if ((void *)link + GENERATE_WRAPPED_SIZE > end) return XDP_ABORTED;
        for (int i = 0; i < GENERATE_WRAPPED_SIZE / 4; ++i) ((__u32 *)link)[i] = settings.frame[i];
        struct ipv6hdr *outer = (void *)(link + 1);
        struct iphdr *ip = (void *)(outer + 1);
        if ((void *)(ip + 1) > end) return XDP_ABORTED;
        outer->saddr.in6_u.u6_addr32[3] = bpf_htonl(key + 1);
        set_address(ip, &ip->saddr, settings.first + key);
    } else {
        if ((void *)link + GENERATE_PLAIN_SIZE > end) return XDP_ABORTED;
        for (int i = 0; i < GENERATE_PLAIN_SIZE / 4; ++i) ((__u32 *)link)[i] = settings.frame[i];
        struct iphdr *ip = (void *)(link + 1);
        if ((void *)(ip + 1) > end) return XDP_ABORTED;
        set_address(ip, &ip->daddr, settings.first + key);
    }
    return bpf_redirect(settings.interface, 0);
}

SEC("xdp")
int discard(struct xdp_md *context) {
    (void)context;
    return XDP_DROP;
}
