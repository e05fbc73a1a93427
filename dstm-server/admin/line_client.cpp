// One line out, one line in, over a UNIX stream socket.
#include "dstm-server/admin/line_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace dstm::server {
namespace {

constexpr std::size_t answer_size_max = 64 << 20;

class Descriptor {
public:
    explicit Descriptor(int number) : number_(number) {}
    ~Descriptor() { if (number_ >= 0) ::close(number_); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int number() const { return number_; }

private:
    int number_;
};

tl::unexpected<Error> failed(ErrorCode code, const std::string& path, const std::string& what) {
    return fail(code, path + ": " + what);
}

}  // namespace

Result<std::string> ask(const std::string& path, const std::string& line, Duration timeout) {
    ::sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return failed(ErrorCode::invalid, path, "longer than a UNIX socket's path can be");
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (socket.number() < 0 ||
        ::connect(socket.number(), reinterpret_cast<const ::sockaddr*>(&address),
                  sizeof address) != 0) {
        return failed(ErrorCode::unavailable, path, std::strerror(errno));
    }
    const std::string request = line + "\n";
    std::size_t sent = 0;
    while (sent < request.size()) {
        const auto now = ::send(socket.number(), request.data() + sent, request.size() - sent,
                                MSG_NOSIGNAL);
        if (now <= 0) return failed(ErrorCode::closed, path, std::strerror(errno));
        sent += static_cast<std::size_t>(now);
    }
    const auto end = std::chrono::steady_clock::now() + timeout;
    std::string answer;
    std::array<char, 65536> buffer{};
    while (answer.size() < answer_size_max) {
        const auto left = std::chrono::duration_cast<Duration>(
            end - std::chrono::steady_clock::now());
        ::pollfd waiting{socket.number(), POLLIN, 0};
        if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) == 0) {
            return failed(ErrorCode::timed_out, path, "no answer in time");
        }
        const auto size = ::recv(socket.number(), buffer.data(), buffer.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return failed(ErrorCode::closed, path, "closed without an answer");
        answer.append(buffer.data(), static_cast<std::size_t>(size));
        if (const auto newline = answer.find('\n'); newline != std::string::npos) {
            answer.resize(newline);
            return answer;
        }
    }
    return failed(ErrorCode::invalid, path, "the answer is too long");
}

}  // namespace dstm::server
