// Scripts for TSP sessions: actions as text, the dialogues of RFC 5572's figures as steps, and an
// owner that answers everything and checks the rules every session keeps.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "common/tsp/client_session.hpp"
#include "common/tsp/server_session.hpp"

namespace dstm::tsp::script {

using Lines = std::vector<std::string>;

// "Send 200 Success\r\n", "Close", "RequestTunnel create v4v6", ... One line per action, what is
// not printable as \r, \n, \0 or \xNN.
[[nodiscard]] Lines shown(const ServerActions& actions);
[[nodiscard]] Lines shown(const client::Actions& actions);

[[nodiscard]] inline Instant at(std::int64_t seconds) {
    return Instant(std::chrono::seconds(seconds));
}

// Content-length line and body.
[[nodiscard]] std::string framed(std::string_view body);
// "Send Content-length: N\r\n..." as shown() writes it.
[[nodiscard]] std::string send_framed(std::string_view body);

// Messages that many tests use, as a client writes them, framed.
[[nodiscard]] std::string create_v4v6();
[[nodiscard]] std::string accept();
[[nodiscard]] std::string reject();
[[nodiscard]] std::string command(std::string_view attributes);

// What an owner answers to a create or info.
[[nodiscard]] TunnelAnswered tunnel_granted();
[[nodiscard]] std::string tunnel_granted_reply();  // as shown() writes it
[[nodiscard]] TunnelAnswered tunnel_refused(Status status);
[[nodiscard]] AuthenticationStepDone challenge(std::string data);
[[nodiscard]] AuthenticationStepDone success(std::string data = {});

struct Step {
    using Event = std::variant<std::string, AuthenticationStepDone, TunnelAnswered, PeerClosed>;
    Event event;     // a string is bytes of the peer
    Lines expected;  // actions that follow
};

struct Dialogue {
    std::string name;
    ServerSessionConfig config;
    std::vector<Step> steps;
};

[[nodiscard]] ServerSessionConfig all_mechanisms();
// RFC 5572 Figures 8 to 13 and 16 to 19, and what deployed clients send.
[[nodiscard]] std::vector<Dialogue> dialogues();
// The client's bytes of a dialogue in one piece.
[[nodiscard]] std::string client_bytes(const Dialogue& dialogue);

[[nodiscard]] ServerActions feed(ServerSession& session, const Step::Event& event, Instant now);

// Answers every authentication step and request at once, with success, and fails the test when the
// session breaks a rule: something after Close, two things outstanding, a tunnel that is neither
// confirmed nor declined at the end, more than one violation, a reply that is not framed as its
// phase demands.
class ObligingOwner {
public:
    explicit ObligingOwner(ServerSessionConfig config) : session_(std::move(config), at(0)) {}

    void receive(std::string_view bytes) {
        carry_out(session_.handle(BytesReceived{bytes}, at(0)));
    }
    void end() { carry_out(session_.handle(PeerClosed{}, at(0))); }
    [[nodiscard]] bool is_closed() const { return is_closed_; }
    [[nodiscard]] int confirmed() const { return confirmed_; }
    [[nodiscard]] int violations() const { return violations_; }

private:
    void carry_out(const ServerActions& actions);
    void check_send(const std::string& bytes) const;

    ServerSession session_;
    bool is_closed_ = false;
    bool is_command_phase_ = false;
    int offers_ = 0;  // neither confirmed nor declined
    int confirmed_ = 0;
    int violations_ = 0;
};

}  // namespace dstm::tsp::script
