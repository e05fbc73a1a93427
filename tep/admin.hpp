// What an operator may ask the endpoint: {"command": "status" | "tunnels" | "counters"}, one line
// of JSON each way, in the style of Kea's control commands:
//   {"command": "tunnels", "arguments": {"from": "192.0.2.7", "limit": 100}}
//   {"result": 0, "arguments": {"tunnels": [...], "next": "192.0.2.107"}}
// Result 0 is done, 1 failed (with "text"), 2 not known here. Reads only, changes nothing.
#pragma once

#include <string>

#include "tep/control.hpp"

namespace dstm::tep {

struct AdminView {
    const Config& config;
    const TunnelTable& table;
    const dataplane::DataPlane& plane;
    const Control& control;
    const Relay& relay;
};

[[nodiscard]] std::string answer_admin(const AdminView& view, const std::string& line);

}  // namespace dstm::tep
