// See the header.
#include "kea-hook/unix_listener.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace dstm::kea {

namespace {

constexpr int backlog = 16;

struct Fd {
    explicit Fd(int descriptor) : value(descriptor) {}
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() {
        if (value >= 0) ::close(value);
    }
    int value;
};

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return address;
}

int connect_to(int fd, const sockaddr_un& address) {
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

// What a killed server left behind goes; a living one's socket, or any other file, stays.
Result<void> remove_stale(const std::string& path, const sockaddr_un& address) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) {
        if (errno == ENOENT) return {};
        return tl::unexpected(error_from_errno(errno, "look at " + path));
    }
    if (!S_ISSOCK(info.st_mode)) {
        return fail(ErrorCode::refused, path + " exists and is not a socket");
    }
    const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (probe.value < 0) return tl::unexpected(error_from_errno(errno, "make a socket"));
    if (connect_to(probe.value, address) == 0 || errno != ECONNREFUSED) {
        return fail(ErrorCode::refused, path + " is served by another process");
    }
    if (::unlink(path.c_str()) != 0) {
        return tl::unexpected(error_from_errno(errno, "remove the stale " + path));
    }
    return {};
}

}  // namespace

Result<UnixListener> UnixListener::open(const std::string& path, mode_t mode) {
    const sockaddr_un address = address_of(path);
    if (auto removed = remove_stale(path, address); !removed) {
        return tl::unexpected(removed.error());
    }
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd.value < 0) return tl::unexpected(error_from_errno(errno, "make a socket"));
    const mode_t old_mask = ::umask(static_cast<mode_t>(~mode & 0777));
    const int bound =
        ::bind(fd.value, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    const int bind_errno = errno;
    ::umask(old_mask);
    if (bound != 0) return tl::unexpected(error_from_errno(bind_errno, "bind " + path));
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0 || ::listen(fd.value, backlog) != 0) {
        const int listen_errno = errno;
        ::unlink(path.c_str());
        return tl::unexpected(error_from_errno(listen_errno, "listen on " + path));
    }
    return UnixListener(std::exchange(fd.value, -1), path, info.st_dev, info.st_ino);
}

UnixListener::UnixListener(int fd, std::string path, dev_t device, ino_t inode)
    : fd_(fd), path_(std::move(path)), device_(device), inode_(inode) {}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      device_(other.device_),
      inode_(other.inode_) {}

UnixListener::~UnixListener() {
    if (fd_ < 0) return;
    struct stat info {};
    const bool still_ours =
        ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_;
    if (still_ours) ::unlink(path_.c_str());
    ::close(fd_);
}

}  // namespace dstm::kea
