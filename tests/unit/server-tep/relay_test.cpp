// Signalling through an endpoint: datagrams from its data plane to the server's UDP listener and
// back, over a real link, with the plane, the authenticator and the broker in memory.
#include "tep/relay.hpp"

#include <gtest/gtest.h>

#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "common/tsp/udp_header.hpp"
#include "dstm-server/net/udp_listener.hpp"
#include "dstm-server/tep/link_registry.hpp"
#include "support/endpoint_daemon.hpp"
#include "support/event_loop.hpp"
#include "support/temp_dir.hpp"
#include "unit/dstm-server/fake_edges.hpp"

namespace dstm::server {
namespace {

using test::run_until;

const IpEndpoint client{*parse_ip_address("198.51.100.9"), 40000};
const std::string create_xml =
    R"(<tunnel action="create" type="v6udpv4"><client><address type="ipv4">10.0.0.9</address>)"
    "</client></tunnel>\r\n";

ConstBytes bytes_of(const std::string& text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

class OneServer {
public:
    OneServer(asio::io_context& context, const Clock& clock, const std::string& path,
              const std::string& name)
        : authenticator(context), links(context, clock, name) {
        EXPECT_TRUE(links.listen_unix(path));
        net::UdpListenerConfig config;
        config.session.tunnel_types = {tsp::RequestType::v6udpv4};
        config.session.mechanisms = authenticator.mechanisms({});
        listener = std::make_unique<net::UdpListener>(config, context, clock, authenticator,
                                                      service, links, [] { return true; });
        EXPECT_TRUE(listener->start()) << "no socket of its own is needed";
    }
    fake::FakeAuthenticator authenticator;
    fake::FakeService service;
    LinkRegistry links;
    std::unique_ptr<net::UdpListener> listener;
};

class RelayTest : public testing::Test {
protected:
    RelayTest() : server(std::make_unique<OneServer>(context, clock, path, "dstm1")) {
        endpoint.emplace(context, clock, test::endpoint_config(tep::UnixServer{path}), plane);
        EXPECT_TRUE(run_until(context, [&] { return endpoint->is_up(); }));
        test::run_ready(context);
    }
    void say(const std::string& datagram, const IpEndpoint& peer = client) {
        endpoint->relay.hand_over(peer, bytes_of(datagram));
    }
    // The data of the reply.
    std::string ask(std::uint32_t sequence, const std::string& data,
                    const IpEndpoint& peer = client) {
        std::erase_if(plane.sent, [&](const auto& one) { return one.first == peer; });
        say(tsp::encode_udp_packet({{sequence, 7}, data}), peer);
        const auto is_there = [&] {
            return !plane.sent.empty() && plane.sent.back().first == peer;
        };
        EXPECT_TRUE(run_until(context, is_there)) << data;
        if (!is_there()) return "nothing";
        const auto reply = tsp::decode_udp_packet(plane.sent.back().second);
        EXPECT_TRUE(reply && reply->header.sequence == sequence);
        return reply ? std::string(reply->data) : "";
    }
    void log_in(const IpEndpoint& peer = client) {
        EXPECT_TRUE(ask(1, "VERSION=2.0.0\r\n", peer).starts_with("CAPABILITY "));
        EXPECT_EQ(ask(2, "AUTHENTICATE ANONYMOUS\r\n", peer), "200 Success\r\n");
    }
    std::string framed(const std::string& xml) {
        return "Content-length: " + std::to_string(xml.size()) + "\r\n" + xml;
    }

    RealClock clock;
    asio::io_context context;
    test::TempDir directory;
    std::string path = directory / "endpoints.sock";
    test::MemoryPlane plane;
    std::unique_ptr<OneServer> server;
    std::optional<test::Endpoint> endpoint;
};

TEST_F(RelayTest, ADialogueGoesThroughTheEndpointAndIsKnownToHaveDone) {
    log_in();
    EXPECT_TRUE(ask(3, framed(create_xml)).starts_with("Content-length: "));
    ASSERT_EQ(server->service.peers.size(), 1u);
    EXPECT_EQ(server->service.peers[0], client);
    EXPECT_EQ(server->service.relays[0], "tep1");
    EXPECT_EQ(server->listener->status().relayed, 3u);
    EXPECT_EQ(endpoint->relay.counters().relayed, 3u);
    EXPECT_EQ(endpoint->relay.counters().returned, 3u);
}

TEST_F(RelayTest, AnEndpointThatGoesEndsItsDialogues) {
    log_in();
    EXPECT_EQ(server->service.open_sessions.size(), 1u);
    endpoint.reset();
    EXPECT_TRUE(run_until(context, [&] { return server->service.open_sessions.empty(); }));
}

TEST_F(RelayTest, ADialogueOfAnEarlierLinkIsNotGoneOnWith) {
    log_in();
    endpoint.reset();
    ASSERT_TRUE(run_until(context, [&] { return server->service.open_sessions.empty(); }));
    endpoint.emplace(context, clock, test::endpoint_config(tep::UnixServer{path}), plane);
    ASSERT_TRUE(run_until(context, [&] { return endpoint->is_up(); }));
    say(tsp::encode_udp_packet({{3, 7}, framed(create_xml)}));
    ASSERT_TRUE(run_until(context, [&] { return server->listener->status().relayed == 3; }));
    EXPECT_EQ(server->listener->status().counters.no_exchange, 1u);
    log_in();
}

TEST_F(RelayTest, BadDatagramsAreCountedAndHarmNobody) {
    const auto good = tsp::encode_udp_packet({{1, 7}, "VERSION=2.0.0\r\n"});
    std::uint64_t sent = 0;
    for (std::size_t size = 0; size < good.size(); ++size) {
        say(good.substr(0, size), {client.address, static_cast<std::uint16_t>(1000 + size)});
        sent += size > 0 ? 1 : 0;
    }
    for (const auto& datagram : {std::string(60, '\x60'), std::string(4096, '\xff'),
                                 std::string(4097, '\xf0'), std::string("\xf0")}) {
        say(datagram);
        sent += datagram.size() <= 4096 ? 1 : 0;
    }
    ASSERT_TRUE(run_until(context, [&] { return server->listener->status().relayed == sent; }));
    EXPECT_EQ(endpoint->relay.counters().oversize, 2u) << "the empty one and the huge one";
    EXPECT_GT(server->listener->status().counters.not_signalling, 5u);
    test::run_ready(context);
    for (const auto& [peer, reply] : plane.sent) EXPECT_LT(reply.size(), 250u);
    log_in();
}

// RFC 5572 s8, as for whoever comes without a relay.
TEST_F(RelayTest, LimitsHoldForTheRelayedPeersOwnPrefix) {
    for (std::uint16_t i = 1; i <= 200; ++i) {
        say(tsp::encode_udp_packet({{1, 7}, "VERSION=2.0.0\r\n"}), {client.address, i});
    }
    ASSERT_TRUE(run_until(context, [&] { return server->listener->status().relayed == 200; }));
    EXPECT_LE(server->listener->status().exchanges, 32u) << "sessions of one address";
    EXPECT_LE(server->service.open_sessions.size(), 32u);
}

TEST_F(RelayTest, WhatComesFasterThanItIsTakenIsDroppedAndCounted) {
    const auto datagram = tsp::encode_udp_packet({{1, 7}, "VERSION=2.0.0\r\n"});
    for (std::size_t i = 0; i < tep::Relay::waiting_max + 44; ++i) say(datagram);
    EXPECT_EQ(endpoint->relay.counters().overrun, 44u);
    ASSERT_TRUE(run_until(context, [&] {
        return endpoint->relay.counters().relayed == tep::Relay::waiting_max;
    }));
    // The address that said all this has had its share of replies for now; another has not.
    log_in({*parse_ip_address("203.0.113.1"), 5});
}

TEST_F(RelayTest, OnePrefixHasItsShareAndOthersHaveTheirs) {
    tep::Relay relay(context, clock, {1, 3});
    relay.set_links(endpoint->control.links());
    for (int i = 0; i < 10; ++i) relay.hand_over(client, bytes_of("\xf0"));
    relay.hand_over({*parse_ip_address("203.0.113.1"), 1}, bytes_of("\xf0"));
    test::run_ready(context);
    EXPECT_GE(relay.counters().limited, 6u);
    EXPECT_GE(relay.counters().relayed, 4u);
}

// However much there is to relay, an install waits for a bounded part of it only.
TEST_F(RelayTest, ABusyLinkTakesNoMoreDatagramsButStillInstalls) {
    const std::string datagram(4000, 'x');
    int taken = 0;
    while (server->links.relay("tep1", client, datagram) && taken < 1000) ++taken;
    EXPECT_GT(taken, 5);
    EXPECT_LT(taken, 50);
    std::optional<Result<void>> installed;
    auto spec = test::tunnel("192.0.2.7");
    spec.expires_at = clock.wall() + std::chrono::hours(1);
    server->links.install("tep1", spec, [&](Result<void> outcome) { installed = outcome; });
    EXPECT_TRUE(run_until(context, [&] { return installed.has_value(); }));
    EXPECT_TRUE(installed && *installed);
    EXPECT_FALSE(server->links.relay("tep9", client, datagram));
}

TEST_F(RelayTest, WithoutAServerDatagramsAreDroppedAndCounted) {
    server.reset();
    ASSERT_TRUE(run_until(context, [&] { return !endpoint->is_up(); }));
    say("\xf0");
    test::run_ready(context);
    EXPECT_EQ(endpoint->relay.counters().no_server, 1u);
}

TEST_F(RelayTest, APeerStaysWithItsServerAsLongAsThatIsThere) {
    const auto second_path = directory / "second.sock";
    auto config = test::endpoint_config(tep::UnixServer{path});
    config.servers.push_back(tep::UnixServer{second_path});
    endpoint.reset();
    endpoint.emplace(context, clock, config, plane);
    ASSERT_TRUE(run_until(context, [&] { return endpoint->is_up(); }));
    std::vector<IpEndpoint> peers;
    for (std::uint16_t i = 1; i <= 20; ++i) peers.push_back({client.address, i});
    for (const auto& peer : peers) log_in(peer);
    ASSERT_EQ(server->service.open_sessions.size(), 20u);

    // Another one comes: who is in a dialogue stays, newcomers are spread.
    OneServer second(context, clock, second_path, "dstm2");
    ASSERT_TRUE(run_until(context, [&] { return endpoint->control.links()[1]->is_up(); }));
    for (const auto& peer : peers) {
        EXPECT_TRUE(ask(3, framed(create_xml), peer).starts_with("Content-length: "));
    }
    EXPECT_TRUE(second.service.open_sessions.empty());
    for (std::uint16_t i = 101; i <= 110; ++i) log_in({client.address, i});
    EXPECT_EQ(second.service.open_sessions.size() + server->service.open_sessions.size(), 30u);
    EXPECT_FALSE(second.service.open_sessions.empty());

    // The first goes: its peers begin anew with the other.
    server.reset();
    ASSERT_TRUE(run_until(context, [&] { return !endpoint->is_up(); }));
    log_in(peers[0]);
}

}  // namespace
}  // namespace dstm::server
