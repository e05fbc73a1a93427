// One host of the simulation: the client as it is, and in memory what it stands on: a network that
// it may leave, a tunnel that an endpoint of the world carries or does not, timers, sleep.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/driver.hpp"
#include "dstm-server/broker/client_id.hpp"
#include "support/broker_world.hpp"
#include "support/conversation.hpp"

namespace dstm::sim {

class ClientHost {
public:
    struct Config {
        std::string user;
        std::string host_id;
        std::uint64_t seed = 0;
        std::function<Duration()> delay;  // of what goes either way
    };
    ClientHost(support::BrokerWorld& world, Config config);
    ClientHost(const ClientHost&) = delete;
    ClientHost& operator=(const ClientHost&) = delete;

    // --- what happens to it ----------------------------------------------------------------------

    void start() { tell(client::StartRequested{}); }
    void stop() { tell(client::StopRequested{}); }
    void renew() { tell(client::RenewRequested{}); }
    // It has another address, and the kernel's report is still to come: chatter().
    void slip_to(const IpAddress& place) { place_ = place; }
    // It has this address now and no other; nullopt: none.
    void move_to(std::optional<IpAddress> place);
    // The kernel reports what changes nothing.
    void chatter() { look_at_network(); }
    // Nothing runs and nothing arrives; time goes on.
    void sleep();
    void wake();
    // For good, without a word.
    void switch_off() { sleep(); }

    // --- what can be seen of it ------------------------------------------------------------------

    [[nodiscard]] const client::Engine& engine() const { return driver_.engine(); }
    [[nodiscard]] const std::string& name() const { return config_.host_id; }
    [[nodiscard]] server::ClientId client_id() const {
        return server::make_client_id(server::Family::v4, config_.user, config_.host_id);
    }
    [[nodiscard]] bool is_asleep() const { return is_asleep_; }
    [[nodiscard]] bool is_up() const { return engine().state() == client::State::up; }
    [[nodiscard]] const std::optional<IpAddress>& place() const { return place_; }
    // Its address inside the tunnel; it works when an endpoint carries it to where this host is.
    [[nodiscard]] std::optional<IpAddress> inner() const;
    [[nodiscard]] bool works() const;
    [[nodiscard]] std::size_t attempts() const { return attempts_; }
    [[nodiscard]] std::size_t count(client::Announce::What what) const;
    // What must hold whenever nothing of it runs; empty when it does.
    [[nodiscard]] std::string problem() const;

private:
    class Talk;
    class Ground;
    class Echo;

    // At once, or as soon as it is awake.
    void when_awake(std::function<void()> run);
    void tell(const client::Event& event);
    void look_at_network();
    void set_timer(std::optional<Instant> at);

    support::BrokerWorld& world_;
    const Config config_;
    std::optional<IpAddress> place_;
    bool is_asleep_ = false;
    std::deque<std::function<void()>> missed_;  // while it slept
    std::optional<Instant> timer_;
    std::uint64_t timer_round_ = 0;
    std::size_t attempts_ = 0;
    std::map<client::Announce::What, std::size_t> announced_;
    std::optional<TunnelSpec> installed_;
    bool has_routes_ = false;
    std::unique_ptr<client::Signalling> talk_;
    std::unique_ptr<client::HostNetwork> ground_;
    std::unique_ptr<client::EchoProbe> echo_;
    client::Driver driver_;
};

}  // namespace dstm::sim
