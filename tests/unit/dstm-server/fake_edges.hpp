// An authenticator and a tunnel service in memory, for the tests of the listeners.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/io/asio.hpp"
#include "dstm-server/auth/authenticator.hpp"
#include "dstm-server/datagram_relay.hpp"
#include "dstm-server/net/tunnel_service.hpp"

namespace dstm::server::fake {

// ANONYMOUS lets in; PLAIN lets in whoever says so when the test answers.
class FakeAuthenticator final : public Authenticator {
public:
    explicit FakeAuthenticator(asio::io_context& events) : events_(events) {}

    std::vector<std::string> mechanisms(const AuthenticationChannel&) const override {
        return {"ANONYMOUS", "PLAIN"};
    }
    std::unique_ptr<Conversation> start(const std::string& mechanism, std::optional<Secret>,
                                        const AuthenticationChannel&,
                                        Conversation::Done done) override {
        ++started;
        auto conversation = std::make_unique<One>(*this);
        if (mechanism == "ANONYMOUS") {
            answer(conversation->alive, done, {AuthenticationStep::Outcome::success, "", ""});
        } else {
            waiting = [this, alive = conversation->alive, done](AuthenticationStep step) {
                answer(alive, done, std::move(step));
            };
        }
        return conversation;
    }

    int started = 0;
    int alive = 0;
    std::function<void(AuthenticationStep)> waiting;

private:
    struct One final : Conversation {
        explicit One(FakeAuthenticator& owner_in) : owner(owner_in) { ++owner.alive; }
        ~One() override {
            --owner.alive;
            *alive = false;
        }
        void step(Secret, Done done) override {
            owner.answer(alive, done, {AuthenticationStep::Outcome::failure, "", ""});
        }
        FakeAuthenticator& owner;
        std::shared_ptr<bool> alive = std::make_shared<bool>(true);
    };
    void answer(std::shared_ptr<bool> alive_flag, Conversation::Done done,
                AuthenticationStep step) {
        asio::post(events_, [alive_flag, done = std::move(done), step = std::move(step)] {
            if (*alive_flag) done(step);
        });
    }
    asio::io_context& events_;
};

// No endpoint is connected.
class NoRelay final : public DatagramRelay {
public:
    void set_relay_listener(RelayListener*) override {}
    bool relay(const std::string&, const IpEndpoint&, std::string_view) override { return false; }
};

class FakeService final : public net::TunnelService {
public:
    std::uint64_t open(const SessionPeer& peer) override {
        peers.push_back(peer.remote);
        relays.push_back(peer.relay);
        open_sessions.insert(++last_);
        return last_;
    }
    void authenticated(std::uint64_t session, std::string user) override {
        log.push_back("authenticated " + std::to_string(session) + " " + user);
    }
    void request(std::uint64_t session, const tsp::TunnelMessage& message,
                 Answer answer) override {
        log.push_back("request " + std::to_string(session) + " " +
                      std::string(tsp::to_string(message.action)));
        answers[session] = answer;
        if (at_once) answer(good());
    }
    void accept(std::uint64_t session) override {
        log.push_back("accept " + std::to_string(session));
    }
    void reject(std::uint64_t session) override {
        log.push_back("reject " + std::to_string(session));
    }
    void close(std::uint64_t session) override {
        EXPECT_EQ(open_sessions.erase(session), 1u) << "closed twice";
        answers.erase(session);
    }

    static tsp::TunnelAnswered good() {
        tsp::TunnelAnswered answer;
        answer.status = tsp::Status::success;
        tsp::TunnelMessage message;
        message.action = tsp::Action::info;
        message.type = tsp::RequestType::v4v6;
        message.lifetime_min = 60;
        answer.message = message;
        return answer;
    }

    bool at_once = true;
    std::set<std::uint64_t> open_sessions;
    std::vector<IpEndpoint> peers;
    std::vector<std::string> relays;
    std::vector<std::string> log;
    std::map<std::uint64_t, Answer> answers;

private:
    std::uint64_t last_ = 0;
};

}  // namespace dstm::server::fake
