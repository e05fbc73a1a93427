// Answers "who had this address at that time" from the lines of the audit log; who had a prefix had
// every address in it. Pure: lines in, verdict out.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

// One holding of the address, or of a prefix that it is in, from its start to its end.
struct Holding {
    AuditRecord start;               // a `changed` if the start is in no file that was read
    std::vector<AuditRecord> changes;
    std::optional<AuditRecord> end;  // absent: not ended yet, or the server did not see it

    // The end that was recorded, else the end of the lease as last known.
    [[nodiscard]] WallTime until() const;
    // What held at that time: outer address and endpoint may have changed since the start.
    [[nodiscard]] const AuditRecord& as_of(WallTime time) const;
};

class WhoHad {
public:
    explicit WhoHad(IpAddress address) : address_(address) {}

    // The lines in the order of their time, oldest first. Others' lines and damaged ones are
    // passed over; the damaged ones are counted.
    void read_line(std::string_view line);

    // nullptr: nobody, as far as the log says.
    [[nodiscard]] const Holding* at(WallTime time) const;
    // The last one that ended at or before that time.
    [[nodiscard]] const Holding* before(WallTime time) const;
    [[nodiscard]] std::size_t damaged_lines() const { return damaged_; }

private:
    [[nodiscard]] bool concerns(const AuditRecord& record) const;

    IpAddress address_;
    std::vector<Holding> holdings_;
    std::size_t damaged_ = 0;
};

}  // namespace dstm::server
