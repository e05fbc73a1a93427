// dstm-server.conf: what is read from it, and every mistake with its line and path.
#include "dstm-server/config.hpp"

#include <gtest/gtest.h>

#include <map>

#include <algorithm>

namespace dstm::server {
namespace {

using namespace std::chrono_literals;

const std::string minimal = R"({ "dstm-server": {
  "name": "dstm1",
  "tsp": { "listen": [ { "address": "::" } ] },
  "sasl": { "realm": "campus.example" },
  "kea": { "socket": "/run/kea/dstm4.sock" },
  "endpoints": { "unix-socket": "/run/dstm/endpoints.sock" }
} })";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
}

TEST(ServerConfig, TheExampleHasNoMistakes) {
    const auto loaded = load_settings(std::string(DSTM_SOURCE_DIR) +
                                      "/docs/examples/dstm-server.conf");
    EXPECT_EQ(loaded.mistakes, std::vector<std::string>{});
    const Settings& settings = loaded.settings;
    EXPECT_EQ(settings.name, "dstm1");
    EXPECT_EQ(settings.log_level, "info");
    ASSERT_EQ(settings.tsp.listen.size(), 1u);
    EXPECT_EQ(to_string(settings.tsp.listen[0]), "[::]:3653");
    ASSERT_EQ(settings.udp.listen.size(), 1u);
    EXPECT_EQ(settings.udp.limits.places.total, 10000u);
    EXPECT_EQ(settings.udp.limits.places.per_prefix, 1024u);
    EXPECT_EQ(settings.udp.limits.replies_per_second, 200u);
    EXPECT_EQ(settings.sasl.mechanisms,
              (std::vector<std::string>{"SCRAM-SHA-256", "DIGEST-MD5"}));
    EXPECT_EQ(settings.broker.lifetime_s, 3600u);
    EXPECT_EQ(settings.broker.keepalive_default_s, 30u);
    EXPECT_EQ(settings.tsp.sessions_max, 10000u);
    EXPECT_EQ(settings.tsp.sessions_per_address_max, 32u);
    EXPECT_EQ(settings.broker.tunnels_per_user, 8u);
    EXPECT_EQ(settings.tsp.session.limits.phase_timeout, 30s);
    EXPECT_EQ(settings.tsp.session.limits.idle_timeout, 300s);
    EXPECT_EQ(settings.sasl.realm, "campus.example");
    EXPECT_FALSE(settings.sasl.plain_without_tls);
    ASSERT_TRUE(settings.kea.has_value());
    EXPECT_EQ(settings.kea->socket_path, "/run/kea/dstm4.sock");
    EXPECT_EQ(settings.kea->family, Family::v4);
    ASSERT_TRUE(settings.endpoint_tls.has_value());
    EXPECT_EQ(to_string(settings.endpoint_tls->listen), "[::]:3654");
    EXPECT_EQ(settings.audit_log, "/var/log/dstm/audit.jsonl");
}

TEST(ServerConfig, UdpIsServedBesideTcpUnlessSwitchedOffForAnAddress) {
    const auto loaded = parse_settings(
        replaced(minimal, R"({ "address": "::" })",
                 R"({ "address": "::", "udp": false }, { "address": "192.0.2.1", "port": 4000 })"),
        "f");
    EXPECT_EQ(loaded.mistakes, std::vector<std::string>{});
    EXPECT_EQ(loaded.settings.tsp.listen.size(), 2u);
    ASSERT_EQ(loaded.settings.udp.listen.size(), 1u);
    EXPECT_EQ(to_string(loaded.settings.udp.listen[0]), "192.0.2.1:4000");
}

