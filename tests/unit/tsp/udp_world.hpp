// A UDP server machine, its owner, and clients beside it, joined by a network in virtual time that
// loses, doubles or delays the datagrams a test chooses. The owner counts what would be leases and
// tunnels.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/tsp/udp_client.hpp"
#include "common/tsp/udp_server.hpp"
#include "tests/support/scheduler.hpp"

namespace dstm::tsp {

inline UdpPath path_of(const std::string& address, std::uint16_t port = 40000) {
    return {{*parse_ip_address(address), port}, *parse_ip_address("2001:db8:3::53"), 0, 0};
}

inline TunnelAnswered granted() {
    TunnelAnswered answer;
    answer.status = Status::success;
    TunnelMessage message;
    message.action = Action::info;
    message.type = RequestType::v4v6;
    message.lifetime_min = 60;
    message.client.emplace();
    message.client->addresses = {{AddressType::ipv4, "192.0.2.7", std::nullopt},
                                 {AddressType::ipv6, "2001:db8:1::100", std::nullopt}};
    message.server.emplace();
    message.server->addresses = {{AddressType::ipv4, "192.0.2.1", std::nullopt},
                                 {AddressType::ipv6, "2001:db8:2::1", std::nullopt}};
    answer.message = message;
    return answer;
}

// Does for the server machine what the daemon does, and counts. Each outcome takes `work`.
class CountingOwner {
public:
    CountingOwner(support::Scheduler& scheduler, UdpServer& server,
                  std::function<void(udp::SendDatagram)> send)
        : scheduler_(scheduler), server_(server), send_(std::move(send)) {}

    void carry_out(udp::Actions actions) {
        for (auto& action : actions) {
            if (auto* send = std::get_if<udp::SendDatagram>(&action)) send_(std::move(*send));
            if (auto* open = std::get_if<udp::OpenExchange>(&action)) {
                ++opened;
                alive.insert(open->exchange);
            }
            if (auto* owned = std::get_if<udp::OwnerAction>(&action)) carry_out(*owned);
        }
    }

    Duration work = std::chrono::milliseconds(300);
    unsigned challenges = 0;  // before success
    std::string proof;        // with success
    TunnelAnswered answer = granted();
    int opened = 0;
    int authentications = 0;
    int requests = 0;
    int confirmed = 0;
    int declined = 0;
    int violations = 0;
    std::set<udp::ExchangeId> alive;
    std::vector<std::string> responses;

private:
    void carry_out(udp::OwnerAction& owned) {
        const auto id = owned.exchange;
        auto& action = owned.action;
        ASSERT_TRUE(alive.contains(id)) << "an action for an exchange that is not open";
        if (auto* start = std::get_if<StartAuthentication>(&action)) {
            ++authentications;
            responses.push_back(start->initial_response.value_or(""));
            step(id, 0);
        } else if (auto* next = std::get_if<ContinueAuthentication>(&action)) {
            responses.push_back(next->response);
            step(id, ++steps_[id]);
        } else if (std::holds_alternative<RequestTunnel>(action)) {
            ++requests;
            scheduler_.post(work, [this, id] {
                if (alive.contains(id)) carry_out(server_.handle(id, answer, now()));
            });
        } else if (std::holds_alternative<ConfirmTunnel>(action)) {
            ++confirmed;
        } else if (std::holds_alternative<DeclineTunnel>(action)) {
            ++declined;
        } else if (std::holds_alternative<ReportViolation>(action)) {
            ++violations;
        } else if (std::holds_alternative<Close>(action)) {
            alive.erase(id);
        }
    }
    void step(udp::ExchangeId id, unsigned number) {
        scheduler_.post(work, [this, id, number] {
            if (!alive.contains(id)) return;
            AuthenticationStepDone done;
            using Outcome = AuthenticationStepDone::Outcome;
            done.outcome = number < challenges ? Outcome::challenge : Outcome::success;
            done.data = number < challenges ? "challenge " + std::to_string(number) : proof;
            carry_out(server_.handle(id, done, now()));
        });
    }
    [[nodiscard]] Instant now() const { return scheduler_.clock.now(); }

