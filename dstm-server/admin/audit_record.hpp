// One line of the audit log as text: JSON, keys in a fixed order. Pure.
//
// {"time":"2026-11-03T14:00:01Z","event":"started","user":"alice","host":"lab-7","type":"v4v6",
//  "address":"192.0.2.7","outer":"2001:db8:1::5","endpoint":"tep1",
//  "expires":"2026-11-03T15:00:01Z"}
// `prefix` is there when one is delegated, `outer-port` when it is not 0, `reason` when it is not
// empty.
#pragma once

#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

[[nodiscard]] std::string encode_audit(const AuditRecord& record);
[[nodiscard]] Result<AuditRecord> decode_audit(std::string_view line);

}  // namespace dstm::server
