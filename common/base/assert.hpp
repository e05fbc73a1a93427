// An assertion that is always on: the first of the three kinds of error (result.hpp).
#pragma once

#include <cstdio>
#include <cstdlib>

#define DSTM_ASSERT(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                          \
        }                                                                                          \
    } while (false)
