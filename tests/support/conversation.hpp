// One signalling dialogue in memory: a tsp::ClientSession and a tsp::ServerSession joined by a byte
// stream that can be slow and can be cut, the server's end driving the broker as the network side
// does. Authentication is EXTERNAL and believes what it is told.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/tsp/client_session.hpp"
#include "common/tsp/server_session.hpp"
#include "support/broker_world.hpp"

namespace dstm::support {

class Conversation : public std::enable_shared_from_this<Conversation> {
public:
    struct Hooks {
        std::function<Duration()> delay;  // of each write, either way
        std::function<void()> ready;      // authenticated: the client may send a command
        std::function<void(const tsp::client::CommandAnswered&)> answered;
        std::function<void()> accept_arrived;  // just before the broker hears it
        std::function<void()> over;            // closed by either side, or failed
    };
    Conversation(BrokerWorld& world, std::string user, const server::SessionPeer& peer,
                 Hooks hooks);

    void start();
    void command(const tsp::TunnelMessage& message);
    // The connection breaks, or the client dies: both ends see it now.
    void cut();
    // The client may send a command: none is outstanding.
    [[nodiscard]] bool is_ready() const { return !is_over_ && client_.is_ready(); }
    [[nodiscard]] bool is_over() const { return is_over_; }

private:
    template <class Event>
    void feed_client(const Event& event);
    template <class Event>
    void feed_server(const Event& event);
    void carry_out(const tsp::client::Action& action);
    void carry_out(const tsp::ServerAction& action);
    void authenticate(const std::string& user);
    void request(const tsp::TunnelMessage& message);
    void to_server(std::string bytes);
    void to_client(std::string bytes);
    void post(Duration& last, std::function<void()> event);
    void watch_deadlines();
    void end();
    [[nodiscard]] bool server_lives() const;

    BrokerWorld& world_;
    const std::string user_;
    Hooks hooks_;
    tsp::ClientSession client_;
    tsp::ServerSession server_;
    std::uint64_t server_life_;  // of the server that took this connection
    server::SessionId session_ = 0;
    Duration last_to_server_{0};
    Duration last_to_client_{0};
    bool is_over_ = false;
};

}  // namespace dstm::support
