/* What the programs in the kernel and the daemon share: the form of the maps. Plain C, so that both
 * compilers read it. Addresses are in network byte order, all other numbers in the host's.
 *
 * The maps outlive the daemon when they are pinned; DSTM_LAYOUT_VERSION changes with every change
 * of a struct here, and a daemon migrates or refuses what another version left.
 */
#ifndef DSTM_TEP_BPF_LAYOUT_H
#define DSTM_TEP_BPF_LAYOUT_H

#include <linux/types.h>

#define DSTM_LAYOUT_VERSION 4

#define DSTM_POOLS_MAX 8
#define DSTM_POOL_ADDRESSES_MAX (1u << 22) /* 256 MiB of entries */
#define DSTM_NEXT_HOPS_MAX 2048 /* two halves: a new daemon uses that to which fewer tunnels lead */
#define DSTM_OUTSIDE_MAX 65536
#define DSTM_HOOKS_MAX 1024
#define DSTM_PORTS_MAX 1024 /* a power of two */
#define DSTM_IPV6_TUNNELS_MAX (1u << 20)
#define DSTM_PREFIX_LENGTHS_MAX 16

/* Inner packets that pass by the kernel's routing, by their family. */
#define DSTM_STRAIGHT_IPV4 1u
#define DSTM_STRAIGHT_IPV6 2u

/* Time in the maps: CLOCK_MONOTONIC in units of 2^26 ns (67 ms), 32 bits, nine years. */
#define DSTM_TICK_SHIFT 26

/* State of an entry. Bits 2 to 15 count writes: a reader that sees the same state before and after
 * it read the peer has read one peer, not half of two. The upper half is the use number: how many
 * tunnels this slot has served before. */
#define DSTM_ENTRY_CARRIED 1u
#define DSTM_ENTRY_WRITING 2u /* ask the daemon, which knows */
#define DSTM_ENTRY_VERSION_STEP 4u
#define DSTM_ENTRY_USE_SHIFT 16

/* One cache line a tunnel. Aligned, or the two halves of `peer` may stand in two lines. */
struct dstm_entry {
    __u64 peer[2]; /* outer address of the client; with IPv6 inside its IPv4 address and its port,
                      both in the first (programs/ipv6_inside.bpf.h) */
    __u32 state;
    __u32 expires;   /* tick from which nothing is carried */
    __u32 last_seen; /* tick of the last packet up, 0 = none; down: seen_down.hpp */
    __u16 next_hop;  /* index into next_hops */
    __u16 path_mtu;  /* of the outer path, 0 = that of the next hop */
    __u64 packets_up;
    __u64 bytes_up; /* of inner packets */
    __u64 packets_down;
    __u64 bytes_down;
} __attribute__((aligned(64)));

/* What only the daemon needs, to know after a restart what it had installed. */
struct dstm_record {
    __u64 generation;
    __s64 expires_at; /* seconds since 1970 */
};

/* As dstm_record, of a tunnel whose inner address is in no pool. */
struct dstm_outside_record {
    struct dstm_record lease; /* generation 0: the slot is free */
    __u32 inner;              /* host order */
    __u32 unused;
};

/* An inner IPv6 address, or a delegated prefix with zeros behind it. */
struct dstm_ipv6_key {
    __u64 address[2];
    __u32 length; /* 128: an address */
    __u32 unused;
};

/* As dstm_record, of a tunnel with IPv6 inside. */
struct dstm_ipv6_record {
    struct dstm_record lease; /* generation 0: the slot is free */
    __u64 inner[2];
    __u64 prefix[2];
    __u32 prefix_length; /* 0 = none is delegated */
    __u32 unused;
};

/* The number of this key for dstm_lead(). */
static inline __u64 dstm_ipv6_key_number(const struct dstm_ipv6_key *key) {
    return key->address[0] ^ key->address[1] ^ (__u64)key->length << 32;
}

/* What a key leads to: a slot, the use number that its entry has in `state`, and 16 bits that tell
 * keys apart. One word, never half of two. Who finds another one for its key and the entry's state
 * was led to an earlier tunnel of this slot, or read an element of the hash that the kernel has
 * given to another key meanwhile. */
