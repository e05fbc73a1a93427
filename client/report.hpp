// The engine's announcements and state in words: for the log, for people and as JSON. Decides
// nothing.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "client/driver.hpp"

namespace dstm::client {

// One CLIENT_* line (docs/events.md).
void log_announcement(const Announce& announcement, const Engine& engine, const std::string& user);

// "IPv4 address 192.0.2.7 for 60 min from dstm.campus.example (endpoint 2001:db8:2::1)"
[[nodiscard]] std::string describe(const Binding& binding);

// {"state": "up", "address": ..., "since": unix time, "lifetime-left": seconds, ...}; what does
// not apply now is left out.
[[nodiscard]] nlohmann::json status_of(const Driver& driver);
// The same for people, from that JSON: several lines.
[[nodiscard]] std::string describe_status(const nlohmann::json& status);

}  // namespace dstm::client
