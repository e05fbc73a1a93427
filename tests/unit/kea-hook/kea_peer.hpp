// A program at the other end of the hook's socket, for tests that have the hook in their own
// process: while it waits it lets the hook run.
#pragma once

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace dstm::kea {

inline std::string make_folder() {
    char name[] = "/tmp/dstm-hook-XXXXXX";
    return ::mkdtemp(name) == nullptr ? std::string() : name;
}

// Pumps until it holds; false after ten seconds.
inline bool wait_until(const std::function<bool()>& condition, const std::function<void()>& pump) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        pump();
    }
    return true;
}

class Peer {
public:
    using Pump = std::function<void()>;

    Peer() : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
    explicit Peer(const std::string& path) : Peer() {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof(address.sun_path) - 1);
        connected_ =
            ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;
    ~Peer() {
        ::shutdown(fd_, SHUT_RDWR);
        if (sender_.joinable()) sender_.join();
        ::close(fd_);
    }

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] bool connected() const { return connected_; }

    void send(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count <= 0) return;
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    // For more than the socket's buffer holds.
    void send_from_thread(std::string bytes) {
        sender_ = std::thread([this, text = std::move(bytes)] { send(text); });
    }

    // The next `count` lines, or fewer when they do not come.
    [[nodiscard]] std::vector<std::string> lines(std::size_t count, const Pump& pump) {
        std::vector<std::string> result;
        wait_until(
            [&] {
                receive();
                for (std::size_t end;
                     result.size() < count && (end = in_.find('\n')) != std::string::npos;) {
                    result.push_back(in_.substr(0, end));
                    in_.erase(0, end + 1);
                }
                return result.size() == count || closed_;
            },
            pump);
        return result;
    }

    [[nodiscard]] bool is_closed(const Pump& pump) {
        return wait_until(
            [&] {
                receive();
                return closed_;
            },
            pump);
    }

    // What has arrived besides whole lines that were taken.
    [[nodiscard]] const std::string& rest() {
        receive();
        return in_;
    }

private:
    void receive() {
        char chunk[65536];
        while (!closed_) {
            const ssize_t count = ::recv(fd_, chunk, sizeof(chunk), MSG_DONTWAIT);
            if (count < 0) {
                closed_ = errno != EAGAIN;
                return;
            }
            if (count == 0) closed_ = true;
            in_.append(chunk, static_cast<std::size_t>(count));
        }
    }

    int fd_;
    bool connected_ = false;
    bool closed_ = false;
    std::string in_;
    std::thread sender_;
};

}  // namespace dstm::kea
