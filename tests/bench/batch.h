/* What bench.bpf.c and the program that loads it share. */
#ifndef DSTM_BENCH_BATCH_H
#define DSTM_BENCH_BATCH_H

#define DSTM_BENCH_BATCH 16 /* packets that one run handles */
#define DSTM_BENCH_CLIENT 0x0a000000u /* 10.0.0.0, the first client; host order */
#define DSTM_BENCH_OTHER 0xc6336450u  /* 198.51.100.80 */

#endif
