// A secret for keyed hashes, new in each process.
#pragma once

#include <cstdint>
#include <random>

namespace dstm::server::net {

inline std::uint64_t random_key() {
    std::random_device source;
    return static_cast<std::uint64_t>(source()) << 32 | source();
}

}  // namespace dstm::server::net
