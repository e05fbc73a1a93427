/* Lowers the MSS option of a TCP SYN (RFC 9293 s3.7.1), in a socket buffer. */
#ifndef DSTM_MSS_BPF_H
#define DSTM_MSS_BPF_H

#include "tep/bpf/programs/inner.bpf.h"

#define TCP_HEADER_SIZE 20
#define TCP_OPTIONS_MAX 40
#define TCP_FLAGS 13
#define TCP_CHECKSUM 16
#define TCP_SYN 0x02
#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2

/* Between the MTU inside and the MSS, RFC 9293 s3.7.1. */
#define MSS_OVERHEAD_IPV4 40
#define MSS_OVERHEAD_IPV6 60

/* Bytes from the start of the TCP header to the value of the MSS option, 0 when there is none.
 * Not static: the verifier then looks at it once and not from every place that calls it. The masks
 * say nothing new, but let it see that one turn of the loop is like the next. */
__noinline int find_mss(struct __sk_buff *skb, __u32 tcp, __u32 segment_size) {
    __u8 options[64] = {};
    __u8 offset_byte = 0;
    if (bpf_skb_load_bytes(skb, tcp + 12, &offset_byte, 1)) return 0;
    const __u32 header_size = (offset_byte >> 4) * 4;
    if (header_size <= TCP_HEADER_SIZE || header_size > segment_size) return 0;
    __u32 size = header_size - TCP_HEADER_SIZE;
    if (size == 0 || size > TCP_OPTIONS_MAX) return 0;
    if (bpf_skb_load_bytes(skb, tcp + TCP_HEADER_SIZE, options, size)) return 0;

    __u32 at = 0;
    for (int i = 0; i < TCP_OPTIONS_MAX; ++i) {
        if (at >= size) return 0;
        const __u8 kind = options[at & 63];
        if (kind == TCP_OPTION_END) return 0;
        if (kind == TCP_OPTION_NOP) {
            at = (at + 1) & 63;
            continue;
        }
        if (at + 1 >= size) return 0;
        const __u8 length = options[(at + 1) & 63];
        if (length < 2 || at + length > size) return 0;
        if (kind == TCP_OPTION_MSS && length == 4) return (int)(TCP_HEADER_SIZE + at + 2);
        at = (at + length) & 63;
    }
    return 0;
}

/* `ip_offset` is where the inner header begins, `total` its packet's length. No packet pointer
 * survives. */
static __always_inline void clamp_mss(struct __sk_buff *skb, __u32 ip_offset, __u32 header_size,
                                      __u32 total, __u32 most) {
    __u8 flags = 0;
    __u16 before = 0;
    const __u32 tcp = ip_offset + header_size;
    if (total < header_size + TCP_HEADER_SIZE) return;
    if (bpf_skb_load_bytes(skb, tcp + TCP_FLAGS, &flags, 1) || !(flags & TCP_SYN)) return;
    const int at = find_mss(skb, tcp, total - header_size);
    if (at <= 0 || at > 64) return;
    if (bpf_skb_load_bytes(skb, tcp + at, &before, 2)) return;
    if (most > 0xffff) most = 0xffff;
    if (bpf_ntohs(before) <= most) return;
    const __u16 after = bpf_htons((__u16)most);
    if (bpf_skb_store_bytes(skb, tcp + at, &after, 2, 0)) return;
    /* At an odd offset the two bytes stand in two words of the sum, each in the other's place. */
    const __u16 old_word = at & 1 ? __builtin_bswap16(before) : before;
    const __u16 new_word = at & 1 ? __builtin_bswap16(after) : after;
    bpf_l4_csum_replace(skb, tcp + TCP_CHECKSUM, old_word, new_word, 2);
}

#endif
