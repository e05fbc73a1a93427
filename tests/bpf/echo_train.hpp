// Echo requests of ICMP or ICMPv6 with numbers, one a millisecond, and which of them were never
// answered.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bytes.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {

class EchoTrain {
public:
    EchoTrain(const Namespace& host, const std::string& to)
        : is_ipv4_(to.find(':') == std::string::npos),
          socket_(host.in([&] { return is_ipv4_ ? open_v4(to) : open_v6(to); })),
          thread_([this] { run(); }) {}
    ~EchoTrain() { stop(); }
    EchoTrain(const EchoTrain&) = delete;
    EchoTrain& operator=(const EchoTrain&) = delete;

    // Sends no more, and waits for what is on its way.
    [[nodiscard]] const std::set<std::uint32_t>& missing() {
        stop();
        wait_until([this] {
            receive();
            return waiting_.empty();
        });
        return waiting_;
    }
    [[nodiscard]] std::uint32_t sent() const { return sent_; }

private:
    static constexpr std::size_t ipv4_size = 20;
    static constexpr std::size_t icmp_size = 12;  // with the number

    static Descriptor open_v4(const std::string& to) {
        sockaddr_in peer{};
        peer.sin_family = AF_INET;
        peer.sin_addr.s_addr = htonl(v4(to).host_order());
        return open(IPPROTO_ICMP, reinterpret_cast<const sockaddr*>(&peer), sizeof peer);
    }
    static Descriptor open_v6(const std::string& to) {
        sockaddr_in6 peer{};
        peer.sin6_family = AF_INET6;
        const auto bytes = v6(to).bytes();
        std::copy(bytes.begin(), bytes.end(), peer.sin6_addr.s6_addr);
        return open(IPPROTO_ICMPV6, reinterpret_cast<const sockaddr*>(&peer), sizeof peer);
    }
    static Descriptor open(int protocol, const sockaddr* peer, socklen_t size) {
        Descriptor socket(
            ::socket(peer->sa_family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
        EXPECT_EQ(::connect(socket.number(), peer, size), 0);
        const int buffer = 8 << 20;
        ::setsockopt(socket.number(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
        return socket;
    }

    void run() {
        auto due = std::chrono::steady_clock::now();
        while (!stopping_) {
            pollfd wait{socket_.number(), POLLIN, 0};
            ::poll(&wait, 1, 1);
            receive();
            if (std::chrono::steady_clock::now() < due) continue;
            send();
            due += std::chrono::milliseconds(1);
        }
    }
    void send() {
        std::vector<std::uint8_t> packet(icmp_size);
        const MutableBytes bytes(packet);
        store8(bytes, 0, is_ipv4_ ? ICMP_ECHO : ICMP6_ECHO_REQUEST);
        store16(bytes, 4, static_cast<std::uint16_t>(::getpid() + number_));
        store32(bytes, 8, sent_);
        if (is_ipv4_) store16(bytes, 2, internet_checksum(packet));  // else the kernel does it
        if (::send(socket_.number(), packet.data(), packet.size(), 0) < 0) return;
        waiting_.insert(sent_++);
    }
    void receive() {
        std::vector<std::uint8_t> packet(128);
        const auto at = is_ipv4_ ? ipv4_size : 0;  // a raw socket of IPv6 gives no IP header
        while (::recv(socket_.number(), packet.data(), packet.size(), 0) >=
               static_cast<ssize_t>(at + icmp_size)) {
            if (load8(packet, at) == (is_ipv4_ ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) &&
                load16(packet, at + 4) == static_cast<std::uint16_t>(::getpid() + number_)) {
                waiting_.erase(load32(packet, at + 8));
            }
        }
    }
    void stop() {
        stopping_ = true;
        if (thread_.joinable()) thread_.join();
    }

    inline static std::atomic<int> count_ = 0;
    const int number_ = count_++;  // a raw socket hears the answers to others too
    const bool is_ipv4_;
    Descriptor socket_;
    std::uint32_t sent_ = 0;
    std::set<std::uint32_t> waiting_;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

}  // namespace dstm::dataplane::testing
