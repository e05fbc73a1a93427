// Server, endpoints, Kea's two servers and clients in one process and virtual time. A seed decides
// who does what when, what fails, what is slow and what dies; the same seed plays the same life
// again.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "support/broker_world.hpp"
#include "support/conversation.hpp"

namespace dstm::sim {

struct SimulationConfig {
    std::uint64_t seed = 1;
    std::size_t clients = 12;   // every other one wants IPv6
    std::size_t pool_size = 5;  // one too few, in each family
    int events = 120;
};

class Simulation {
public:
    explicit Simulation(const SimulationConfig& config);
    // What was found wrong, in words; empty when all held.
    [[nodiscard]] std::vector<std::string> run();
    // How many creates were accepted: that a run of this kind does something.
    [[nodiscard]] std::size_t accepted() const { return accepted_; }

private:
    // What a client may rely on, by what it was told and did.
    enum class Claim { nothing, bound, unsure };

    struct Client {
        std::string user;
        std::string host;
        server::Family family = server::Family::v4;
        std::optional<std::uint32_t> prefix_length;
        std::vector<server::SessionPeer> sources;
        std::size_t at = 0;  // the source it has now
        std::shared_ptr<support::Conversation> talk;
        tsp::Action asked = tsp::Action::create;

        Claim claim = Claim::nothing;
        bool is_deciding = false;  // has an offer and says nothing else before its answer to it
        bool is_tainted = false;   // something took its dialogue's effect away, or may have
        IpAddress address;
        IpEndpoint source;
        WallTime until;
        // of the offer it looks at
        IpAddress offered;
        WallTime offered_until;
        std::uint64_t calm_when_asked = 0;
    };

    void happen();
    void client_event(Client& client);
    void world_event();
    void ask(Client& client, tsp::Action action);
    void send(Client& client, tsp::Action action);
    void on_answer(Client& client, const tsp::client::CommandAnswered& answer);
    void decide(Client& client);
    void on_accept_arrived(Client& client);
    void on_over(Client& client);

    void toggle_kea(support::MemoryKea& kea);
    void report_idle();
    void forget(const server::Lease& lease);
    [[nodiscard]] static server::ClientId id_of(const Client& client);
    [[nodiscard]] support::MemoryKea& some_kea() { return chance(50) ? world_.kea : world_.kea6; }
    [[nodiscard]] support::MemoryKea& kea_of(const Client& client) {
        return client.family == server::Family::v4 ? world_.kea : world_.kea6;
    }
    void toggle_endpoint();
    void toggle_server();
    void restart_endpoint();
    void delete_a_lease();

    void run_for(Duration span);
    void check_claims();
    void delete_everything();
    void note(std::string what) { found_.push_back(std::move(what)); }
    void note_all(const std::vector<std::string>& problems, const std::string& when);

    [[nodiscard]] support::Fate fate();
    [[nodiscard]] bool chance(unsigned percent) { return random_() % 100 < percent; }
    [[nodiscard]] std::size_t pick(std::size_t count) { return random_() % count; }
    [[nodiscard]] Duration up_to(Duration most) {
        return Duration(
            static_cast<Duration::rep>(pick(static_cast<std::size_t>(most.count()) + 1)));
    }

    SimulationConfig config_;
    std::mt19937_64 random_;
    support::BrokerWorld world_;
    std::vector<Client> clients_;
    std::vector<std::string> found_;
    std::size_t accepted_ = 0;
    std::uint64_t calm_ = 0;  // counts what takes tunnels away without a client's doing
};

}  // namespace dstm::sim
