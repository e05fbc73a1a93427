// What a network test sends through a tunnel by the host's own means: ping and TCP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/unit/dataplane/namespaces.hpp"

namespace dstm::dataplane::testing {

inline bool answers(const std::string& ping_output) {
    return ping_output.find(" 0% packet loss") != std::string::npos;
}

inline std::string ping(const Namespace& from, const std::string& target,
                        const std::string& more = "") {
    return from.in([&] { return output_of("ping -n -c 1 -W 2 " + more + " " + target); });
}

union SocketAddress {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
};

// Port 7, of either version.
inline SocketAddress socket_address(const std::string& text) {
    SocketAddress out{};
    if (text.find(':') == std::string::npos) {
        out.v4.sin_family = AF_INET;
        out.v4.sin_port = htons(7);
        ::inet_pton(AF_INET, text.c_str(), &out.v4.sin_addr);
    } else {
        out.v6.sin6_family = AF_INET6;
        out.v6.sin6_port = htons(7);
        ::inet_pton(AF_INET6, text.c_str(), &out.v6.sin6_addr);
    }
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
    const auto local = socket_address(address);
    const auto tcp = [&] {
        return Descriptor(::socket(local.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    };
    const auto listener = listening.in(tcp);
    limit_waiting(listener);
    // The port may still wait for the end of an earlier connection (TIME-WAIT, RFC 9293 s3.3.2).
    const int reuse = 1;
    ::setsockopt(listener.number(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    EXPECT_EQ(::bind(listener.number(), &local.any, sizeof local), 0) << address;
    EXPECT_EQ(::listen(listener.number(), 1), 0);
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
    if (::connect(connection.number(), &local.any, sizeof local) == 0) {
        downwards = receive_all(connection);
        send_all(connection);
    }
    peer.join();
    return upwards + downwards;
}

}  // namespace dstm::dataplane::testing
