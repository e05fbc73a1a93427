// ICMP errors about packets of a tunnel: made by hand on the way to the client, and seen by who
// sent what was inside.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "common/base/bytes.hpp"
#include "tests/unit/dataplane/traffic.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {

// IP packets of one version as they come in by an interface, whole.
class Arrivals {
public:
    Arrivals(const Namespace& host, const std::string& interface, std::uint16_t ethertype)
        : socket_(host.in([&] {
              Descriptor out(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
              sockaddr_ll local{};
              local.sll_family = AF_PACKET;
              local.sll_protocol = htons(ethertype);
              local.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
              const auto* address = reinterpret_cast<const sockaddr*>(&local);
              EXPECT_EQ(::bind(out.number(), address, sizeof local), 0);
              return out;
          })) {}

    // The next of this protocol; an empty one when none comes.
    [[nodiscard]] std::vector<std::uint8_t> next(std::uint8_t protocol) const {
        std::vector<std::uint8_t> packet;
        wait_until([&] {
            packet.resize(2048);
            const auto size = ::recv(socket_.number(), packet.data(), packet.size(), 0);
            packet.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
            return packet.size() >= 20 && protocol_of(packet) == protocol;
        });
        return packet;
    }

private:
    static std::uint8_t protocol_of(const std::vector<std::uint8_t>& packet) {
        return packet[0] >> 4 == 6 ? packet[6] : packet[9];
    }
    Descriptor socket_;
};

struct IcmpError {
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    bool operator==(const IcmpError&) const = default;
};

// Says of a packet to its source that it did not arrive: RFC 792 or RFC 4443 s3, with all of it.
inline void say_of(const Namespace& host, const std::vector<std::uint8_t>& packet,
                   const IcmpError& error) {
    const bool is_ipv6 = packet.at(0) >> 4 == 6;
    SocketAddress to{};
    if (is_ipv6) {
        to.v6.sin6_family = AF_INET6;
        std::memcpy(&to.v6.sin6_addr, packet.data() + 8, 16);
    } else {
        to.v4.sin_family = AF_INET;
        std::memcpy(&to.v4.sin_addr, packet.data() + 12, 4);
    }
    std::vector<std::uint8_t> message{error.type, error.code, 0, 0, 0, 0, 0, 0};
    message.insert(message.end(), packet.begin(), packet.end());
    if (!is_ipv6) store16(message, 2, internet_checksum(message));  // of ICMPv6 by the kernel
    const auto socket = host.in([&] {
        return Descriptor(::socket(to.any.sa_family, SOCK_RAW | SOCK_CLOEXEC,
                                   is_ipv6 ? int{IPPROTO_ICMPV6} : int{IPPROTO_ICMP}));
    });
    EXPECT_EQ(::sendto(socket.number(), message.data(), message.size(), 0, &to.any,
                       is_ipv6 ? sizeof to.v6 : sizeof to.v4),
              static_cast<ssize_t>(message.size()));
}

// Sends datagrams, and hears what the network says of them.
class DatagramSender {
public:
    DatagramSender(const Namespace& host, const std::string& target)
        : is_ipv6_(target.find(':') != std::string::npos), socket_(host.in([&] {
              const auto to = socket_address(target);
              Descriptor out(::socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
              EXPECT_EQ(::connect(out.number(), &to.any, sizeof to), 0);
              return out;
          })) {
        is_ipv6_ ? set(IPPROTO_IPV6, IPV6_RECVERR, 1) : set(IPPROTO_IP, IP_RECVERR, 1);
    }

    void send(std::size_t size = 64) const {
        const std::vector<std::uint8_t> data(size);
        EXPECT_EQ(::send(socket_.number(), data.data(), size, 0), static_cast<ssize_t>(size));
    }

    // So many of this size as one packet, with DF; false when the kernel does not, for want of
    // checksums.
    [[nodiscard]] bool send_merged(std::size_t size, std::size_t many) const {
        set(SOL_UDP, UDP_SEGMENT, static_cast<int>(size));
        if (!is_ipv6_) set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
        const std::vector<std::uint8_t> data(size * many);
        return ::send(socket_.number(), data.data(), data.size(), 0) ==
               static_cast<ssize_t>(data.size());
    }

    struct Heard {
        IcmpError error;
        std::string from;
    };
    // At once.
    [[nodiscard]] std::optional<Heard> heard() const {
        std::uint8_t data[2048];
        alignas(cmsghdr) std::uint8_t control[512];
        iovec part{data, sizeof data};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        if (::recvmsg(socket_.number(), &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return {};
        for (auto* each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
            struct {
                sock_extended_err error;
                SocketAddress offender;
            } told{};
            std::memcpy(&told, CMSG_DATA(each),
                        std::min<std::size_t>(sizeof told, each->cmsg_len - CMSG_LEN(0)));
            if (told.error.ee_origin == SO_EE_ORIGIN_LOCAL) continue;
            char from[INET6_ADDRSTRLEN] = "";
            const void* address = is_ipv6_ ? static_cast<const void*>(&told.offender.v6.sin6_addr)
                                           : &told.offender.v4.sin_addr;
            ::inet_ntop(told.offender.any.sa_family, address, from, sizeof from);
            return Heard{{told.error.ee_type, told.error.ee_code}, from};
        }
        return {};
    }
    [[nodiscard]] std::optional<Heard> hear() const {
        std::optional<Heard> out;
        wait_until([&] { return (out = heard()).has_value(); });
        return out;
    }

private:
    void set(int level, int option, int value) const {
        EXPECT_EQ(::setsockopt(socket_.number(), level, option, &value, sizeof value), 0);
    }
    bool is_ipv6_;
    Descriptor socket_;
};

}  // namespace dstm::dataplane::testing
