// Hosts that run the real client, with the real broker and its world, in one process and virtual
// time: scenarios step by step, and whole lives of chance. A seed plays the same life again.
#pragma once

#include <cstdint>
#include <list>
#include <random>
#include <string>
#include <vector>

#include "sim/client_host.hpp"

namespace dstm::sim {

class ClientSimulation {
public:
    explicit ClientSimulation(std::uint64_t seed, std::size_t hosts = 1);

    static constexpr std::chrono::minutes lease_time{30};

    [[nodiscard]] ClientHost& host(std::size_t index) { return *std::next(hosts_.begin(), index); }
    [[nodiscard]] support::BrokerWorld& world() { return world_; }
    // Of the three networks, the address of this host there.
    [[nodiscard]] static IpAddress address_in(std::size_t network, std::size_t host);

    // Event by event; what must hold at any time is looked at after each.
    void run_for(Duration span);
    // False when it did not come true within the bound.
    [[nodiscard]] bool run_until(const std::function<bool()>& holds, Duration bound);
    [[nodiscard]] bool all_up();
    [[nodiscard]] const std::vector<std::string>& found() const { return found_; }
    // Each write takes so long, either way.
    Duration delay_min{0};
    Duration delay_max{40};

    // Moves, sleep, noise and stops; deaths of everything else; then peace, in which every client
    // must come up where it is; then their end, after which nothing is left.
    void live(int events);

private:
    void host_event(std::size_t index);
    void world_event();
    void make_peace();
    void end_all();
    void look();
    void note(std::string what) { found_.push_back(std::move(what)); }
    [[nodiscard]] support::Fate fate();
    [[nodiscard]] bool chance(unsigned percent) { return random_() % 100 < percent; }
    [[nodiscard]] std::size_t pick(std::size_t count) { return random_() % count; }
    [[nodiscard]] Duration between(Duration least, Duration most);

    std::mt19937_64 random_;
    support::BrokerWorld world_;
    std::list<ClientHost> hosts_;
    std::vector<std::string> found_;
};

}  // namespace dstm::sim
