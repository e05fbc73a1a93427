// Echo packets as bytes, and the raw socket that carries them (RFC 792, RFC 4443 s4).
#include "client/net/icmp_probe.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::client {
namespace {

constexpr std::size_t icmp_header_size = 8;
constexpr std::size_t ipv4_header_size_min = 20;
constexpr std::size_t ipv6_header_size = 40;
constexpr std::size_t packet_size_max = 65535;
constexpr std::uint8_t type_echo_request = 8;
constexpr std::uint8_t type_echo_reply = 0;
constexpr std::uint8_t type_echo_request_v6 = 128;
constexpr std::uint8_t type_echo_reply_v6 = 129;
constexpr std::uint8_t type_unreachable = 3;
constexpr std::uint8_t code_fragmentation_needed = 4;
constexpr std::uint8_t type_too_big_v6 = 2;
// ICMP_FILTER of <linux/icmp.h>, which cannot stand beside the <net/if.h> of Asio: a mask of the
// types that are not wanted.
constexpr int icmp_filter_option = 1;
constexpr std::uint32_t all_but_replies = ~(1U << type_echo_reply);

std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : std::uint32_t{bytes[i]};
    }
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

void put16(std::span<std::uint8_t> bytes, std::size_t at, std::uint16_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value & 0xff);
}

std::uint16_t get16(std::span<const std::uint8_t> bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

// A raw socket's address of either family.
struct NativeAddress {
    sockaddr_storage storage{};
    socklen_t size = sizeof(sockaddr_storage);

    explicit NativeAddress() = default;
    explicit NativeAddress(const IpAddress& address) {
        if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
            auto& native = reinterpret_cast<sockaddr_in&>(storage);
            native.sin_family = AF_INET;
            native.sin_addr.s_addr = htonl(v4->host_order());
            size = sizeof(native);
            return;
        }
        const auto& bytes = std::get<Ipv6Address>(address).bytes();
        auto& native = reinterpret_cast<sockaddr_in6&>(storage);
        native.sin6_family = AF_INET6;
        std::copy(bytes.begin(), bytes.end(), native.sin6_addr.s6_addr);
        size = sizeof(native);
    }
    [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    [[nodiscard]] IpAddress value() const {
        if (storage.ss_family == AF_INET) {
            return Ipv4Address(
                ntohl(reinterpret_cast<const sockaddr_in&>(storage).sin_addr.s_addr));
        }
        Ipv6Address::Bytes bytes;
        const auto& native = reinterpret_cast<const sockaddr_in6&>(storage);
        std::copy_n(native.sin6_addr.s6_addr, bytes.size(), bytes.begin());
        return Ipv6Address(bytes);
    }
};

bool is_ipv4(const IpAddress& address) { return std::holds_alternative<Ipv4Address>(address); }

std::size_t payload_size(const SendKeepalive& echo) {
    const auto headers =
        icmp_header_size + (is_ipv4(echo.to) ? ipv4_header_size_min : ipv6_header_size);
    return std::min<std::size_t>(std::max<std::size_t>(echo.size, headers), packet_size_max) -
           headers;
}

// The kernel hands over echo replies only.
bool wants_replies_only(int descriptor, bool over_ipv4) {
    if (over_ipv4) {
        return ::setsockopt(descriptor, SOL_RAW, icmp_filter_option, &all_but_replies,
                            sizeof(all_but_replies)) == 0;
    }
    icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(type_echo_reply_v6, &filter);
    return ::setsockopt(descriptor, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)) == 0;
}

using SteadyTime = std::chrono::steady_clock::time_point;

class IcmpProbe final : public EchoProbe {
public:
    IcmpProbe(asio::io_context& context, std::string device, EventHandler handler)
        : socket_(std::make_shared<Socket>(context)),
          device_(std::move(device)),
          handler_(std::move(handler)),
          identifier_(static_cast<std::uint16_t>(std::random_device{}())) {}
    ~IcmpProbe() override { close(); }

    void send(const SendKeepalive& echo) override {
        if (const auto ready = open(echo.from); !ready) {
            // The engine counts it as unanswered, which it is.
            log_warning("CLIENT_KEEPALIVE_FAILED", "{}", to_string(ready.error()));
            return;
        }
        const EchoPacket request{identifier_, echo.sequence, payload_size(echo)};
        peer_ = echo.to;
        sent_sequence_ = echo.sequence;
        sent_at_ = std::chrono::steady_clock::now();
        const auto packet =
            is_ipv4(echo.to) ? write_echo_request(request) : write_echo_request_v6(request);
        if (send_to(echo.to, packet)) ++sent_;
    }

