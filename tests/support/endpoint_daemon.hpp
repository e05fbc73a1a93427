// dstm-tep in the test's process, with a data plane in memory.
#pragma once

#include <utility>

#include "support/endpoint_values.hpp"
#include "support/memory_plane.hpp"
#include "tep/control.hpp"

namespace dstm::test {

inline tep::Config endpoint_config(tep::ServerAddress server) {
    tep::Config config;
    config.name = "tep1";
    config.group = "campus";
    config.servers = {std::move(server)};
    config.outer_ipv6 = endpoint_outer;
    config.inner_ipv4 = endpoint_inner;
    config.pools = {endpoint_pool};
    config.device = "dstm0";
    config.data_plane = "tun";
    return config;
}

// The daemon but for its data plane.
struct Endpoint {
    Endpoint(asio::io_context& context, const Clock& clock, tep::Config configured,
             MemoryPlane& memory)
        : config(std::move(configured)),
          plane(memory),
          table(tep::policy_of(config), plane, clock.wall()),
          relay(context, clock),
          control(context, clock, config, table, plane, relay) {
        control.start();
    }
    [[nodiscard]] bool is_up() const { return control.links().front()->is_up(); }

    tep::Config config;
    MemoryPlane& plane;
    tep::TunnelTable table;
    tep::Relay relay;
    tep::Control control;
};

}  // namespace dstm::test
