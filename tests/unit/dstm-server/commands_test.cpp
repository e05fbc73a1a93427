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
    status_.kea.is_used = true;
    Json answer = ask(R"({"command": "status"})");
    EXPECT_EQ(answer["result"], 0);
    EXPECT_EQ(answer["arguments"]["kea"], "away");
    EXPECT_EQ(answer["arguments"]["uptime-s"], 60);
    EXPECT_EQ(answer["arguments"]["kea6"], "unused");
    status_.kea.is_up = true;
    EXPECT_EQ(ask(R"({"command": "status"})")["arguments"]["kea"], "reading");
    status_.kea.has_listed = true;
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

TEST_F(AdminCommands, BindingsOfIpv6StandAfterThoseOfIpv4WithTheirPrefixes) {
    Lease lease;
    lease.address = *parse_ip_address("2001:db8:100::7");
    lease.prefix = Ipv6Prefix::parse("2001:db8:200::/56");
    lease.hostname = "alice.dstm.example";
    lease.context.type = TunnelType::v6udpv4;
    lease.context.outer_client = {*parse_ip_address("203.0.113.200"), 41000};
    bindings_ = {{lease, true}, {test::lease_of(7, 1), true}};
    Json page = ask(R"({"command": "bindings", "arguments": {"limit": 1}})")["arguments"];
    EXPECT_EQ(page["bindings"][0]["address"], "192.0.2.7");
    EXPECT_FALSE(page["bindings"][0].contains("prefix"));
    page = ask(R"({"command": "bindings", "arguments": {"from": "192.0.2.7"}})")["arguments"];
    ASSERT_EQ(page["bindings"].size(), 1u);
    EXPECT_EQ(page["bindings"][0]["address"], "2001:db8:100::7");
    EXPECT_EQ(page["bindings"][0]["prefix"], "2001:db8:200::/56");
    EXPECT_EQ(page["bindings"][0]["name"], "alice.dstm.example");
    EXPECT_EQ(page["bindings"][0]["type"], "v6udpv4");
    EXPECT_EQ(page["bindings"][0]["outer-port"], 41000);
    page = ask(R"({"command": "bindings", "arguments": {"from": "2001:db8:100::7"}})")["arguments"];
    EXPECT_EQ(page["bindings"].size(), 0u);
}

TEST_F(AdminCommands, EndpointsShowBothFamilies) {
    EndpointView view;
    view.info.name = "tep1";
    view.info.types = {TunnelType::v4v6, TunnelType::v6v4};
    view.info.outer_ipv4 = Ipv4Address::parse("198.51.100.1");
    view.info.inner_ipv6 = Ipv6Address::parse("2001:db8:100::1");
    view.info.pools_ipv6 = {*Ipv6Prefix::parse("2001:db8:100::/64")};
    endpoints_ = {view};
    const Json shown = ask(R"({"command": "endpoints"})")["arguments"]["endpoints"][0];
    EXPECT_EQ(shown["types"], (Json{"v4v6", "v6v4"}));
    EXPECT_EQ(shown["outer-ipv4"], "198.51.100.1");
    EXPECT_EQ(shown["outer-ipv6"], "");
    EXPECT_EQ(shown["inner-ipv6"], "2001:db8:100::1");
    EXPECT_EQ(shown["pools-ipv6"], (Json{"2001:db8:100::/64"}));
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
