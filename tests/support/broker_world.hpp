// A campus in memory: Kea's two servers, endpoints, an audit log that stays, and a server that can
// be killed and started again. Used by the broker's tests and by the simulation.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dstm-server/broker/broker.hpp"
#include "support/memory_endpoints.hpp"
#include "support/memory_kea.hpp"
#include "support/scheduler.hpp"

namespace dstm::support {

class MemoryAuditLog final : public server::AuditLog {
public:
    std::vector<server::AuditRecord> records;
    void write(const server::AuditRecord& record) override { records.push_back(record); }
};

// Who serves which reverse zone. An update takes effect as it is answered.
class MemoryDns final : public server::ReverseDelegation {
public:
    explicit MemoryDns(Scheduler& scheduler) : scheduler_(scheduler) {}

    std::map<Ipv6Prefix, std::vector<std::string>> zones;
    std::optional<ErrorCode> error;  // answered instead, without effect
    std::size_t updates = 0;         // tried

    void delegate(const Ipv6Prefix& prefix, std::vector<std::string> name_servers,
                  server::Done<void> done) override {
        answer(std::move(done), [this, prefix, name_servers] { zones[prefix] = name_servers; });
    }
    void withdraw(const Ipv6Prefix& prefix, server::Done<void> done) override {
        answer(std::move(done), [this, prefix] { zones.erase(prefix); });
    }

private:
    void answer(server::Done<void> done, std::function<void()> effect) {
        ++updates;
        scheduler_.post(Duration(5), [this, done = std::move(done), effect = std::move(effect)] {
            if (error) {
                done(fail(*error, "injected"));
                return;
            }
            effect();
            done({});
        });
    }

    Scheduler& scheduler_;
};

// One signalling dialogue and what was answered on it.
struct Dialogue {
    server::SessionId session = 0;
    std::string source;
    std::string relay;  // not empty: it comes by UDP, through this endpoint and a NAT
    std::vector<tsp::TunnelAnswered> answers;

    [[nodiscard]] bool is_answered() const { return !answers.empty(); }
    [[nodiscard]] tsp::Status status() const { return answers.back().status; }
};

class BrokerWorld {
public:
    explicit BrokerWorld(std::size_t pool_size = 8);
    ~BrokerWorld();

    Scheduler scheduler;
    MemoryKea kea;
    MemoryKea kea6;
    MemoryDns dns{scheduler};
    std::map<std::string, MemoryEndpoint> endpoints;
    MemoryAuditLog audit;
    server::BrokerConfig config;
    Fates fates;  // empty: all goes well

    // The address that clients behind the NAT have there.
    static constexpr const char* behind_nat = "10.0.0.5";

    // An endpoint that carries the world's pools, connected if a server runs.
    MemoryEndpoint& add_endpoint(const std::string& name);
    [[nodiscard]] static server::EndpointInfo endpoint_info(const std::string& name);

    void start_server();
    void kill_server(bool requests_survive = true);
    [[nodiscard]] bool has_server() const { return server_ != nullptr; }
    // Counts the servers, so that a connection knows which one it belongs to.
    [[nodiscard]] std::uint64_t server_life() const { return server_life_; }
    [[nodiscard]] server::Broker& broker() { return server_->broker; }
    [[nodiscard]] MemoryLeaseStore& lease_store() { return server_->store; }
    [[nodiscard]] MemoryLeaseStore& lease_store6() { return server_->store6; }
    [[nodiscard]] MemoryKea& kea_of(const IpAddress& inner) {
        return std::holds_alternative<Ipv4Address>(inner) ? kea : kea6;
    }
    // Connections that broke come back by themselves.
    void connect_all();
    [[nodiscard]] MemoryEndpointLinks& links() { return server_->links; }

    // `user` empty: anonymous. Behind a NAT all have port 40000 but those who name another one.
    [[nodiscard]] std::shared_ptr<Dialogue> open(const std::string& user,
                                                 const std::string& source,
                                                 const std::string& relay = {},
                                                 std::uint16_t port = 40000);
    void ask(const std::shared_ptr<Dialogue>& dialogue, const tsp::TunnelMessage& message);
    // A v4v6 for an IPv6 address, a v6v4 for an IPv4 address.
    [[nodiscard]] static tsp::TunnelMessage create_message(const std::string& address);
    // With a `router` that asks for a prefix.
    [[nodiscard]] static tsp::TunnelMessage with_router(tsp::TunnelMessage message,
                                                        std::uint32_t length);
    // As create_message, or a v6anyv4 from behind the NAT.
    [[nodiscard]] static tsp::TunnelMessage create_message(const Dialogue& dialogue);
    void ask_create(const std::shared_ptr<Dialogue>& dialogue);
    void ask_delete(const std::shared_ptr<Dialogue>& dialogue);
    void ask_info(const std::shared_ptr<Dialogue>& dialogue);
    // Runs until the next answer has come; false when it never does.
    bool wait_answer(const std::shared_ptr<Dialogue>& dialogue);

    // A whole dialogue up to accept; the address leased, or nullopt.
    std::optional<IpAddress> set_up(const std::string& user, const std::string& source,
                                    const std::string& relay = {}, std::uint16_t port = 40000);
    // The address leased that an answer names.
    [[nodiscard]] static IpAddress inner_of(const tsp::TunnelMessage& answer);

    // Everything up, no more faults, and time for repairs.
    void settle();
    // What is wrong now that all is quiet: leases, tunnels and bindings that do not fit together.
    [[nodiscard]] std::vector<std::string> problems();
    // What must hold at any moment.
    [[nodiscard]] std::vector<std::string> problems_at_any_time() const;

private:
    struct Server {
        Server(BrokerWorld& world);
        MemoryLeaseStore store;
        MemoryLeaseStore store6;
        MemoryEndpointLinks links;
        server::Broker broker;  // last: it goes first
    };
    void beat();
    void check_tunnels(std::vector<std::string>& found);
    void check_bindings(std::vector<std::string>& found);

    std::unique_ptr<Server> server_;
    std::uint64_t server_life_ = 0;
    std::uint64_t beats_ = 0;
};

}  // namespace dstm::support
