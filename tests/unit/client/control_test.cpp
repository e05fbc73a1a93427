// What people ask of a running client: the commands over fakes, and the socket around them.
#include "client/control.hpp"

#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "client/control_socket.hpp"
#include "client/report.hpp"
#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "fake_world.hpp"
#include "quiet_ports.hpp"
#include "temporary_directory.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

class ClientControl : public testing::Test {
protected:
    ClientControl() {
        driver.observe([this](const Announce& announcement) { control.observe(announcement); });
        driver.on_stopped([this] { control.stopped("stopped", ExitCode::failed); });
    }

    static EngineConfig config() {
        auto config = World::default_config();
        config.ends_on_refusal = true;
        return config;
    }

    std::vector<nlohmann::json>& ask(const std::string& request, const void* waiter = nullptr) {
        control.handle(request, waiter, [this](const std::string& line) {
            EXPECT_EQ(line.find('\n'), line.size() - 1);
            replies.push_back(nlohmann::json::parse(line));
        });
        return replies;
    }

    void come_up() {
        driver.handle(SessionOpened{{home, 0}, {*Ipv6Address::parse("2001:db8:3::1"), 3653}});
        driver.handle(Answered{200, "", offer_message("192.0.2.7", home, 3600), {}});
    }

    RealClock clock;
    QuietSignalling signalling;
    QuietHost host;
    QuietEcho echo;
    Driver driver{Engine(config()),
                  {signalling, host, echo, clock, [](std::optional<Instant>) {}}};
    Control control{driver};
    std::vector<nlohmann::json> replies;
};

TEST_F(ClientControl, UpAnswersWhenTheTunnelIsUp) {
    EXPECT_TRUE(ask(R"({"command":"up"})").empty());
    EXPECT_EQ(signalling.connects, 1U);
    come_up();
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0]["ok"], true);
    EXPECT_EQ(replies[0]["summary"],
              "IPv4 address 192.0.2.7 for 60 min from dstm.example (endpoint 2001:db8:2::1)");
    EXPECT_EQ(ask(R"({"command":"up"})").size(), 2U) << "again: at once";
}

TEST_F(ClientControl, UpAnswersWithTheRefusalAndItsExitCode) {
    ask(R"({"command":"up"})");
    driver.handle(SessionFailed{SessionFailed::Cause::refused, 300, "no", {}});
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0]["ok"], false);
    EXPECT_EQ(replies[0]["exit"], 4);
    EXPECT_NE(replies[0]["error"].get<std::string>().find("300"), std::string::npos);
}

TEST_F(ClientControl, UpWaitsThroughPassingTrouble) {
    ask(R"({"command":"up"})");
    driver.handle(SessionFailed{SessionFailed::Cause::refused, 530, "busy", {}});
    EXPECT_TRUE(replies.empty());
}

TEST_F(ClientControl, StatusTellsAddressEndpointTimesAndBytes) {
    EXPECT_EQ(ask(R"({"command":"status"})").back()["state"], "stopped");
    driver.handle(StartRequested{});
    come_up();
    const auto status = ask(R"({"command":"status"})").back();
    EXPECT_EQ(status["state"], "up");
    EXPECT_EQ(status["address"], "192.0.2.7");
    EXPECT_EQ(status["endpoint"], "2001:db8:2::1");
    EXPECT_EQ(status["outer"], "2001:db8:1::10");
    EXPECT_GT(status["lifetime-left"], 3590);
    EXPECT_EQ(status["round-trip-us"], 1500);
    EXPECT_EQ(status["bytes-sent"], 100);
    const auto text = describe_status(status);
    EXPECT_NE(text.find("address:    192.0.2.7\n"), std::string::npos) << text;
    EXPECT_NE(text.find("round trip: 1.5 ms\n"), std::string::npos) << text;
}

TEST_F(ClientControl, RenewAndDownAnswerWhenTheyAreDone) {
    driver.handle(StartRequested{});
    come_up();
    ask(R"({"command":"renew"})");
    EXPECT_TRUE(replies.empty());
    driver.handle(Answered{200, "", offer_message("192.0.2.7", home, 3600), {}});
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0]["ok"], true);
    ask(R"({"command":"down"})");
    EXPECT_EQ(replies.size(), 1U);
    EXPECT_EQ(signalling.last, tsp::Action::delete_tunnel);
    driver.handle(Answered{200, "", {}, {}});
    ASSERT_EQ(replies.size(), 2U);
    EXPECT_EQ(replies[1]["ok"], true);
    EXPECT_EQ(replies[1]["state"], "stopped");
}

