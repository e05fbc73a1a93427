// The datagram of sd_notify(3), by hand.
#include "common/io/sd_notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace dstm::io {

bool sd_notify(std::string_view state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    if (path == nullptr) return true;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::size_t length = std::strlen(path);
    if (length < 2 || length >= sizeof(address.sun_path)) return false;
    std::memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
    const ssize_t sent = ::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                  reinterpret_cast<const sockaddr*>(&address), size);
    ::close(fd);
    return sent == static_cast<ssize_t>(state.size());
}

std::optional<Duration> watchdog_interval() {
    const auto number = [](const char* name) -> std::optional<long long> {
        const char* text = std::getenv(name);
        long long value = 0;
        if (text == nullptr) return std::nullopt;
        const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
        if (error != std::errc() || *end != '\0') return std::nullopt;
        return value;
    };
    const auto process = number("WATCHDOG_PID");
    if (process && *process != ::getpid()) return std::nullopt;
    const auto interval = number("WATCHDOG_USEC");
    if (!interval || *interval <= 0) return std::nullopt;
    return std::chrono::duration_cast<Duration>(std::chrono::microseconds(*interval));
}

}  // namespace dstm::io
