/* Packets that one run of a program of bench.bpf.c handles. */
#ifndef DSTM_BENCH_BATCH_H
#define DSTM_BENCH_BATCH_H

#define DSTM_BENCH_BATCH 16

#endif