static inline __u64 dstm_lead(__u32 slot, __u32 state, __u64 key) {
    const __u64 tag = key * 0x9e3779b97f4a7c15ull >> 48;
    return tag << 48 | (__u64)(state >> DSTM_ENTRY_USE_SHIFT) << 32 | slot;
}

/* Where a packet to a client goes first. */
struct dstm_next_hop {
    __u32 interface; /* 0 = this place was never used */
    __u16 mtu;       /* 0 = no way: the daemon sends; written last */
    __u8 has_link_addresses; /* else the kernel resolves the neighbour for each packet */
    __u8 takes_frames;       /* as in dstm_port */
    __u8 destination[6] __attribute__((aligned(8)));
    __u8 source[6];
} __attribute__((aligned(32)));

/* An interface with our programs, in the place of its number modulo DSTM_PORTS_MAX. */
struct dstm_port {
    __u32 interface; /* 0 = none */
    __u32 takes_frames; /* of XDP: what is handed to another kind is lost */
    __u8 address[8] __attribute__((aligned(8))); /* of the link: six bytes */
};

struct dstm_pool {
    __u32 first; /* host order */
    __u32 size;
};

/* Whose maps these are. The version comes first and stays there in every layout. */
struct dstm_meta {
    __u32 version; /* DSTM_LAYOUT_VERSION of who made the maps, 0 = not yet complete */
    __u32 pool_count;
    __u64 outer[2];
    struct dstm_pool pools[DSTM_POOLS_MAX];
    __u32 outer_ipv4; /* as in dstm_settings; since version 2 */
    __u32 ipv6_slots; /* since version 3 */
};

/* What a daemon has changed on one interface, for the one that takes it back. */
struct dstm_hook {
    __u8 made_clsact;
    __u8 has_xdp; /* up to layout 3: an XDP program of ours stands there, without a link */
    __u8 has_rp_filter; /* it was `rp_filter`, and is off */
    __u8 rp_filter;
    __u32 xdp_program; /* its number in the kernel, with has_xdp */
};

/* Fixed when the programs are loaded. */
struct dstm_settings {
    __u64 outer[2]; /* the endpoint's own address */
    struct dstm_pool pools[DSTM_POOLS_MAX]; /* those that there are not have size 0 */
    __u64 inner_ipv6[2]; /* the endpoint's own, 0 = none */
    __u32 inner;         /* the endpoint's own inner address, 0 = none */
    __u32 outer_ipv4;    /* the endpoint's own, 0 = nothing with IPv6 inside */
    __u32 device_header; /* bytes of link header that packets to clients have: 0 on a TUN device */
    __u16 udp_port;      /* of v6udpv4, 0 = not carried */
    __u8 hairpin;
    __u8 mss_clamp;
};

/* What the source check refused, for the daemon to say why: it knows all outer addresses. */
struct dstm_refused {
    __u64 outer[2]; /* as dstm_entry.peer */
    __u64 inner_ipv6[2];
    __u32 inner; /* host order */
    __u32 is_ipv6;
};

/* Why a program did not carry a packet. The names are those of docs/counters.md. */
enum dstm_drop {
    DSTM_DROP_NONE,
    DSTM_DROP_OUTER_TRUNCATED,
    DSTM_DROP_INNER_TRUNCATED,
    DSTM_DROP_INNER_BAD_VERSION,
    DSTM_DROP_INNER_BAD_HEADER_LENGTH,
    DSTM_DROP_INNER_BAD_TOTAL_LENGTH,
    DSTM_DROP_BAD_SOURCE,
    DSTM_DROP_BAD_DESTINATION,
    DSTM_DROP_SOURCE_CHECK, /* refused, and the list of dstm_refused was full */
    DSTM_DROP_EXPIRED,
    DSTM_DROP_ECN_CONGESTED,
    DSTM_DROP_NO_TUNNEL,
    DSTM_DROP_HAIRPIN_OFF,
    DSTM_DROP_REDIRECT,
    DSTM_DROP_NO_HEADROOM, /* the kernel could not make the packet longer or shorter */
    DSTM_DROP_ROUTER_SOLICITATION,
    DSTM_DROP_LINK_LOCAL,
    DSTM_DROP_COUNT
};

#endif