TEST(ServerConfig, RedirectTlsAndTriesAreRead) {
    const auto loaded = parse_settings(
        replaced(minimal, R"("listen":)", R"(
        "redirect": { "when": "always",
                      "brokers": [ { "ipv4": "192.0.2.53" },
                                   { "ipv6": "2001:db8::53", "dn": "b.example" } ] },
        "tls": { "address": "::", "certificate": "a.crt", "key": "a.key", "client-ca": "ca.crt" },
        "limits": { "tries-per-address": 1, "tries-per-prefix": 2, "tries-per-user": 3 },
        "listen":)"),
        "test");
    ASSERT_EQ(loaded.mistakes, std::vector<std::string>{});
    const auto& tsp = loaded.settings.tsp;
    EXPECT_TRUE(tsp.session.redirect.is_always);
    ASSERT_EQ(tsp.session.redirect.brokers.size(), 2u);
    EXPECT_EQ(tsp.session.redirect.brokers[1].addresses,
              (std::vector<tsp::Address>{{tsp::AddressType::ipv6, "2001:db8::53", {}},
                                         {tsp::AddressType::dn, "b.example", {}}}));
    ASSERT_TRUE(tsp.tls.has_value());
    EXPECT_EQ(to_string(tsp.tls->listen), "[::]:3655");
    EXPECT_EQ(tsp.tls->files.client_ca, "ca.crt");
    EXPECT_EQ(tsp.tries.per_address, 1u);
    EXPECT_EQ(loaded.settings.udp.limits.tries.per_prefix, 2u);
    EXPECT_EQ(loaded.settings.udp.limits.tries.per_user, 3u);
}

TEST(ServerConfig, MistakesInRedirectAndTlsAreNamed) {
    for (const auto& [text, what] : std::map<std::string, std::string>{
             {R"("redirect": { "brokers": [] },)", "brokers"},
             {R"("redirect": { "brokers": [ {} ] },)", "dn"},
             {R"("redirect": { "brokers": [ { "ipv4": "2001:db8::1" } ] },)", "ipv4"},
             {R"("redirect": { "brokers": [ { "dn": "a b" } ] },)", "dn"},
             {R"("redirect": { "when": "never", "brokers": [ { "dn": "a" } ] },)", "when"},
             {R"("tls": { "address": "::" },)", "certificate"},
             {R"("mechanisms": ["GSSAPI"],)", "hostname"}}) {
        const auto loaded =
            parse_settings(replaced(minimal, R"("listen":)", text + R"("listen":)"), "test");
        ASSERT_FALSE(loaded.mistakes.empty()) << text;
        EXPECT_NE(loaded.mistakes[0].find(what), std::string::npos) << loaded.mistakes[0];
    }
}

TEST(ServerConfig, WhatIsLeftOutTakesTheDefaultsOfTheExample) {
    const auto loaded = parse_settings(minimal, "f");
    EXPECT_EQ(loaded.mistakes, std::vector<std::string>{});
    EXPECT_EQ(to_string(loaded.settings.tsp.listen[0]), "[::]:3653");
    EXPECT_EQ(loaded.settings.broker.lifetime_s, 3600u);
    EXPECT_EQ(loaded.settings.tsp.session.tunnel_types,
              (std::vector<tsp::RequestType>{tsp::RequestType::v4v6}));
}

TEST(ServerConfig, EveryTypeCanBeOfferedWithTheKeaThatLeasesForIt) {
    const std::string kea6 =
        R"("kea": { "socket": "/run/kea/dstm4.sock" },
           "kea6": { "socket": "/run/kea/dstm6.sock", "subnet-id": 6, "timeout": 7 })";
    const std::string types = R"("tunnel-types": ["v4v6", "v6v4", "v6udpv4"], "idle-tunnels":
                                 "remove", "prefix-length": 56, "listen")";
    const auto loaded = parse_settings(
        replaced(replaced(minimal, "\"listen\"", types),
                 R"("kea": { "socket": "/run/kea/dstm4.sock" })", kea6),
        "f");
    EXPECT_EQ(loaded.mistakes, std::vector<std::string>{});
    const Settings& settings = loaded.settings;
    EXPECT_EQ(settings.broker.tunnel_types,
              (std::vector<TunnelType>{TunnelType::v4v6, TunnelType::v6v4, TunnelType::v6udpv4}));
    EXPECT_EQ(settings.tsp.session.tunnel_types,
              (std::vector<tsp::RequestType>{tsp::RequestType::v4v6, tsp::RequestType::v6v4,
                                             tsp::RequestType::v6udpv4}));
    ASSERT_TRUE(settings.kea6.has_value());
    EXPECT_EQ(settings.kea6->socket_path, "/run/kea/dstm6.sock");
    EXPECT_EQ(settings.kea6->family, Family::v6);
    EXPECT_EQ(settings.kea6->call_timeout, 7s);
    EXPECT_EQ(settings.broker.subnet_id, 0u);
    EXPECT_EQ(settings.broker.subnet_id_v6, 6u);
    EXPECT_EQ(settings.broker.prefix_length, 56);
    EXPECT_EQ(settings.broker.idle_tunnels, IdleTunnels::remove);
}

