// Appending lines by write(2).
#include "dstm-server/admin/audit_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "common/log/log.hpp"
#include "dstm-server/admin/audit_record.hpp"

namespace dstm::server {
namespace {

constexpr ::mode_t file_mode = 0640;

int open_file(const std::string& path) {
    // Not blocking: somebody may have put a pipe there.
    return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, file_mode);
}

}  // namespace

Result<std::unique_ptr<AuditFile>> AuditFile::open(const std::string& path) {
    const int descriptor = open_file(path);
    if (descriptor < 0) return tl::unexpected(error_from_errno(errno, "audit log " + path));
    return std::unique_ptr<AuditFile>(new AuditFile(path, descriptor));
}

AuditFile::~AuditFile() { ::close(descriptor_); }

void AuditFile::write(const AuditRecord& record) {
    const std::string line = (line_is_torn_ ? "\n" : "") + encode_audit(record) + "\n";
    if (append(line)) {
        if (lost_ != 0) {
            log_warning("AUDIT_WRITING_AGAIN", "file={} lost={}", path_, std::exchange(lost_, 0));
        }
        return;
    }
    if (lost_++ == 0) {
        log_error("AUDIT_WRITE_FAILED", "file={} why={} line={}", path_,
                  to_string(error_from_errno(errno, "write")), line);
    }
}

bool AuditFile::append(const std::string& text) {
    std::size_t written = 0;
    while (written < text.size()) {
        const auto now = ::write(descriptor_, text.data() + written, text.size() - written);
        if (now < 0 && errno == EINTR) continue;
        if (now < 0) {
            if (written != 0) line_is_torn_ = true;
            return false;
        }
        written += static_cast<std::size_t>(now);
    }
    line_is_torn_ = false;
    return true;
}

void AuditFile::reopen() {
    const int fresh = open_file(path_);
    if (fresh < 0) {
        log_error("AUDIT_REOPEN_FAILED", "file={} why={}", path_,
                  to_string(error_from_errno(errno, "open")));
        return;
    }
    ::close(descriptor_);
    descriptor_ = fresh;
    line_is_torn_ = false;
}

}  // namespace dstm::server
