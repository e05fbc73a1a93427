// What is sent through the campus of tun_campus.hpp, and what comes back.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/dataplane/outer_socket.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {

inline bool answers(const std::string& ping_output) {
    return ping_output.find(" 0% packet loss") != std::string::npos;
}

inline std::string ping(const Namespace& from, const std::string& target,
                        const std::string& more = "") {
    return from.exec("ping -n -c 1 -W 2 " + more + " " + target);
}

inline sockaddr_in socket_address(const std::string& address) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(7);
    out.sin_addr.s_addr = htonl(v4(address).host_order());
    return out;
}

inline void limit_waiting(const Descriptor& socket) {
    const timeval bound{5, 0};
    ::setsockopt(socket.number(), SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
    ::setsockopt(socket.number(), SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
}

// One TCP connection; the listener sends `size` bytes and then reads as many. Bytes that arrived
// unchanged, both directions together.
inline std::size_t transfer(const Namespace& listening, const std::string& address,
                            const Namespace& connecting, std::size_t size) {
    const auto pattern = [](std::size_t at) {
        return static_cast<std::uint8_t>(at * 7 + at / 256);
    };
    std::vector<std::uint8_t> data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = pattern(i);
    const auto send_all = [&](const Descriptor& socket) {
        for (std::size_t at = 0; at < size;) {
            const auto sent = ::send(socket.number(), data.data() + at, size - at, MSG_NOSIGNAL);
            if (sent <= 0) return;
            at += static_cast<std::size_t>(sent);
        }
    };
    const auto receive_all = [&](const Descriptor& socket) -> std::size_t {
        std::vector<std::uint8_t> got(size);
        std::size_t at = 0;
        while (at < size) {
            const auto received = ::recv(socket.number(), got.data() + at, size - at, 0);
            if (received <= 0) break;
            at += static_cast<std::size_t>(received);
        }
        return got == data ? at : 0;
    };
    const auto tcp = [] { return Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); };
    const auto local = socket_address(address);
    const auto listener = listening.in(tcp);
    limit_waiting(listener);
    ::bind(listener.number(), reinterpret_cast<const sockaddr*>(&local), sizeof local);
    ::listen(listener.number(), 1);
    std::size_t upwards = 0;
    std::thread peer([&] {
        const Descriptor accepted(::accept(listener.number(), nullptr, nullptr));
        limit_waiting(accepted);
        send_all(accepted);
        upwards = receive_all(accepted);
    });
    const auto connection = connecting.in(tcp);
    limit_waiting(connection);
    std::size_t downwards = 0;
    if (::connect(connection.number(), reinterpret_cast<const sockaddr*>(&local), sizeof local) ==
        0) {
        downwards = receive_all(connection);
        send_all(connection);
    }
    peer.join();
    return upwards + downwards;
}

// An ICMP echo request, whole.
inline std::vector<std::uint8_t> echo_request(const std::string& source,
                                              const std::string& destination, std::size_t size) {
    std::vector<std::uint8_t> packet(size);
    const MutableBytes bytes(packet);
    store8(bytes, 0, 0x45);
    store16(bytes, 2, static_cast<std::uint16_t>(size));
    store8(bytes, 8, 64);
    store8(bytes, 9, 1);
    store_ipv4(bytes, 12, v4(source));
    store_ipv4(bytes, 16, v4(destination));
    store16(bytes, 10, internet_checksum(bytes.first(20)));
    store8(bytes, 20, 8);
    store16(bytes, 22, internet_checksum(bytes.subspan(20)));
    return packet;
}

// A client made by hand: what it sends is what the test says.
class HandMadeClient {
public:
    HandMadeClient(const Namespace& host, const std::string& outer)
        : socket_(host.in([&] { return OuterSocket::open(v6(outer)); })) {}
    void send(const std::vector<std::uint8_t>& inner, std::uint8_t traffic_class = 0) {
        DropTable drops;
        const OutgoingPacket packet{v6("2001:db8:2::1"), traffic_class, inner};
        socket_.value().send({&packet, 1}, drops);
    }
    // One packet; an empty one when none comes.
    [[nodiscard]] IncomingPacket receive() {
        std::vector<IncomingPacket> packets;
        wait_until([&] {
            socket_.value().receive(buffer_, packets);
            return !packets.empty();
        });
        return packets.empty() ? IncomingPacket() : packets[0];
    }
    void prefix_with_encapsulation_limit() {
        // RFC 2473 s4.1.1, padded: next header, length, option 4, its length, limit, PadN.
        const std::array<std::uint8_t, 8> options{0, 0, 4, 1, 4, 1, 1, 0};
        ASSERT_EQ(::setsockopt(socket_.value().descriptor(), IPPROTO_IPV6, IPV6_DSTOPTS,
                               options.data(), options.size()),
                  0);
    }

private:
    Result<OuterSocket> socket_;
    BatchBuffer buffer_;
};

}  // namespace dstm::dataplane::testing
