/* The inner IPv4 packet: is it one, its ECN field, its TCP MSS. RFC 791 s3.1, RFC 6040, RFC 9293.
 * The rules are those of common/tunnel/reference_model.hpp. */
#ifndef DSTM_INNER_BPF_H
#define DSTM_INNER_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tep/bpf/layout.h"

#define IPV4_OFFSET_MASK 0x1fff
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_PLAIN 0x45 /* version 4, no options */
#define ECN_MASK 3
#define ECN_CE 3
#define ECN_ECT_1 1
#define ECN_ECT_0 2
#define ECN_STAYS 4 /* as it is, and no value of the field */

/* `available` bytes of packet begin at `ip`, of which at least sizeof(struct iphdr) can be read. */
static __always_inline __u32 check_inner(const struct iphdr *ip, __u32 available) {
    const __u8 first = *(const __u8 *)ip;
    const __u32 header_size = (first & 0x0f) * 4;
    const __u32 total = bpf_ntohs(ip->tot_len);
    if (first >> 4 != 4) return DSTM_DROP_INNER_BAD_VERSION;
    if (header_size < sizeof(*ip)) return DSTM_DROP_INNER_BAD_HEADER_LENGTH;
    if (header_size > available) return DSTM_DROP_INNER_TRUNCATED;
    if (total < header_size) return DSTM_DROP_INNER_BAD_TOTAL_LENGTH;
    if (total > available) return DSTM_DROP_INNER_TRUNCATED;
    return DSTM_DROP_NONE;
}

/* What the first byte of a packet that is shorter than an IPv4 header says of it. */
static __always_inline __u32 check_short_inner(__u8 first) {
    return first >> 4 == 4 ? DSTM_DROP_INNER_TRUNCATED : DSTM_DROP_INNER_BAD_VERSION;
}

/* An IPv4 header without its options, as it stands in the packet: each word is read once, and
 * what is asked of it is asked in that order. */
struct ipv4_words {
    __be32 first;  /* version, header length, TOS, total length */
    __be32 second; /* identification, flags, fragment offset */
    __be32 third;  /* TTL, protocol, checksum */
    __be32 source;
    __be32 destination;
};

static __always_inline struct ipv4_words words_of(const struct iphdr *ip) {
    const __be32 *words = (const __be32 *)ip;
    const struct ipv4_words out = {words[0], words[1], words[2], words[3], words[4]};
    return out;
}

static __always_inline __u8 tos_of(struct ipv4_words ip) {
    return (__u8)(bpf_ntohl(ip.first) >> 16);
}

static __always_inline __u32 total_of(struct ipv4_words ip) {
    return bpf_ntohl(ip.first) & 0xffff;
}

static __always_inline int has_protocol(struct ipv4_words ip, __u32 protocol) {
    return (ip.third & bpf_htonl(0x00ff0000)) == bpf_htonl(protocol << 16);
}

/* Of a header without options. The sum is right if it is a multiple of 0xffff, and it is one if
 * its product with the inverse of 0xffff modulo 2^64 is at most 2^64 / 0xffff. */
static __always_inline int is_sum_right(struct ipv4_words ip) {
    const __u64 sum = (__u64)ip.first + ip.second + ip.third + ip.source + ip.destination;
    return sum * 0xfffefffefffeffffULL <= 0x0001000100010001ULL;
}

/* Can be one host's address: not 0/8, 127/8, 224/4, 240/4. */
static __always_inline int is_usable_unicast(__be32 address) {
    const __be32 first = address & bpf_htonl(0xff000000);
    return first != 0 && first != bpf_htonl(0x7f000000) &&
           (address & bpf_htonl(0xe0000000)) != bpf_htonl(0xe0000000);
}

static __always_inline __u16 folded(__u32 sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (__u16)sum;
}

/* Of a header without options. */
static __always_inline __u16 sum_of_header(const struct iphdr *ip) {
    const __u32 *words = (const __u32 *)ip;
    __u32 sum = 0;
    for (int i = 0; i < 5; ++i) sum += (words[i] & 0xffff) + (words[i] >> 16);
    return folded(sum);
}

/* RFC 6040 s4.2: the ECN field of the packet that leaves the tunnel, -1 when it must be dropped. */
static __always_inline int ecn_leaving(__u32 inner, __u32 outer) {
    inner &= ECN_MASK;
    outer &= ECN_MASK;
    if (outer == ECN_CE) return inner == 0 ? -1 : ECN_CE;
    if (inner == ECN_ECT_0 && outer == ECN_ECT_1) return ECN_ECT_1;
    return (int)inner;
}

/* RFC 1624 eqn. 3, over one 16-bit word; all three in the byte order of the packet. */
static __always_inline __u16 updated_checksum(__u16 checksum, __u16 before, __u16 after) {
    __u32 sum = (__u16)~checksum + (__u32)(__u16)~before + after;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (__u16)~sum;
}

static __always_inline void set_ecn(struct iphdr *ip, int ecn) {
    const __u16 before = *(const __u16 *)ip;
    if (ecn == ECN_STAYS || (ip->tos & ECN_MASK) == ecn) return;
    ip->tos = (__u8)((ip->tos & ~ECN_MASK) | ecn);
    ip->check = updated_checksum(ip->check, before, *(const __u16 *)ip);
}

static __always_inline int is_first_fragment(const struct iphdr *ip) {
    return (ip->frag_off & bpf_htons(IPV4_OFFSET_MASK)) == 0;
}

#endif
