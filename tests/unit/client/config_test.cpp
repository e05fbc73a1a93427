// A table of mistakes in the configuration, and what the good ones mean.
#include "client/config.hpp"

#include <gtest/gtest.h>

namespace dstm::client {
namespace {

std::string with(const std::string& line) {
    return "{ \"dstm-client\": {\n\"server\": \"dstm.campus.example\",\n" + line + "\n} }";
}

TEST(ClientConfig, ServerAloneIsEnoughAndAsksAnonymously) {
    const auto settings = parse_settings(
        R"({ "dstm-client": { "server": "[2001:db8::1]" } })", "client.conf");
    ASSERT_TRUE(settings) << settings.error().front();
    EXPECT_EQ(settings->server, "2001:db8::1");
    EXPECT_EQ(settings->port, 3653);
    EXPECT_EQ(settings->mechanisms, std::vector<std::string>{"ANONYMOUS"});
    ASSERT_EQ(settings->routes.size(), 1U);
    EXPECT_EQ(settings->routes[0], dataplane::IpPrefix(*Ipv4Prefix::parse("0.0.0.0/0")));
}

TEST(ClientConfig, PlainAndAnonymousAreUsedForAUserOnlyWhenWrittenDown) {
    const auto by_default = parse_settings(with(R"("user": "alice")"), "c");
    ASSERT_TRUE(by_default);
    EXPECT_EQ(by_default->mechanisms, (std::vector<std::string>{"SCRAM-SHA-256", "DIGEST-MD5"}));
    const auto asked = parse_settings(with(R"("user": "a", "mechanisms": ["PLAIN"])"), "c");
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->mechanisms, std::vector<std::string>{"PLAIN"});
}

TEST(ClientConfig, TransportIsTcpBeforeUdpUnlessWrittenDown) {
    EXPECT_EQ(parse_settings(with(R"("port": 3653)"), "c")->transport, Transport::automatic);
    EXPECT_EQ(parse_settings(with(R"("transport": "auto")"), "c")->transport,
              Transport::automatic);
    EXPECT_EQ(parse_settings(with(R"("transport": "udp")"), "c")->transport, Transport::udp);
    EXPECT_EQ(parse_settings(with(R"("transport": "tcp")"), "c")->transport, Transport::tcp);
}

TEST(ClientConfig, DataPlaneIsTheKernelsWhereItCanUnlessWrittenDown) {
    EXPECT_EQ(parse_settings(with(R"("port": 3653)"), "c")->data_plane, PlaneWish::automatic);
    EXPECT_EQ(parse_settings(with(R"("data-plane": "auto")"), "c")->data_plane,
              PlaneWish::automatic);
    EXPECT_EQ(parse_settings(with(R"("data-plane": "kernel")"), "c")->data_plane,
              PlaneWish::kernel);
    EXPECT_EQ(parse_settings(with(R"("data-plane": "tun")"), "c")->data_plane, PlaneWish::tun);
}

struct Mistake {
    const char* line;
    const char* path;
};

class ClientConfigMistake : public testing::TestWithParam<Mistake> {};

TEST_P(ClientConfigMistake, IsNamedWithFileLineAndPath) {
    const auto settings = parse_settings(with(GetParam().line), "client.conf");
    ASSERT_FALSE(settings) << GetParam().line;
    const auto& first = settings.error().front();
    EXPECT_EQ(first.rfind("client.conf:3: ", 0), 0U) << first;
    EXPECT_NE(first.find(GetParam().path), std::string::npos) << first;
}

INSTANTIATE_TEST_SUITE_P(
    All, ClientConfigMistake,
    testing::Values(Mistake{R"("port": 0)", "dstm-client.port"},
                    Mistake{R"("port": 70000)", "dstm-client.port"},
                    Mistake{R"("log-level": "loud")", "dstm-client.log-level"},
                    Mistake{R"("mechanisms": ["CRAM-MD5"])", "dstm-client.mechanisms"},
                    Mistake{R"("mechanisms": ["PLAIN"])", "dstm-client.mechanisms"},
                    Mistake{R"("mechanisms": [])", "dstm-client.mechanisms"},
                    Mistake{R"("tunnel-type": "v5v4")", "dstm-client.tunnel-type"},
                    Mistake{R"("device": "a/b")", "dstm-client.device"},
                    Mistake{R"("device": "longer-than-15-ch")", "dstm-client.device"},
                    Mistake{R"("routes": ["10.0.0.1/8"])", "dstm-client.routes"},
                    Mistake{R"("routes": ["::/0"])", "dstm-client.routes"},
                    Mistake{R"("route-metric": -1)", "dstm-client.route-metric"},
                    Mistake{R"("transport": "sctp")", "dstm-client.transport"},
                    Mistake{R"("data-plane": "bpf")", "dstm-client.data-plane"},
                    Mistake{R"("data-plane": "kernel", "tunnel-type": "v6udpv4")",
                            "dstm-client.data-plane"},
                    Mistake{R"("keepalive": 100000)", "dstm-client.keepalive"},
                    Mistake{R"("state-directory": "here")", "dstm-client.state-directory"},
                    Mistake{R"("control-socket": "here")", "dstm-client.control-socket"},
                    Mistake{R"("transport": "tcp", "tunnel-type": "v6anyv4")",
                            "dstm-client.transport"},
                    Mistake{R"("routes": ["0.0.0.0/0"], "tunnel-type": "v6v4")",
                            "dstm-client.routes"},
                    Mistake{R"("router": { "inside-interface": "lan0" })", "dstm-client.router"},
                    Mistake{R"("tunnel-type": "v6v4", "router": {})",
                            "dstm-client.router.inside-interface"},
                    Mistake{R"("tunnel-type": "v6v4", "router": { "inside-interface": "lan0", )"
                            R"("prefix-length": 65 })",
                            "dstm-client.router.prefix-length"},
                    Mistake{R"("tunnel-type": "v6v4", "router": { "inside-interface": "lan0", )"
                            R"("dns-servers": ["ns1.example"] })",
                            "dstm-client.router.dns-servers"},
                    Mistake{R"("tunnel-type": "v6v4", "router": { "inside-interface": "lan0", )"
                            R"("script": "up.sh" })",
                            "dstm-client.router.script"},
                    Mistake{R"("on-demand": { "idle-timeout": 0 })",
                            "dstm-client.on-demand.idle-timeout"},
                    Mistake{R"("on-demand": {}, "tunnel-type": "v6v4")", "dstm-client.on-demand"},
                    Mistake{R"("device": "fourteen-chars", "on-demand": {})",
                            "dstm-client.device"},
                    Mistake{R"("route-metric": 4294967295, "on-demand": {})",
                            "dstm-client.route-metric"},
                    Mistake{R"("native-ipv4": "never")", "dstm-client.native-ipv4"},
                    Mistake{R"("native-ipv4": "prefer", "tunnel-type": "v6v4")",
                            "dstm-client.native-ipv4"},
                    Mistake{R"("tls": {}, "transport": "udp")", "dstm-client.tls"},
                    Mistake{R"("tls": {}, "tunnel-type": "v6udpv4")", "dstm-client.tls"},
                    Mistake{R"("tls": { "key": "/k" })", "dstm-client.tls.key"},
                    Mistake{R"("tls": { "ca": "here" })", "dstm-client.tls.ca"},
                    Mistake{R"("mechanisms": ["EXTERNAL"], "tls": {})", "dstm-client.mechanisms"},
                    Mistake{R"("colour": 1)", "dstm-client.colour"}));

TEST(ClientConfig, V6TypesAreAskedOverIpv4AndRouteIpv6BelowTheNativeRank) {
    const auto settings = parse_settings(
        R"({ "dstm-client": { "server": "192.0.2.53", "tunnel-type": "v6anyv4",
             "router": { "prefix-length": 56, "inside-interface": "lan0",
                         "dns-servers": ["2001:db8::53"], "script": "/etc/dstm/prefix" } } })",
        "c");
    ASSERT_TRUE(settings) << settings.error().front();
    EXPECT_EQ(settings->tunnel_type, tsp::RequestType::v6anyv4);
    EXPECT_EQ(settings->routes.at(0), dataplane::IpPrefix(*Ipv6Prefix::parse("::/0")));
    EXPECT_EQ(settings->route_metric, 4096U);
    ASSERT_TRUE(settings->router);
    EXPECT_EQ(settings->router->prefix_length, 56);
    EXPECT_EQ(settings->router->inside_interface, "lan0");
    EXPECT_EQ(settings->router->script, "/etc/dstm/prefix");
    EXPECT_FALSE(parse_settings(
        R"({ "dstm-client": { "server": "2001:db8::1", "tunnel-type": "v6v4" } })", "c"));
}

