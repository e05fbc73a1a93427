// A listening UNIX stream socket with its file: made with the wished mode from the first moment,
// removed with the object, and never at the cost of a socket that somebody else serves.
#pragma once

#include <string>

#include <sys/types.h>

#include "common/base/result.hpp"

namespace dstm::kea {

class UnixListener {
public:
    [[nodiscard]] static Result<UnixListener> open(const std::string& path, mode_t mode);

    UnixListener(UnixListener&& other) noexcept;
    UnixListener& operator=(UnixListener&&) = delete;
    ~UnixListener();

    [[nodiscard]] int fd() const { return fd_; }

private:
    UnixListener(int fd, std::string path, dev_t device, ino_t inode);

    int fd_ = -1;
    std::string path_;
    dev_t device_ = 0;  // of the file, to remove no other one
    ino_t inode_ = 0;
};

}  // namespace dstm::kea