    void say_too_big(const IpAddress& from, const IpAddress& to, std::uint32_t mtu) override {
        // Whoever cannot be told stays as it was.
        if (open(from)) static_cast<void>(send_to(to, write_too_big(from, to, mtu)));
    }

    std::uint64_t sent() const override { return sent_; }

    std::optional<std::chrono::microseconds> round_trip() const override { return round_trip_; }

    void close() override {
        ErrorCodeOfAsio ignored;
        socket_->close(ignored);
        round_trip_.reset();
    }

private:
    // Asio has no raw socket with a fixed protocol that can be bound to a device; the descriptor is
    // made here and waited for there.
    using Socket = asio::posix::stream_descriptor;

    [[nodiscard]] bool send_to(const IpAddress& address, const std::vector<std::uint8_t>& packet) {
        NativeAddress to(address);
        const auto count = ::sendto(socket_->native_handle(), packet.data(), packet.size(),
                                    MSG_DONTWAIT, to.get(), to.size);
        if (count >= 0) return true;
        const auto error = error_from_errno(errno, "echo to " + to_string(address));
        log_warning("CLIENT_KEEPALIVE_FAILED", "{}", to_string(error));
        return false;
    }

    Result<void> open(const IpAddress& from) {
        if (socket_->is_open() && bound_to_ == from) return {};
        close();
        const int descriptor =
            is_ipv4(from)
                ? ::socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP)
                : ::socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMPV6);
        if (descriptor < 0) return tl::unexpected(error_from_errno(errno, "raw ICMP socket"));
        socket_->assign(descriptor);
        NativeAddress address(from);
        const bool is_bound =
            wants_replies_only(descriptor, is_ipv4(from)) &&
            ::setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, device_.c_str(),
                         static_cast<socklen_t>(device_.size())) == 0 &&
            ::bind(descriptor, address.get(), address.size) == 0;
        if (!is_bound) {
            const auto error = error_from_errno(errno, "echo from " + to_string(from));
            close();
            return tl::unexpected(error);
        }
        bound_to_ = from;
        wait();
        return {};
    }

    void wait() {
        // The descriptor is kept by the wait; a closed one ends it with an error.
        socket_->async_wait(Socket::wait_read,
                            [this, alive = std::weak_ptr(socket_)](const ErrorCodeOfAsio& error) {
                                if (error || alive.expired()) return;
                                receive();
                                if (socket_->is_open()) wait();
                            });
    }

    void receive() {
        for (int bound = 0; bound < 64 && socket_->is_open(); ++bound) {
            NativeAddress from;
            const auto count = ::recvfrom(socket_->native_handle(), buffer_.data(), buffer_.size(),
                                          MSG_DONTWAIT, from.get(), &from.size);
            if (count < 0) return;
            if (from.value() != peer_) continue;
            const auto packet = std::span(buffer_).first(static_cast<std::size_t>(count));
            const auto reply =
                is_ipv4(peer_) ? read_echo_reply(packet) : read_echo_reply_v6(packet);
            if (!reply || reply->identifier != identifier_) continue;
            if (reply->sequence == sent_sequence_) {
                round_trip_ = std::chrono::duration_cast<std::chrono::microseconds>(
                    std::chrono::steady_clock::now() - sent_at_);
            }
            handler_(KeepaliveAnswered{reply->sequence});
        }
    }

    std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(packet_size_max);
    std::shared_ptr<Socket> socket_;
    std::string device_;
    EventHandler handler_;
    std::uint16_t identifier_;
    IpAddress bound_to_;
    IpAddress peer_;
    std::uint64_t sent_ = 0;
    std::uint16_t sent_sequence_ = 0;
    SteadyTime sent_at_;
    std::optional<std::chrono::microseconds> round_trip_;
};

}  // namespace

std::vector<std::uint8_t> write_echo_request(const EchoPacket& echo) {
    std::vector<std::uint8_t> packet(icmp_header_size + echo.payload_size, 0);
    packet[0] = type_echo_request;
    put16(packet, 4, echo.identifier);
    put16(packet, 6, echo.sequence);
    put16(packet, 2, internet_checksum(packet));
    return packet;
}

