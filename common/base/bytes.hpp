// The only code that touches offsets: numbers and addresses in packets, and the Internet checksum
// (RFC 1071, RFC 1624). All numbers are big-endian.
//
// A read or write outside the span is a defect of the caller and aborts: callers check lengths
// against the packet first, once, and say what a short packet means to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/assert.hpp"
#include "common/base/ip_address.hpp"

namespace dstm {

using ConstBytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

[[nodiscard]] inline std::uint8_t load8(ConstBytes bytes, std::size_t offset) {
    DSTM_ASSERT(offset < bytes.size());
    return bytes[offset];
}

[[nodiscard]] inline std::uint16_t load16(ConstBytes bytes, std::size_t offset) {
    DSTM_ASSERT(bytes.size() >= 2 && offset <= bytes.size() - 2);
    return static_cast<std::uint16_t>(bytes[offset] << 8 | bytes[offset + 1]);
}

[[nodiscard]] inline std::uint32_t load32(ConstBytes bytes, std::size_t offset) {
    return std::uint32_t{load16(bytes, offset)} << 16 | load16(bytes, offset + 2);
}

inline void store8(MutableBytes bytes, std::size_t offset, std::uint8_t value) {
    DSTM_ASSERT(offset < bytes.size());
    bytes[offset] = value;
}

inline void store16(MutableBytes bytes, std::size_t offset, std::uint16_t value) {
    DSTM_ASSERT(bytes.size() >= 2 && offset <= bytes.size() - 2);
    bytes[offset] = static_cast<std::uint8_t>(value >> 8);
    bytes[offset + 1] = static_cast<std::uint8_t>(value);
}

inline void store32(MutableBytes bytes, std::size_t offset, std::uint32_t value) {
    store16(bytes, offset, static_cast<std::uint16_t>(value >> 16));
    store16(bytes, offset + 2, static_cast<std::uint16_t>(value));
}

[[nodiscard]] inline Ipv4Address load_ipv4(ConstBytes bytes, std::size_t offset) {
    return Ipv4Address(load32(bytes, offset));
}
inline void store_ipv4(MutableBytes bytes, std::size_t offset, Ipv4Address address) {
    store32(bytes, offset, address.host_order());
}
[[nodiscard]] Ipv6Address load_ipv6(ConstBytes bytes, std::size_t offset);
void store_ipv6(MutableBytes bytes, std::size_t offset, const Ipv6Address& address);

// RFC 1071: the one's complement of the one's complement sum of 16-bit words; an odd last byte
// is padded with zero. Over bytes that include a right checksum the result is 0.
[[nodiscard]] std::uint16_t internet_checksum(ConstBytes bytes);

// RFC 1624 eqn. 3: the checksum after one 16-bit word that it covers went from `before` to
// `after`. A checksum that was wrong stays wrong by the same amount.
[[nodiscard]] std::uint16_t updated_checksum(std::uint16_t checksum, std::uint16_t before,
                                             std::uint16_t after);

}  // namespace dstm
