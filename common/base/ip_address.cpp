// Text to addresses and back: inet_pton and inet_ntop with the rules of ip_address.hpp.
#include "common/base/ip_address.hpp"

#include <algorithm>
#include <charconv>

#include <arpa/inet.h>

namespace dstm {
namespace {

// inet_pton wants a terminated string; no valid literal is longer than this.
constexpr std::size_t literal_size_max = INET6_ADDRSTRLEN;

template <class Binary>
bool parse_with(int family, std::string_view text, Binary& out) {
    if (text.empty() || text.size() >= literal_size_max) return false;
    // A NUL inside would end the text early for inet_pton and let a tail pass unread.
    if (text.find('\0') != std::string_view::npos) return false;
    std::array<char, literal_size_max> terminated{};
    std::copy(text.begin(), text.end(), terminated.begin());
    return inet_pton(family, terminated.data(), &out) == 1;
}

std::optional<std::pair<std::string_view, std::uint8_t>> split_prefix(std::string_view text,
                                                                      int length_max) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto digits = text.substr(slash + 1);
    int length = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    if (length < 0 || length > length_max) return std::nullopt;
    return std::pair{text.substr(0, slash), static_cast<std::uint8_t>(length)};
}

std::uint32_t mask_of(std::uint8_t length) {
    return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
}

Ipv6Address masked(const Ipv6Address& address, std::uint8_t length) {
    auto bytes = address.bytes();
    for (int bit = length; bit < 128; ++bit) {
        bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80 >> (bit % 8)));
    }
    return Ipv6Address(bytes);
}

bool is_v4_mapped(const Ipv6Address::Bytes& bytes) {
    return std::all_of(bytes.begin(), bytes.begin() + 10, [](auto byte) { return byte == 0; }) &&
           bytes[10] == 0xff && bytes[11] == 0xff;
}

}  // namespace

std::optional<Ipv4Address> Ipv4Address::parse(std::string_view text) {
    in_addr binary{};
    if (!parse_with(AF_INET, text, binary)) return std::nullopt;
    return Ipv4Address(ntohl(binary.s_addr));
}

std::string Ipv4Address::to_string() const {
    return std::to_string(value_ >> 24) + '.' + std::to_string(value_ >> 16 & 0xff) + '.' +
           std::to_string(value_ >> 8 & 0xff) + '.' + std::to_string(value_ & 0xff);
}

bool Ipv4Address::is_usable_unicast() const {
    const auto first = value_ >> 24;
    return first != 0 && first != 127 && first < 224;
}

std::optional<Ipv6Address> Ipv6Address::parse(std::string_view text) {
    Bytes bytes{};
    if (!parse_with(AF_INET6, text, bytes)) return std::nullopt;
    return Ipv6Address(bytes);
}

std::string Ipv6Address::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    inet_ntop(AF_INET6, bytes_.data(), text.data(), text.size());
    return text.data();
}

std::string Ipv6Address::to_padded_string() const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
        if (i > 0 && i % 2 == 0) text += ':';
        text += digits[bytes_[i] >> 4];
        text += digits[bytes_[i] & 0xf];
    }
    return text;
}

bool Ipv6Address::is_link_local() const { return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80; }

bool Ipv6Address::is_usable_unicast() const {
    if (bytes_[0] == 0xff || is_link_local() || is_v4_mapped(bytes_)) return false;
    const bool low_only =
        std::all_of(bytes_.begin(), bytes_.begin() + 15, [](auto byte) { return byte == 0; });
    return !(low_only && bytes_[15] <= 1);
}

std::optional<IpAddress> parse_ip_address(std::string_view text) {
    if (const auto v4 = Ipv4Address::parse(text)) return IpAddress(*v4);
    if (const auto v6 = Ipv6Address::parse(text)) return IpAddress(*v6);
    return std::nullopt;
}

std::string to_string(const IpAddress& address) {
    return std::visit([](const auto& family) { return family.to_string(); }, address);
}

IpAddress unmap(const IpAddress& address) {
    const auto* v6 = std::get_if<Ipv6Address>(&address);
    if (v6 == nullptr || !is_v4_mapped(v6->bytes())) return address;
    const auto& bytes = v6->bytes();
    return Ipv4Address(std::uint32_t{bytes[12]} << 24 | std::uint32_t{bytes[13]} << 16 |
                       std::uint32_t{bytes[14]} << 8 | std::uint32_t{bytes[15]});
}

std::optional<Ipv4Prefix> Ipv4Prefix::parse(std::string_view text) {
    const auto parts = split_prefix(text, 32);
    if (!parts) return std::nullopt;
    const auto address = Ipv4Address::parse(parts->first);
    if (!address || (address->host_order() & ~mask_of(parts->second)) != 0) return std::nullopt;
    return Ipv4Prefix{*address, parts->second};
}

bool Ipv4Prefix::contains(Ipv4Address candidate) const {
    return ((candidate.host_order() ^ address.host_order()) & mask_of(length)) == 0;
}

std::string Ipv4Prefix::to_string() const {
    return address.to_string() + '/' + std::to_string(length);
}

std::optional<Ipv6Prefix> Ipv6Prefix::parse(std::string_view text) {
    const auto parts = split_prefix(text, 128);
    if (!parts) return std::nullopt;
    const auto address = Ipv6Address::parse(parts->first);
    if (!address || masked(*address, parts->second) != *address) return std::nullopt;
    return Ipv6Prefix{*address, parts->second};
}

bool Ipv6Prefix::contains(const Ipv6Address& candidate) const {
    return masked(candidate, length) == address;
}

std::string Ipv6Prefix::to_string() const {
    return address.to_string() + '/' + std::to_string(length);
}

std::string to_string(const IpEndpoint& endpoint) {
    const auto address = to_string(endpoint.address);
    const auto port = std::to_string(endpoint.port);
    if (std::holds_alternative<Ipv6Address>(endpoint.address)) {
        return '[' + address + "]:" + port;
    }
    return address + ':' + port;
}

}  // namespace dstm
