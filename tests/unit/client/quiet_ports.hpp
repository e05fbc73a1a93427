// Ports that do nothing by themselves: the test says what happens.
#pragma once

#include <optional>

#include "client/ports.hpp"
#include "fake_world.hpp"

namespace dstm::client {

struct QuietSignalling final : Signalling {
    void connect(const Target&) override { ++connects; }
    void connect_elsewhere() override { ++connects; }
    void send(const tsp::TunnelMessage& message) override { last = message.action; }
    void close() override {}
    std::optional<IpAddress> source_towards(const IpEndpoint& peer) override {
        asked_for = peer;
        return source;
    }
    std::optional<IpEndpoint> asked_for;
    unsigned connects = 0;
    std::optional<tsp::Action> last;
    std::optional<IpAddress> source = home;
};
struct QuietHost final : HostNetwork {
    Result<void> install(const TunnelSpec&) override { return {}; }
    Result<void> set_routes() override { return {}; }
    Result<void> clear_routes() override { return {}; }
    Result<void> remove(const IpAddress&) override { return {}; }
    std::optional<dataplane::TunnelCounters> counters() const override {
        return dataplane::TunnelCounters{1, 100, 2, 200, {}, {}};
    }
};
struct QuietEcho final : EchoProbe {
    void send(const SendKeepalive&) override {}
    std::uint64_t sent() const override { return 0; }
    std::optional<std::chrono::microseconds> round_trip() const override {
        return std::chrono::microseconds(1500);
    }
    void close() override {}
};

}  // namespace dstm::client
