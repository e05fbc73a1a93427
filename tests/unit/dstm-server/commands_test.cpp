// The admin socket's commands.
#include "dstm-server/admin/commands.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lease_fixture.hpp"

namespace dstm::server {
namespace {

using Json = nlohmann::json;

class AdminCommands : public testing::Test {
protected:
    AdminCommands() {
        source_.name = "dstm1";
        source_.started_at = from_unix(1000);
        source_.now = [] { return from_unix(1060); };
        source_.status = [this] { return status_; };
        source_.udp = [this] { return udp_; };
        source_.throttled = [this] { return throttled_; };
        source_.bindings = [this] { return bindings_; };
        source_.endpoints = [this] { return endpoints_; };
    }
    Json ask(const std::string& line) { return Json::parse(answer_command(line, source_)); }

    AdminSource source_;
    BrokerStatus status_;
    net::UdpListenerStatus udp_;
    tsp::Throttle::Counters throttled_;
    std::vector<BindingView> bindings_;
    std::vector<EndpointView> endpoints_;
};

TEST_F(AdminCommands, StatusSaysWhetherRequestsAreServed) {
    Json answer = ask(R"({"command": "status"})");
    EXPECT_EQ(answer["result"], 0);
    EXPECT_EQ(answer["arguments"]["kea"], "away");
    EXPECT_EQ(answer["arguments"]["uptime-s"], 60);
    status_.lease_store_up = true;
    EXPECT_EQ(ask(R"({"command": "status"})")["arguments"]["kea"], "reading");
    status_.ready = true;
    EXPECT_EQ(ask(R"({"command": "status"})")["arguments"]["kea"], "ready");
    EndpointView endpoint;
    endpoint.info.name = "tep1";
    endpoint.connected = true;
    endpoints_ = {endpoint};
    EXPECT_EQ(ask(R"({"command": "status"})")["arguments"]["endpoints"], 0);
    endpoints_[0].in_sync = true;
    EXPECT_EQ(ask(R"({"command": "status"})")["arguments"]["endpoints"], 1);
}

TEST_F(AdminCommands, StatusCountsWhatCameByUdp) {
    udp_.exchanges = 3;
    udp_.counters.limited = 7;
    const Json udp = ask(R"({"command": "status"})")["arguments"]["udp"];
    EXPECT_EQ(udp["exchanges"], 3);
    EXPECT_EQ(udp["limited"], 7);
    EXPECT_EQ(udp["received"], 0);
}

TEST_F(AdminCommands, BindingsComeInPagesInTheOrderOfTheirAddresses) {
    for (const std::uint8_t last : std::vector<std::uint8_t>{9, 7, 8}) {
        bindings_.push_back({test::lease_of(last, 1), true});
    }
    Json page = ask(R"({"command": "bindings", "arguments": {"limit": 2}})")["arguments"];
    EXPECT_EQ(page["total"], 3);
    ASSERT_EQ(page["bindings"].size(), 2u);
    EXPECT_EQ(page["bindings"][0]["address"], "192.0.2.7");
    EXPECT_EQ(page["bindings"][0]["user"], "alice");
    EXPECT_EQ(page["bindings"][0]["outer"], "2001:db8:1::5");
    EXPECT_EQ(page["next"], "192.0.2.8");
    page = ask(R"({"command": "bindings", "arguments": {"from": "192.0.2.8"}})")["arguments"];
    EXPECT_EQ(page["bindings"].size(), 1u);
    EXPECT_FALSE(page.contains("next"));
}

TEST_F(AdminCommands, BadQuestionsAreAnsweredToo) {
    for (const char* const line :
         {"", "[]", "{", R"({"command": 7})", R"({"command": "reboot"})",
          R"({"command": "bindings", "arguments": []})",
          R"({"command": "bindings", "arguments": {"limit": 0}})",
          R"({"command": "bindings", "arguments": {"limit": -1}})",
          R"({"command": "bindings", "arguments": {"from": "x"}})"}) {
        const Json answer = ask(line);
        EXPECT_EQ(answer["result"], 1) << line;
        EXPECT_FALSE(answer["text"].get<std::string>().empty());
    }
}

TEST_F(AdminCommands, AnswersAreOneLineWhateverUsersAreCalled) {
    bindings_.push_back({test::lease_of(7, 1), true});
    bindings_[0].lease.context.user = "a\nb\xff";
    EXPECT_EQ(answer_command(R"({"command": "bindings"})", source_).find('\n'), std::string::npos);
}

}  // namespace
}  // namespace dstm::server