std::optional<EchoPacket> read_echo_reply(std::span<const std::uint8_t> packet) {
    if (packet.size() < ipv4_header_size_min) return std::nullopt;
    const std::size_t header_size = std::size_t{packet[0] & 0x0fU} * 4;
    if (header_size < ipv4_header_size_min || packet.size() < header_size + icmp_header_size) {
        return std::nullopt;
    }
    const auto icmp = packet.subspan(header_size);
    if (icmp[0] != type_echo_reply || icmp[1] != 0) return std::nullopt;
    if (internet_checksum(icmp) != 0) return std::nullopt;
    return EchoPacket{get16(icmp, 4), get16(icmp, 6)};
}

// RFC 4443 s2.3: the checksum covers the IPv6 addresses; the kernel sets and checks it on a raw
// ICMPv6 socket (RFC 3542 s3.1).
std::vector<std::uint8_t> write_echo_request_v6(const EchoPacket& echo) {
    std::vector<std::uint8_t> packet(icmp_header_size + echo.payload_size, 0);
    packet[0] = type_echo_request_v6;
    put16(packet, 4, echo.identifier);
    put16(packet, 6, echo.sequence);
    return packet;
}

std::optional<EchoPacket> read_echo_reply_v6(std::span<const std::uint8_t> message) {
    if (message.size() < icmp_header_size) return std::nullopt;
    if (message[0] != type_echo_reply_v6 || message[1] != 0) return std::nullopt;
    return EchoPacket{get16(message, 4), get16(message, 6)};
}

// The header that is quoted is as long as it has to be to be believed: one byte too much.
std::vector<std::uint8_t> write_too_big(const IpAddress& from, const IpAddress& to,
                                        std::uint32_t mtu) {
    const bool over_ipv4 = is_ipv4(from);
    const auto ip_header_size = over_ipv4 ? ipv4_header_size_min : ipv6_header_size;
    const auto mtu16 = static_cast<std::uint16_t>(std::min<std::uint32_t>(mtu, 0xffff));
    const auto too_long = static_cast<std::uint16_t>(mtu16 + 1);
    std::vector<std::uint8_t> packet(icmp_header_size + ip_header_size + icmp_header_size, 0);
    const std::span bytes(packet);
    const auto quoted = bytes.subspan(icmp_header_size);
    const auto address_at = [&](std::size_t at, const IpAddress& address) {
        if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
            put16(quoted, at, static_cast<std::uint16_t>(v4->host_order() >> 16));
            put16(quoted, at + 2, static_cast<std::uint16_t>(v4->host_order() & 0xffff));
        } else {
            const auto& octets = std::get<Ipv6Address>(address).bytes();
            std::copy(octets.begin(), octets.end(),
                      quoted.begin() + static_cast<std::ptrdiff_t>(at));
        }
    };
    put16(bytes, 6, mtu16);
    if (!over_ipv4) {
        packet[0] = type_too_big_v6;
        quoted[0] = 0x60;
        put16(quoted, 4, static_cast<std::uint16_t>(too_long - ipv6_header_size));
        quoted[6] = IPPROTO_ICMPV6;
        quoted[7] = 64;
        address_at(8, to);
        address_at(24, from);
        quoted[ipv6_header_size] = type_echo_reply_v6;
        return packet;
    }
    packet[0] = type_unreachable;
    packet[1] = code_fragmentation_needed;
    quoted[0] = 0x45;
    put16(quoted, 2, too_long);
    put16(quoted, 6, 0x4000);  // DF
    quoted[8] = 64;
    quoted[9] = IPPROTO_ICMP;
    address_at(12, to);
    address_at(16, from);
    put16(quoted, 10, internet_checksum(quoted.first(ipv4_header_size_min)));
    quoted[ipv4_header_size_min] = type_echo_reply;
    put16(bytes, 2, internet_checksum(packet));
    return packet;
}

std::unique_ptr<EchoProbe> make_icmp_probe(asio::io_context& context, std::string device,
                                           EventHandler handler) {
    return std::make_unique<IcmpProbe>(context, std::move(device), std::move(handler));
}

}  // namespace dstm::client
