// The audit log in a file that only grows (RFC 6888 s4: who had which address when). One write a
// line, not synced to disk. A line that cannot be written is counted and reported, and no reason
// to stop serving.
#pragma once

#include <memory>
#include <string>

#include "common/base/result.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

class AuditFile final : public AuditLog {
public:
    // refused, not_found, ...: the file cannot be opened for appending.
    [[nodiscard]] static Result<std::unique_ptr<AuditFile>> open(const std::string& path);
    ~AuditFile() override;
    AuditFile(const AuditFile&) = delete;
    AuditFile& operator=(const AuditFile&) = delete;

    void write(const AuditRecord& record) override;
    // After logrotate has moved the file away. Keeps the old one when the new one does not open.
    void reopen();

private:
    AuditFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
    [[nodiscard]] bool append(const std::string& text);

    std::string path_;
    int descriptor_;
    bool line_is_torn_ = false;  // the last write stopped in the middle of a line
    std::uint64_t lost_ = 0;     // since writing began to fail
};

// For a configuration without an audit log.
class NoAuditLog final : public AuditLog {
public:
    void write(const AuditRecord&) override {}
};

}  // namespace dstm::server
