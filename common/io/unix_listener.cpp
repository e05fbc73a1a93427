// Finds out whether a socket file is anybody's before it takes its place.
#include "common/io/unix_listener.hpp"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

namespace dstm::io {
namespace {

using Unix = asio::local::stream_protocol;

constexpr mode_t socket_mode = S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP;

// A file that is left over from a process that was killed goes; anything else stays.
Result<void> remove_stale(asio::io_context& context, const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return {};
        return tl::unexpected<Error>(error_from_errno(errno, path));
    }
    if (!S_ISSOCK(status.st_mode)) return fail(ErrorCode::conflict, path + " is not a socket");
    Unix::socket probe(context);
    ErrorCodeOfAsio error;
    probe.connect(Unix::endpoint(path), error);
    if (!error) return fail(ErrorCode::conflict, path + ": another process listens there");
    if (error != asio::error::connection_refused) {
        return tl::unexpected<Error>(error_from_errno(error.value(), path));
    }
    if (::unlink(path.c_str()) != 0) return tl::unexpected<Error>(error_from_errno(errno, path));
    return {};
}

}  // namespace

Result<Unix::acceptor> open_unix_listener(asio::io_context& context, const std::string& path) {
    if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) {
        return fail(ErrorCode::invalid, path + ": too long for a UNIX socket");
    }
    if (auto removed = remove_stale(context, path); !removed) {
        return tl::unexpected<Error>(removed.error());
    }
    Unix::acceptor acceptor(context);
    ErrorCodeOfAsio error;
    acceptor.open(Unix(), error);
    // Narrow from the first moment on: the file takes the mode of the descriptor, less the umask;
    // chmod then gives the group back what the umask took.
    if (!error) ::fchmod(acceptor.native_handle(), socket_mode);
    if (!error) acceptor.bind(Unix::endpoint(path), error);
    if (!error && ::chmod(path.c_str(), socket_mode) != 0) {
        error.assign(errno, boost::system::system_category());
    }
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return tl::unexpected<Error>(error_from_errno(error.value(), "listen " + path));
    return acceptor;
}

}  // namespace dstm::io
