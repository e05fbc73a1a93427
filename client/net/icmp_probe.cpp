// Echo packets as bytes, and the raw socket that carries them (RFC 792).
#include "client/net/icmp_probe.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <random>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::client {
namespace {

constexpr std::size_t icmp_header_size = 8;
constexpr std::size_t ipv4_header_size_min = 20;
constexpr std::uint8_t type_echo_request = 8;
constexpr std::uint8_t type_echo_reply = 0;
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

sockaddr_in to_sockaddr(Ipv4Address address) {
    sockaddr_in native{};
    native.sin_family = AF_INET;
    native.sin_addr.s_addr = htonl(address.host_order());
    return native;
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
        const auto packet = write_echo_request({identifier_, echo.sequence});
        const auto to = to_sockaddr(echo.to);
        peer_ = echo.to;
        sent_sequence_ = echo.sequence;
        sent_at_ = std::chrono::steady_clock::now();
        const auto count =
            ::sendto(socket_->native_handle(), packet.data(), packet.size(), MSG_DONTWAIT,
                     reinterpret_cast<const sockaddr*>(&to), sizeof(to));
        if (count < 0) {
            const auto error = error_from_errno(errno, "echo to " + echo.to.to_string());
            log_warning("CLIENT_KEEPALIVE_FAILED", "{}", to_string(error));
        }
    }

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

    Result<void> open(Ipv4Address from) {
        if (socket_->is_open() && bound_to_ == from) return {};
        close();
        const int descriptor =
            ::socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
        if (descriptor < 0) return tl::unexpected(error_from_errno(errno, "raw ICMP socket"));
        socket_->assign(descriptor);
        const auto address = to_sockaddr(from);
        const bool is_bound =
            ::setsockopt(descriptor, SOL_RAW, icmp_filter_option, &all_but_replies,
                         sizeof(all_but_replies)) == 0 &&
            ::setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, device_.c_str(),
                         static_cast<socklen_t>(device_.size())) == 0 &&
            ::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
        if (!is_bound) {
            const auto error = error_from_errno(errno, "echo from " + from.to_string());
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
        std::array<std::uint8_t, 2048> buffer{};
        for (int bound = 0; bound < 64 && socket_->is_open(); ++bound) {
            sockaddr_in from{};
            socklen_t size = sizeof(from);
            const auto count =
                ::recvfrom(socket_->native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                           reinterpret_cast<sockaddr*>(&from), &size);
            if (count < 0) return;
            if (ntohl(from.sin_addr.s_addr) != peer_.host_order()) continue;
            const auto reply =
                read_echo_reply(std::span(buffer).first(static_cast<std::size_t>(count)));
            if (!reply || reply->identifier != identifier_) continue;
            if (reply->sequence == sent_sequence_) {
                round_trip_ = std::chrono::duration_cast<std::chrono::microseconds>(
                    std::chrono::steady_clock::now() - sent_at_);
            }
            handler_(KeepaliveAnswered{reply->sequence});
        }
    }

    std::shared_ptr<Socket> socket_;
    std::string device_;
    EventHandler handler_;
    std::uint16_t identifier_;
    Ipv4Address bound_to_;
    Ipv4Address peer_;
    std::uint16_t sent_sequence_ = 0;
    SteadyTime sent_at_;
    std::optional<std::chrono::microseconds> round_trip_;
};

}  // namespace

std::vector<std::uint8_t> write_echo_request(const EchoPacket& echo) {
    std::vector<std::uint8_t> packet(icmp_header_size, 0);
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

std::unique_ptr<EchoProbe> make_icmp_probe(asio::io_context& context, std::string device,
                                           EventHandler handler) {
    return std::make_unique<IcmpProbe>(context, std::move(device), std::move(handler));
}

}  // namespace dstm::client