    support::Scheduler& scheduler_;
    UdpServer& server_;
    std::function<void(udp::SendDatagram)> send_;
    std::map<udp::ExchangeId, unsigned> steps_;
};

// What happens to one datagram on its way.
enum class Fate { arrives, lost, doubled, late };

class UdpWorld {
public:
    using Fates = std::function<Fate(int number)>;  // of the n-th datagram, from 0, both ways
    static constexpr Duration way = std::chrono::milliseconds(20);

    explicit UdpWorld(UdpServerConfig config)
        : server(std::move(config)),
          owner(scheduler, server, [this](udp::SendDatagram reply) {
              sent_by_server.push_back(reply);
              travel([this, reply] { client_hears(reply.bytes); });
          }) {
        tick();
    }

    void start(UdpClientConfig config, std::string mechanism) {
        mechanism_ = std::move(mechanism);
        client = std::make_unique<UdpClient>(std::move(config), now());
        carry_out(client->handle(client::Connected{}, now()));
    }
    void travel(const std::function<void()>& arrive) {
        const int number = datagrams++;
        switch (fates ? fates(number) : Fate::arrives) {
            case Fate::lost: return;
            case Fate::arrives: return scheduler.post(way, arrive);
            case Fate::doubled:
                scheduler.post(way, arrive);
                return scheduler.post(way, arrive);
            // After the first repeat of it, and what comes of that.
            case Fate::late: return scheduler.post(std::chrono::milliseconds(2700), arrive);
        }
    }
    void carry_out(const client::Actions& actions) {
        for (const auto& action : actions) {
            if (const auto* send = std::get_if<client::Send>(&action)) {
                sent_by_client.push_back(send->bytes);
                travel([this, bytes = send->bytes] {
                    owner.carry_out(server.receive(path, bytes, now()));
                });
            } else if (std::holds_alternative<client::ChooseMechanism>(action)) {
                client::MechanismChosen chosen{mechanism_, std::nullopt};
                if (mechanism_ == "PLAIN") chosen.initial_response = std::string("\0a\0b", 4);
                if (mechanism_ == "SCRAM-SHA-256") chosen.initial_response = "n,,n=a,r=b";
                later([this, chosen] { carry_out(client->handle(chosen, now())); });
            } else if (std::holds_alternative<client::ContinueAuthentication>(action)) {
                later([this] {
                    const client::AuthenticationStepDone done{false, "response"};
                    carry_out(client->handle(done, now()));
                });
            } else if (std::holds_alternative<client::Authenticated>(action)) {
                TunnelMessage create;
                create.type = RequestType::v4v6;
                create.client.emplace();
                create.client->addresses = {
                    {AddressType::ipv6, "2001:db8:1::100", std::nullopt}};
                later([this, create] {
                    carry_out(client->handle(client::CommandChosen{create}, now()));
                });
            } else if (const auto* answer = std::get_if<client::CommandAnswered>(&action)) {
                ++answers;
                last_status = answer->status;
                TunnelMessage accept;
                accept.action = Action::accept;
                later([this, accept] {
                    ++accepts;
                    carry_out(client->handle(client::CommandChosen{accept}, now()));
                });
            } else if (const auto* failed = std::get_if<client::Failed>(&action)) {
                failures.push_back(failed->text);
            }
        }
    }
    // The client's timer.
    void wait_for_client() {
        const auto limit = client->deadline();
        if (limit && *limit <= now()) carry_out(client->handle(client::TimePassed{}, now()));
    }
    [[nodiscard]] Instant now() const { return scheduler.clock.now(); }

    support::Scheduler scheduler;
    UdpServer server;
    CountingOwner owner;
    std::unique_ptr<UdpClient> client;
    UdpPath path = path_of("2001:db8:1::100");
    Fates fates;
    int datagrams = 0;
    std::vector<std::string> sent_by_client;
    std::vector<udp::SendDatagram> sent_by_server;
    std::vector<std::string> failures;
    int answers = 0;
    int accepts = 0;
    std::uint16_t last_status = 0;

private:
    void client_hears(const std::string& bytes) {
        if (client) carry_out(client->handle(client::BytesReceived{bytes}, now()));
    }
    void later(std::function<void()> event) {
        scheduler.post(std::chrono::milliseconds(10), std::move(event));
    }
    void tick() {
        owner.carry_out(server.tick(now()));
        if (client) wait_for_client();
        scheduler.post(std::chrono::milliseconds(100), [this] { tick(); });
    }
    std::string mechanism_;
};

}  // namespace dstm::tsp
