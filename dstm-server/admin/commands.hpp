// The commands of the server's admin socket: one JSON object a line asks, one answers, in Kea's
// form: {"result": 0, "arguments": {...}} or {"result": 1, "text": "..."}.
//
//   status      sessions, bindings, endpoints, Kea, what came by UDP
//   bindings    optional arguments: from (the address after which to begin), limit (1-1000)
//   endpoints   every endpoint that was seen
//   version
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dstm-server/broker/broker.hpp"
#include "dstm-server/net/udp_listener.hpp"

namespace dstm::server {

// Where the answers come from.
struct AdminSource {
    std::string name;
    WallTime started_at;
    std::function<WallTime()> now;
    std::function<BrokerStatus()> status;
    std::function<net::UdpListenerStatus()> udp;
    std::function<tsp::Throttle::Counters()> throttled;  // tries by TCP
    std::function<std::vector<BindingView>()> bindings;
    std::function<std::vector<EndpointView>()> endpoints;
};

[[nodiscard]] std::string answer_command(const std::string& line, const AdminSource& source);

}  // namespace dstm::server
