/* What the generator of the path bench is told, for both compilers. */
#ifndef DSTM_BENCH_GENERATE_H
#define DSTM_BENCH_GENERATE_H

#include <linux/types.h>

#define GENERATE_PLAIN_SIZE 60
#define GENERATE_WRAPPED_SIZE 100
/* Before the frame, besides the 256 bytes that the kernel leaves: with fewer than those when it
 * arrives at the end, it is copied there, and an outer header has taken 40 by then. */
#define GENERATE_ROOM 64

struct generator_settings {
    __u32 interface;
    __u32 tunnels;
    __u32 first;    /* inner address of the first tunnel, host order */
    __u16 checksum; /* of the inner header with that address zero, as it stands in the packet */
    __u8 wrapped;   /* in IPv6, as from a client */
    __u32 frame[GENERATE_WRAPPED_SIZE / 4];
};

#endif
