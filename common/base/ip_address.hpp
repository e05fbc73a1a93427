// IPv4 and IPv6 addresses, prefixes and transport endpoints as values.
//
// Text forms: IPv4 is four decimal octets (RFC 6943 s3.1.1 "strict"), IPv6 is written as RFC 5952
// says and read as RFC 4291 s2.2 says. No zone identifiers, no names.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace dstm {

class Ipv4Address {
public:
    constexpr Ipv4Address() = default;
    constexpr explicit Ipv4Address(std::uint32_t host_order) : value_(host_order) {}

    [[nodiscard]] static std::optional<Ipv4Address> parse(std::string_view text);
    [[nodiscard]] constexpr std::uint32_t host_order() const { return value_; }
    [[nodiscard]] std::string to_string() const;
    // Can stand as the address of one host on a network: not 0/8, 127/8, 224/4, 240/4.
    [[nodiscard]] bool is_usable_unicast() const;

    constexpr auto operator<=>(const Ipv4Address&) const = default;

private:
    std::uint32_t value_ = 0;
};

class Ipv6Address {
public:
    using Bytes = std::array<std::uint8_t, 16>;

    constexpr Ipv6Address() = default;
    constexpr explicit Ipv6Address(const Bytes& network_order) : bytes_(network_order) {}

    [[nodiscard]] static std::optional<Ipv6Address> parse(std::string_view text);
    [[nodiscard]] constexpr const Bytes& bytes() const { return bytes_; }
    [[nodiscard]] std::string to_string() const;
    // Eight groups of four digits, for old clients that cut prefixes by character count.
    [[nodiscard]] std::string to_padded_string() const;
    // Global or unique-local: not ::, ::1, fe80::/10, ff00::/8, ::ffff:0:0/96.
    [[nodiscard]] bool is_usable_unicast() const;
    [[nodiscard]] bool is_link_local() const;

    constexpr auto operator<=>(const Ipv6Address&) const = default;

private:
    Bytes bytes_{};
};

using IpAddress = std::variant<Ipv4Address, Ipv6Address>;

[[nodiscard]] std::optional<IpAddress> parse_ip_address(std::string_view text);
[[nodiscard]] std::string to_string(const IpAddress& address);
// ::ffff:a.b.c.d becomes a.b.c.d; what a dual-stack socket reports becomes what the peer is.
[[nodiscard]] IpAddress unmap(const IpAddress& address);

struct Ipv4Prefix {
    Ipv4Address address;      // host bits are zero
    std::uint8_t length = 0;  // 0..32

    // "192.0.2.0/24"; host bits that are set, a missing or bad length: nullopt.
    [[nodiscard]] static std::optional<Ipv4Prefix> parse(std::string_view text);
    [[nodiscard]] bool contains(Ipv4Address candidate) const;
    [[nodiscard]] std::string to_string() const;
    auto operator<=>(const Ipv4Prefix&) const = default;
};

struct Ipv6Prefix {
    Ipv6Address address;      // host bits are zero
    std::uint8_t length = 0;  // 0..128

    [[nodiscard]] static std::optional<Ipv6Prefix> parse(std::string_view text);
    [[nodiscard]] bool contains(const Ipv6Address& candidate) const;
    [[nodiscard]] std::string to_string() const;
    auto operator<=>(const Ipv6Prefix&) const = default;
};

struct IpEndpoint {
    IpAddress address;
    std::uint16_t port = 0;

    auto operator<=>(const IpEndpoint&) const = default;
};

// "192.0.2.1:3653", "[2001:db8::1]:3653"
[[nodiscard]] std::string to_string(const IpEndpoint& endpoint);

}  // namespace dstm

template <>
struct std::hash<dstm::Ipv4Address> {
    std::size_t operator()(const dstm::Ipv4Address& address) const noexcept {
        return std::hash<std::uint32_t>{}(address.host_order());
    }
};

template <>
struct std::hash<dstm::Ipv6Address> {
    std::size_t operator()(const dstm::Ipv6Address& address) const noexcept {
        const auto& bytes = address.bytes();
        return std::hash<std::string_view>{}(
            std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }
};
