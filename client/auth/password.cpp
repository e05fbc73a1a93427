// Reads at most one small file, and says nothing about what is in it.
#include "client/auth/password.hpp"

#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dstm::client {
namespace {

constexpr std::size_t password_size_max = 1024;

struct Descriptor {
    int number;
    ~Descriptor() { if (number >= 0) close(number); }
};

Result<Secret> read_password(const std::string& path) {
    const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.number < 0) return tl::unexpected(error_from_errno(errno, "password file " + path));
    struct stat status{};
    if (fstat(file.number, &status) != 0) {
        return tl::unexpected(error_from_errno(errno, "password file " + path));
    }
    if (!S_ISREG(status.st_mode)) {
        return fail(ErrorCode::invalid, "password file " + path + " is not a regular file");
    }
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return fail(ErrorCode::refused, "password file " + path +
                                            " can be read by others: chmod 0600 it");
    }
    std::string text(password_size_max + 1, '\0');
    const auto count = read(file.number, text.data(), text.size());
    Secret whole(std::move(text));  // wipes what was read, whatever happens below
    if (count < 0) return tl::unexpected(error_from_errno(errno, "password file " + path));
    auto password = whole.reveal().substr(0, static_cast<std::size_t>(count));
    if (password.size() > password_size_max) {
        return fail(ErrorCode::invalid, "password file " + path + " is longer than 1024 bytes");
    }
    const auto line_end = password.find_last_not_of("\r\n");
    password = line_end == std::string_view::npos ? std::string_view{}
                                                  : password.substr(0, line_end + 1);
    if (password.empty()) return fail(ErrorCode::invalid, "password file " + path + " is empty");
    return Secret(std::string(password));
}

}  // namespace

Result<Secret> find_password(const std::string& configured_file) {
    if (!configured_file.empty()) return read_password(configured_file);
    if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY")) {
        const auto path = std::string(directory) + "/dstm-password";
        if (access(path.c_str(), F_OK) == 0) return read_password(path);
    }
    if (const char* password = std::getenv("DSTM_PASSWORD"); password != nullptr && *password) {
        return Secret(std::string(password));
    }
    return fail(ErrorCode::not_found,
                "no password: set \"password-file\", $DSTM_PASSWORD or the systemd credential "
                "dstm-password");
}

}  // namespace dstm::client
