// Loads, stores and Internet checksums (RFC 1071, RFC 1624).
#include "common/base/bytes.hpp"

#include <algorithm>

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
    std::uint64_t sum = 0;
    std::size_t offset = 0;
    for (; offset + 1 < bytes.size(); offset += 2) sum += load16(bytes, offset);
    if (offset < bytes.size()) sum += std::uint64_t{load8(bytes, offset)} << 8;
    return static_cast<std::uint16_t>(~fold(sum));
}

std::uint16_t updated_checksum(std::uint16_t checksum, std::uint16_t before, std::uint16_t after) {
    const auto inverted = [](std::uint16_t word) { return static_cast<std::uint16_t>(~word); };
    return inverted(fold(std::uint64_t{inverted(checksum)} + inverted(before) + after));
}

}  // namespace dstm
