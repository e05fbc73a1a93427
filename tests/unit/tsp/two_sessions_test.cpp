// Our client against our server in one process: whatever one writes, the other reads, in any
// portions.
#include <deque>

#include <gtest/gtest.h>

#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp {
namespace {

using script::at;

// Carries bytes between the two and plays both owners. The client's owner runs the commands in
// turn; the server's grants everything.
class Wire {
public:
    Wire(std::size_t portion, std::string mechanism, std::vector<Action> commands)
        : portion_(portion),
          mechanism_(std::move(mechanism)),
          commands_(commands.begin(), commands.end()) {}

    void run() {
        act(client_.handle(client::Connected{}, at(0)));
        while (!to_server_.empty() || !to_client_.empty()) {
            if (!to_server_.empty()) {
                const auto bytes = take(to_server_);
                act(server_.handle(BytesReceived{bytes}, at(0)));
            }
            if (!to_client_.empty()) {
                const auto bytes = take(to_client_);
                act(client_.handle(client::BytesReceived{bytes}, at(0)));
            }
        }
    }

    std::vector<std::string> log;  // what both owners saw

private:
    [[nodiscard]] std::string take(std::string& pipe) const {
        auto bytes = pipe.substr(0, portion_);
        pipe.erase(0, portion_);
        return bytes;
    }

    void act(const ServerActions& actions) {
        const auto lines = script::shown(actions);
        for (std::size_t i = 0; i < actions.size(); ++i) {
            if (const auto* send = std::get_if<Send>(&actions[i]))
                to_client_ += send->bytes;
            else
                log.push_back("server: " + lines[i]);
        }
        for (const auto& action : actions) {
            const auto* start = std::get_if<StartAuthentication>(&action);
            if (start != nullptr && proves()) {
                act(server_.handle(script::challenge("server-first"), at(0)));
            } else if (start != nullptr) {
                act(server_.handle(script::success(), at(0)));
            } else if (std::holds_alternative<ContinueAuthentication>(action)) {
                act(server_.handle(script::success("proof"), at(0)));
            } else if (const auto* request = std::get_if<RequestTunnel>(&action)) {
                const bool is_delete = request->message.action == Action::delete_tunnel;
                act(server_.handle(
                    is_delete ? script::tunnel_refused(Status::success) : script::tunnel_granted(),
                    at(0)));
            }
        }
    }

    void act(const client::Actions& actions) {
        const auto lines = script::shown(actions);
        for (std::size_t i = 0; i < actions.size(); ++i) {
            if (const auto* send = std::get_if<client::Send>(&actions[i]))
                to_server_ += send->bytes;
            else
                log.push_back("client: " + lines[i]);
        }
        for (const auto& action : actions) {
            if (std::holds_alternative<client::ChooseMechanism>(action)) {
                using namespace std::string_literals;
                act(client_.handle(client::MechanismChosen{mechanism_, "\0alice\0secret"s}, at(0)));
            } else if (const auto* step = std::get_if<client::ContinueAuthentication>(&action)) {
                EXPECT_EQ(step->challenge, step->is_final ? "proof" : "server-first");
                act(client_.handle(client::AuthenticationStepDone{false, "response"}, at(0)));
            } else if (std::holds_alternative<client::Authenticated>(action) ||
                       std::holds_alternative<client::CommandAnswered>(action)) {
                run_commands();
            }
        }
    }

    void run_commands() {
        while (!commands_.empty() && client_.is_ready()) {
            TunnelMessage message;
            message.action = commands_.front();
            message.type = RequestType::v4v6;
            message.client = Party{{{AddressType::ipv6, "2001:db8::1", {}}}, {}, {}, {}};
            commands_.pop_front();
            act(client_.handle(client::CommandChosen{message}, at(0)));
        }
    }

    [[nodiscard]] bool proves() const {
        return mechanism_ == "DIGEST-MD5" || mechanism_ == "SCRAM-SHA-256";
    }

    std::size_t portion_;
    std::string mechanism_;
    std::deque<Action> commands_;
    ServerSession server_{script::all_mechanisms(), at(0)};
    ClientSession client_{{}};
    std::string to_server_;
    std::string to_client_;
};

std::vector<std::string> talk(std::size_t portion, const std::string& mechanism) {
    Wire wire(
        portion, mechanism,
        {Action::create, Action::accept, Action::create, Action::accept, Action::info,
         Action::create, Action::reject, Action::create, Action::accept, Action::delete_tunnel});
    wire.run();
    return wire.log;
}

TEST(TwoSessions, WholeLifeOfATunnelOverEveryMechanism) {
    const std::string answered =
        "client: CommandAnswered 200 Success info v4v6 192.0.2.1 2001:db8::1";
    const std::string created = "server: RequestTunnel create v4v6 2001:db8::1";
    const auto log = talk(1, "SCRAM-SHA-256");
    EXPECT_EQ(
        log,
        (std::vector<std::string>{
            "client: ChooseMechanism ANONYMOUS PLAIN DIGEST-MD5 SCRAM-SHA-256 v4v6 v6v4 v6udpv4",
            "server: StartAuthentication SCRAM-SHA-256 [\\0alice\\0secret]",
            "client: ContinueAuthentication [server-first]",
            "server: ContinueAuthentication [response]",
            "client: ContinueAuthentication [proof] final",
            "client: Authenticated",
            created,
            answered,
            "server: ConfirmTunnel",
            created,
            answered,
            "server: ConfirmTunnel",
            "server: RequestTunnel info v4v6 2001:db8::1",
            answered,
            created,
            answered,
            "server: DeclineTunnel",
            created,
            answered,
            "server: ConfirmTunnel",
            "server: RequestTunnel delete v4v6 2001:db8::1",
            "client: CommandAnswered 200 Success"}));
}

TEST(TwoSessions, PortionsDoNotMatter) {
    for (const auto* mechanism : {"ANONYMOUS", "PLAIN", "DIGEST-MD5", "SCRAM-SHA-256"}) {
        const auto expected = talk(1, mechanism);
        EXPECT_EQ(expected.back(), "client: CommandAnswered 200 Success") << mechanism;
        for (const std::size_t portion : {2u, 3u, 7u, 64u, 1000u, 100000u}) {
            EXPECT_EQ(talk(portion, mechanism), expected) << mechanism << ' ' << portion;
        }
    }
}

}  // namespace
}  // namespace dstm::tsp