TEST(ClientConfig, RoutesStandBelowThoseOfAnyManagerOfNetworks) {
    const auto settings =
        parse_settings(R"({ "dstm-client": { "server": "2001:db8::1" } })", "c");
    ASSERT_TRUE(settings) << settings.error().front();
    constexpr std::uint32_t dhcpcd_wireless = 3000 + 99;
    EXPECT_GT(settings->route_metric, dhcpcd_wireless);
    constexpr std::uint32_t network_manager_without_connectivity = 20000;
    EXPECT_LT(settings->route_metric, network_manager_without_connectivity);
}

TEST(ClientConfig, CertificateOrTicketNeedsNoUser) {
    const auto certificate = parse_settings(
        with(R"("tls": { "ca": "/ca", "certificate": "/c", "key": "/k" })"), "c");
    ASSERT_TRUE(certificate) << certificate.error().front();
    EXPECT_EQ(certificate->mechanisms, std::vector<std::string>{"EXTERNAL"});
    EXPECT_EQ(certificate->port, 3655);
    const auto ticket = parse_settings(with(R"("mechanisms": ["GSSAPI"])"), "c");
    ASSERT_TRUE(ticket) << ticket.error().front();
    EXPECT_EQ(ticket->mechanisms, std::vector<std::string>{"GSSAPI"});
    EXPECT_FALSE(needs_password("GSSAPI"));
    EXPECT_TRUE(needs_password("PLAIN"));
}

TEST(ClientConfig, WithoutAServerTheDnsIsAskedButNotForTls) {
    const auto settings = parse_settings(R"({ "dstm-client": { "user": "alice" } })", "c");
    ASSERT_TRUE(settings) << settings.error().front();
    EXPECT_EQ(settings->server, "");
    EXPECT_FALSE(parse_settings(R"({ "dstm-client": { "tls": {} } })", "c"));
}

TEST(ClientConfig, EveryMistakeIsReportedAtOnce) {
    const auto settings = parse_settings(with("\"port\": 0,\n\"device\": \"a b\",\n\"x\": 1"), "c");
    ASSERT_FALSE(settings);
    EXPECT_EQ(settings.error().size(), 3U);
}

TEST(ClientConfig, ServerMustBeANameOrAnIpv6Address) {
    for (const auto* server : {"", "192.0.2.1", "two words", "http://x"}) {
        EXPECT_FALSE(parse_settings(std::string(R"({ "dstm-client": { "server": ")") + server +
                                        "\" } }",
                                    "c"))
            << server;
    }
    EXPECT_FALSE(parse_settings("{}", "c"));
}

}  // namespace
}  // namespace dstm::client
