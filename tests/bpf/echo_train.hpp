// ICMP echo requests with numbers, one a millisecond, and which of them were never answered.
#pragma once

#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

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
        : socket_(host.in([&] { return open(to); })), thread_([this] { run(); }) {}
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
    static constexpr std::size_t ip_size = 20;
    static constexpr std::size_t icmp_size = 12;  // with the number

    static Descriptor open(const std::string& to) {
        Descriptor socket(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
        sockaddr_in peer{};
        peer.sin_family = AF_INET;
        peer.sin_addr.s_addr = htonl(v4(to).host_order());
        const auto* const address = reinterpret_cast<const sockaddr*>(&peer);
        EXPECT_EQ(::connect(socket.number(), address, sizeof peer), 0);
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
        store8(bytes, 0, ICMP_ECHO);
        store16(bytes, 4, static_cast<std::uint16_t>(::getpid()));
        store32(bytes, 8, sent_);
        store16(bytes, 2, internet_checksum(packet));
        if (::send(socket_.number(), packet.data(), packet.size(), 0) < 0) return;
        waiting_.insert(sent_++);
    }
    void receive() {
        std::vector<std::uint8_t> packet(128);
        while (::recv(socket_.number(), packet.data(), packet.size(), 0) >=
               static_cast<ssize_t>(ip_size + icmp_size)) {
            if (load8(packet, ip_size) == ICMP_ECHOREPLY) {
                waiting_.erase(load32(packet, ip_size + 8));
            }
        }
    }
    void stop() {
        stopping_ = true;
        if (thread_.joinable()) thread_.join();
    }

    Descriptor socket_;
    std::uint32_t sent_ = 0;
    std::set<std::uint32_t> waiting_;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

}  // namespace dstm::dataplane::testing