TEST(ServerConfig, NamesAndReverseZonesAreOffUnlessConfigured) {
    const Settings none = parse_settings(minimal, "f").settings;
    EXPECT_EQ(none.broker.dns_suffix, "");
    EXPECT_FALSE(none.reverse_delegation.has_value());
    EXPECT_FALSE(none.broker.delegates_reverse_zones);
    const auto loaded = parse_settings(replaced(minimal, "\"kea\"", R"("dns": {
        "suffix": "dstm.example.", "reverse": { "address": "2001:db8::53", "key-file": "/k",
        "zones": ["8.b.d.0.1.0.0.2.ip6.arpa"], "ttl": 60 } }, "kea")"), "f");
    EXPECT_EQ(loaded.mistakes, std::vector<std::string>{});
    EXPECT_EQ(loaded.settings.broker.dns_suffix, "dstm.example");
    EXPECT_TRUE(loaded.settings.broker.delegates_reverse_zones);
    ASSERT_TRUE(loaded.settings.reverse_delegation.has_value());
    EXPECT_EQ(to_string(loaded.settings.reverse_delegation->server), "[2001:db8::53]:53");
    EXPECT_EQ(loaded.settings.reverse_delegation->ttl_s, 60u);
    EXPECT_EQ(loaded.settings.reverse_delegation->zones.size(), 1u);
}

TEST(ServerConfig, OnlyTheKeaThatATypeNeedsMustBeThere) {
    const auto loaded = parse_settings(
        replaced(replaced(minimal, "\"listen\"", "\"tunnel-types\": [\"v6v4\"], \"listen\""),
                 "\"kea\"", "\"kea6\""),
        "f");
    EXPECT_EQ(loaded.mistakes, std::vector<std::string>{});
    EXPECT_FALSE(loaded.settings.kea.has_value());
    EXPECT_TRUE(loaded.settings.kea6.has_value());
    EXPECT_FALSE(parse_settings(minimal, "f").settings.kea6.has_value());
}

