// Runs the engine: carries its actions out through the ports, in their order, and brings it what
// comes of them. One thread; knows no policy.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "client/engine.hpp"
#include "client/ports.hpp"

namespace dstm::client {

class Driver {
public:
    struct Ports {
        Signalling& signalling;
        HostNetwork& host;
        EchoProbe& echo;
        const Clock& clock;
        // Asks for one call of wake() at that time; replaces what was asked before.
        std::function<void(std::optional<Instant>)> set_timer;
        // Looks for servers; ServersFound follows, not from within the call.
        std::function<void()> find_servers = nullptr;
    };

    Driver(Engine engine, Ports ports);

    // Called for each announcement, after the engine has taken its new state.
    void observe(std::function<void(const Announce&)> observer) { observer_ = std::move(observer); }
    // Called when the engine has come to its end, after everything else.
    void on_stopped(std::function<void()> stopped) { stopped_ = std::move(stopped); }
    // May be called from within an observer: the event then waits for its turn.
    void handle(const Event& event);
    void wake() { handle(TimePassed{}); }
    // Something about this host's addresses or routes is new.
    void host_changed();

    [[nodiscard]] const Engine& engine() const { return engine_; }
    [[nodiscard]] const Ports& ports() const { return ports_; }
    // Echoes sent and answered in all: what of the tunnel's packets is nobody's but ours. Others
    // than the keepalives are told of.
    [[nodiscard]] std::uint64_t keepalives() const { return keepalives_; }
    void count_keepalive() { ++keepalives_; }

private:
    [[nodiscard]] std::optional<IpAddress> source() const;
    void carry_out(const FindServers& action);
    void carry_out(const Connect& action);
    void carry_out(const SendCommand& action);
    void carry_out(const Disconnect& action);
    void carry_out(const InstallTunnel& action);
    void carry_out(const SetRoutes& action);
    void carry_out(const ClearRoutes& action);
    void carry_out(const RemoveTunnel& action);
    void carry_out(const SendKeepalive& action);
    void carry_out(const Announce& action);

    Engine engine_;
    Ports ports_;
    std::function<void(const Announce&)> observer_;
    std::function<void()> stopped_;
    std::deque<Event> waiting_;
    bool running_ = false;
    std::uint64_t keepalives_ = 0;
};

}  // namespace dstm::client
