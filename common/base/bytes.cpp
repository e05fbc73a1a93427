// Loads, stores and Internet checksums (RFC 1071, RFC 1624).
#include "common/base/bytes.hpp"

#include <algorithm>
#include <cstring>

#include <endian.h>

namespace dstm {
namespace {

std::uint16_t fold(std::uint64_t sum) {
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

}  // namespace

Ipv6Address load_ipv6(ConstBytes bytes, std::size_t offset) {
    Ipv6Address::Bytes address;
    DSTM_ASSERT(bytes.size() >= address.size() && offset <= bytes.size() - address.size());
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), address.size(),
                address.begin());
    return Ipv6Address(address);
}

void store_ipv6(MutableBytes bytes, std::size_t offset, const Ipv6Address& address) {
    const auto& source = address.bytes();
    DSTM_ASSERT(bytes.size() >= source.size() && offset <= bytes.size() - source.size());
    std::copy(source.begin(), source.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}

std::uint16_t internet_checksum(ConstBytes bytes) {
    // RFC 1071 s2: words may be added in any order of bytes and several at a time; the sum comes
    // out in the order in which they were read.
    std::uint64_t sum = 0;
    for (; bytes.size() >= sizeof(std::uint64_t); bytes = bytes.subspan(sizeof(std::uint64_t))) {
        std::uint64_t word;
        std::memcpy(&word, bytes.data(), sizeof word);
        sum += (word & 0xffffffff) + (word >> 32);
    }
    std::uint64_t rest = 0;
    if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
    sum += (rest & 0xffffffff) + (rest >> 32);
    const std::uint16_t folded = fold(sum);
    return static_cast<std::uint16_t>(~be16toh(folded));
}

std::uint16_t updated_checksum(std::uint16_t checksum, std::uint16_t before, std::uint16_t after) {
    const auto inverted = [](std::uint16_t word) { return static_cast<std::uint16_t>(~word); };
    return inverted(fold(std::uint64_t{inverted(checksum)} + inverted(before) + after));
}

}  // namespace dstm