TEST(ServerConfig, EachMistakeIsNamedWithItsLineAndPath) {
    struct Case {
        const char* from;
        const char* to;
        const char* line_and_path;
    };
    const std::vector<Case> table = {
        {"\"name\": \"dstm1\"", "\"name\": 7", "f:2: dstm-server.name"},
        {"\"name\": \"dstm1\"", "\"nam\": \"dstm1\", \"name\": \"x\"", "f:2: dstm-server.nam"},
        {"\"name\": \"dstm1\"", "\"name\": \"x\", \"log-level\": \"loud\"",
         "f:2: dstm-server.log-level"},
        {"\"::\"", "\"2001:db8::g\"", "f:3: dstm-server.tsp.listen[0].address"},
        {"\"::\"", "\"::\", \"port\": 70000", "f:3: dstm-server.tsp.listen[0].port"},
        {"[ { \"address\": \"::\" } ]", "[]", "f:3: dstm-server.tsp.listen"},
        {"\"listen\"", "\"tunnel-types\": [\"v6v4\"], \"listen\"", "f:1: dstm-server.kea6"},
        {"\"listen\"", "\"tunnel-types\": [\"v6anyv4\"], \"listen\"",
         "f:3: dstm-server.tsp.tunnel-types"},
        {"\"listen\"", "\"prefix-length\": 65, \"listen\"", "f:3: dstm-server.tsp.prefix-length"},
        {"\"listen\"", "\"idle-tunnels\": \"drop\", \"listen\"",
         "f:3: dstm-server.tsp.idle-tunnels"},
        {"\"listen\"", "\"tunnel-types\": [\"v9\"], \"listen\"",
         "f:3: dstm-server.tsp.tunnel-types"},
        {"\"listen\"", "\"mechanisms\": [], \"listen\"", "f:3: dstm-server.tsp.mechanisms"},
        {"\"listen\"", "\"mechanisms\": [\"plain\"], \"listen\"",
         "f:3: dstm-server.tsp.mechanisms"},
        {"\"listen\"", "\"mechanisms\": [\"PLAIN\", \"PLAIN\"], \"listen\"",
         "f:3: dstm-server.tsp.mechanisms"},
        {"\"listen\"", "\"lifetime\": 10, \"listen\"", "f:3: dstm-server.tsp.lifetime"},
        {"\"listen\"", "\"limits\": {\"sessions\": 0}, \"listen\"",
         "f:3: dstm-server.tsp.limits.sessions"},
        {"\"kea\"", "\"dns\": {\"suffix\": \"-x.example\"}, \"kea\"",
         "f:5: dstm-server.dns.suffix"},
        {"\"kea\"", "\"dns\": {\"reverse\": {\"address\": \"::1\"}}, \"kea\"",
         "f:5: dstm-server.dns.reverse.key-file"},
        {"\"kea\"", "\"dns\": {\"reverse\": {\"zones\": [\"example.org\"]}}, \"kea\"",
         "f:5: dstm-server.dns.reverse.zones"},
        {"\"realm\": \"campus.example\"", "", "f:4: dstm-server.sasl.realm"},
        {"\"/run/kea/dstm4.sock\"", "7", "f:5: dstm-server.kea.socket"},
        {"\"unix-socket\": \"/run/dstm/endpoints.sock\"", "", "f:6: dstm-server.endpoints"},
        {"\"unix-socket\"", "\"tls\": {\"address\": \"::\"}, \"unix-socket\"",
         "f:6: dstm-server.endpoints.tls.certificate"},
    };
    for (const Case& one : table) {
        const auto loaded = parse_settings(replaced(minimal, one.from, one.to), "f");
        const bool named = std::any_of(
            loaded.mistakes.begin(), loaded.mistakes.end(),
            [&](const std::string& mistake) { return mistake.starts_with(one.line_and_path); });
        EXPECT_TRUE(named) << one.line_and_path << " is not in\n"
                           << testing::PrintToString(loaded.mistakes);
    }
}

TEST(ServerConfig, AllMistakesAreReportedAtOnce) {
    const auto loaded = parse_settings(R"({ "dstm-server": { "tsp": {}, "extra": 1 } })", "f");
    EXPECT_GE(loaded.mistakes.size(), 5u) << testing::PrintToString(loaded.mistakes);
}

TEST(ServerConfig, APathTooLongForASocketIsAMistake) {
    const auto loaded = parse_settings(
        replaced(minimal, "/run/kea/dstm4.sock", "/" + std::string(107, 'x')), "f");
    ASSERT_EQ(loaded.mistakes.size(), 1u);
    EXPECT_TRUE(loaded.mistakes[0].starts_with("f:5: dstm-server.kea.socket"));
}

TEST(ServerConfig, NoFileAndNoJsonAreMistakesToo) {
    EXPECT_EQ(load_settings("/no/such/file").mistakes.size(), 1u);
    EXPECT_EQ(parse_settings("{", "f").mistakes.size(), 1u);
}

}  // namespace
}  // namespace dstm::server