TEST_F(ClientControl, UpIsDoneWhileATunnelThatStandsIsRenewed) {
    driver.handle(StartRequested{});
    come_up();
    driver.handle(RenewRequested{});
    driver.handle(SessionFailed{SessionFailed::Cause::lost, 0, "away", {}});
    ASSERT_EQ(driver.engine().state(), State::renewing);
    ASSERT_EQ(ask(R"({"command":"up"})").size(), 1U);
    EXPECT_EQ(replies[0]["ok"], true);
    EXPECT_EQ(replies[0]["address"], "192.0.2.7");
}

TEST_F(ClientControl, UpIsDoneWhereTheHostHasAWayOfItsOwn) {
    driver.handle(NativeWayChanged{true});
    ASSERT_EQ(ask(R"({"command":"up"})").size(), 1U);
    EXPECT_EQ(replies[0]["ok"], true);
    EXPECT_EQ(replies[0]["state"], "aside");
    ask(R"({"command":"renew"})");
    ASSERT_EQ(replies.size(), 2U);
    EXPECT_EQ(replies[1]["ok"], false) << "there is nothing to renew";
}

TEST_F(ClientControl, BadRequestsGetAnError) {
    for (const auto* request : {"", "{", "[]", "{}", R"({"command":1})", R"({"command":"x"})",
                                "\xff\xfe", "null"}) {
        EXPECT_EQ(ask(request).back()["ok"], false) << request;
        EXPECT_EQ(replies.back()["exit"], 2) << request;
    }
}

TEST_F(ClientControl, WithdrawnAskerIsNotAnswered) {
    const int asker = 0;
    ask(R"({"command":"up"})", &asker);
    control.withdraw(&asker);
    come_up();
    EXPECT_TRUE(replies.empty());
}

TEST_F(ClientControl, HostChangeMovesOnlyWhenTheKernelsSourceChanged) {
    driver.handle(StartRequested{});
    come_up();
    driver.host_changed();
    signalling.source.reset();
    driver.host_changed();
    EXPECT_EQ(signalling.connects, 1U);
    signalling.source = elsewhere;
    driver.host_changed();
    EXPECT_EQ(signalling.connects, 2U);
}

TEST_F(ClientControl, HostChangeCountsWhileNoServerIsKnownYet) {
    driver.handle(StartRequested{});
    driver.host_changed();
    EXPECT_EQ(signalling.connects, 1U);
    signalling.source = elsewhere;
    driver.host_changed();
    EXPECT_EQ(signalling.connects, 2U);
    EXPECT_EQ(signalling.asked_for, (IpEndpoint{*Ipv6Address::parse("2000::"), 0}));
    const IpEndpoint server{*Ipv6Address::parse("2001:db8:3::1"), 3653};
    driver.handle(SessionOpened{{elsewhere, 0}, server});
    driver.host_changed();
    EXPECT_EQ(signalling.connects, 2U);
    EXPECT_EQ(signalling.asked_for, server);
}

// --- the socket ----------------------------------------------------------------------------------

TEST_F(ClientControl, SocketCarriesOneLineEachWay) {
    TemporaryDirectory directory;
    const auto path = directory.path() + "/run/control.sock";
    asio::io_context context;
    auto socket = ControlSocket::listen(context, path, control);
    ASSERT_TRUE(socket) << socket.error().context;
    struct stat status{};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
    EXPECT_EQ(ControlSocket::listen(context, path, control).error().code, ErrorCode::conflict);

    Result<std::string> reply;
    std::thread asker([&] {
        reply = ask_running_client(path, R"({"command":"status"})", 5s);
        asio::post(context, [&context] { context.stop(); });
    });
    context.run_for(10s);
    asker.join();
    ASSERT_TRUE(reply) << reply.error().context;
    EXPECT_EQ(nlohmann::json::parse(*reply)["state"], "stopped");
}

TEST_F(ClientControl, AskerTimesOutAndNobodyThereIsNotFound) {
    TemporaryDirectory directory;
    const auto path = directory.path() + "/control.sock";
    EXPECT_EQ(ask_running_client(path, "{}", 1s).error().code, ErrorCode::not_found);
    asio::io_context context;
    {
        auto socket = ControlSocket::listen(context, path, control);
        ASSERT_TRUE(socket);
        // Nobody runs the event loop.
        EXPECT_EQ(ask_running_client(path, "{}", 50ms).error().code, ErrorCode::timed_out);
    }
    EXPECT_EQ(ask_running_client(path, "{}", 1s).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace dstm::client
