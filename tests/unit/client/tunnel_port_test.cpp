// v6udpv4: one UDP socket for signalling and data (RFC 5572 s4.5.2, B5, B22). The test stands where
// the data plane stands: it holds a duplicate of the socket and reads it.
#include <gtest/gtest.h>

#include <sys/socket.h>

#include "client/net/signalling.hpp"
#include "common/io/real_clock.hpp"
#include "common/io/timer.hpp"
#include "udp_script.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

const std::string offer_v6udpv4 =
    framed("200 Success\r\n<tunnel action=\"info\" type=\"v6udpv4\" lifetime=\"60\"><server>"
           "<address type=\"ipv4\">127.0.0.1</address>"
           "<address type=\"ipv6\">2001:db8:100::1</address></server><client>"
           "<address type=\"ipv4\">127.0.0.1</address>"
           "<address type=\"ipv6\">2001:db8:100::7</address></client></tunnel>\r\n");

class ClientTunnelPort : public testing::Test {
protected:
    ClientTunnelPort() : server(context, asio::ip::address_v4::loopback()) {
        server.offer = offer_v6udpv4;
        SignallingConfig config;
        config.type = tsp::RequestType::v6anyv4;
        config.transport = Transport::automatic;
        config.mechanisms = {"ANONYMOUS"};
        config.udp_flush_timeout = 500ms;
        config.udp.waits = {100ms, 100ms, 100ms, 100ms};
        signalling = make_signalling(context, clock, config,
                                     [this](const Event& event) { on_event(event); });
    }

    // As the engine: on to what else there is.
    void on_event(const Event& event) {
        const auto* failure = std::get_if<SessionFailed>(&event);
        if (failure != nullptr && failure->has_others) return signalling->connect_elsewhere();
        events.push_back(event);
    }
    void ask() {
        events.clear();
        signalling->connect({"127.0.0.1", server.port()});
    }
    void send_create() {
        tsp::TunnelMessage create;
        create.type = tsp::RequestType::v6anyv4;
        create.client.emplace();
        create.client->addresses = {{tsp::AddressType::ipv4, "127.0.0.1", std::nullopt}};
        signalling->send(create);
    }
    // Authenticated, created, accepted.
    void complete_dialogue() {
        ask();
        ASSERT_TRUE(reached([&] { return first<SessionOpened>() != nullptr; }));
        send_create();
        ASSERT_TRUE(reached([&] { return first<Answered>() != nullptr; }));
        tsp::TunnelMessage accept;
        accept.action = tsp::Action::accept;
        signalling->send(accept);
        ++accepts_sent;
    }
    // As the driver does when the tunnel is installed, and later when the dialogue is idle.
    void install_and_end_dialogue() {
        auto lent = signalling->lend_socket();
        ASSERT_TRUE(lent) << lent.error().context;
        plane = std::move(*lent);
        signalling->data_plane_reads(true);
        signalling->close();
        ASSERT_TRUE(reached([&] { return server.count("\"accept\"") == accepts_sent; }));
    }
    // One turn of the data plane: what has come goes to the signalling, all of it being that.
    void carry() {
        if (!plane.is_open() || !plane_carries) return;
        std::array<char, 2048> buffer{};
        const auto size = ::recv(plane.number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size <= 0) return;
        ++carried;
        signalling->receive({Ipv4Address(0x7f000001), server.port()},
                            {buffer.data(), static_cast<std::size_t>(size)});
    }
    template <class Predicate>
    bool reached(Predicate predicate) {
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (!predicate()) {
            if (std::chrono::steady_clock::now() > end) return false;
            context.restart();
            context.run_one_for(10ms);
            carry();
        }
        return true;
    }
    template <class E>
    const E* first() const {
        for (const auto& event : events) {
            if (const auto* found = std::get_if<E>(&event)) return found;
        }
        return nullptr;
    }

    asio::io_context context;
    RealClock clock;
    UdpScript server;
    std::vector<Event> events;
    std::unique_ptr<Signalling> signalling;
    dataplane::Descriptor plane;
    bool plane_carries = true;
    int carried = 0;
    int accepts_sent = 0;
};

TEST_F(ClientTunnelPort, RenewalGoesThroughThePortOfTheTunnel) {
    complete_dialogue();
    const auto local = first<SessionOpened>()->local;
    EXPECT_EQ(local.port, server.peers.front().port());
    install_and_end_dialogue();
    complete_dialogue();
    EXPECT_EQ(first<SessionOpened>()->local, local);
    EXPECT_GE(carried, 3) << "the data plane brings what the server says";
    for (const auto& peer : server.peers) EXPECT_EQ(peer.port(), local.port);
}

TEST_F(ClientTunnelPort, OnlyTheDataPlaneReadsALentSocket) {
    complete_dialogue();
    install_and_end_dialogue();
    plane_carries = false;
    const char packet[] = {0x60, 0, 0, 0};
    for (int i = 0; i < 20; ++i) {
        server.socket().send_to(asio::buffer(packet), server.peers.front());
    }
    context.restart();
    context.run_for(50ms);
    std::array<char, 64> buffer{};
    int data = 0;
    for (;;) {
        const auto size = ::recv(plane.number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size < 0) break;
        data += size == sizeof(packet) ? 1 : 0;
    }
    EXPECT_EQ(data, 20);
}

// B6: the mapping is gone and the old port leads nowhere: a new port, the same server.
TEST_F(ClientTunnelPort, SilentPortIsReplacedByANewOne) {
    complete_dialogue();
    const auto old_port = server.peers.front().port();
    install_and_end_dialogue();
    plane_carries = false;
    complete_dialogue();
    EXPECT_NE(first<SessionOpened>()->local.port, old_port);
    auto lent = signalling->lend_socket();
    EXPECT_TRUE(lent) << "the new one is the tunnel's next";
}

TEST_F(ClientTunnelPort, SocketIsReadHereAgainWhenTheTunnelIsGone) {
    complete_dialogue();
    const auto local = first<SessionOpened>()->local;
    install_and_end_dialogue();
    plane = {};
    signalling->data_plane_reads(false);
    complete_dialogue();
    EXPECT_EQ(first<SessionOpened>()->local, local);
}

// The accept of the first dialogue is lost and repeated; the second runs through the same port.
TEST_F(ClientTunnelPort, DialogueThatStillRepeatsItsAcceptDoesNotSilenceTheNext) {
    server.silent_to = "\"accept\"";
    server.losses = 1000;
    complete_dialogue();
    const auto local = first<SessionOpened>()->local;
    install_and_end_dialogue();
    ask();
    ASSERT_TRUE(reached([&] { return first<SessionOpened>() != nullptr; }));
    EXPECT_EQ(first<SessionOpened>()->local, local);
    bool has_given_up = false;  // the first, after udp_flush_timeout
    io::Timer timer(context);
    timer.after(600ms, [&] { has_given_up = true; });
    ASSERT_TRUE(reached([&] { return has_given_up; }));
    send_create();
    ASSERT_TRUE(reached([&] { return events.size() > 1; }));
    EXPECT_NE(first<Answered>(), nullptr) << "the port is still heard";
}

TEST_F(ClientTunnelPort, DatagramOfAStrangerIsNotHeard) {
    complete_dialogue();
    install_and_end_dialogue();
    plane_carries = false;
    ask();
    ASSERT_TRUE(reached([&] { return server.count("VERSION") == 2; }));
    const auto packet = tsp::decode_udp_packet(server.datagrams.back());
    ASSERT_TRUE(packet);
    const auto forged =
        tsp::encode_udp_packet({packet->header, "CAPABILITY TUNNEL=V6V4 AUTH=ANONYMOUS\r\n"});
    signalling->receive({Ipv4Address(0x7f000002), server.port()}, forged);
    signalling->receive({Ipv4Address(0x7f000001), 1}, forged);
    context.restart();
    context.run_for(20ms);
    EXPECT_EQ(server.count("AUTHENTICATE"), 1);
    signalling->receive({Ipv4Address(0x7f000001), server.port()}, forged);
    EXPECT_TRUE(reached([&] { return server.count("AUTHENTICATE") == 2; }));
}

// N1: by UDP alone, also when nobody answers there and TCP would.
TEST_F(ClientTunnelPort, NothingIsAskedByTcp) {
    asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), server.port()});
    bool was_asked = false;
    acceptor.async_accept([&](const ErrorCodeOfAsio& error, auto) { was_asked = !error; });
    server.is_silent = true;
    ask();
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::unreachable);
    EXPECT_FALSE(was_asked);
}

TEST_F(ClientTunnelPort, NoDialogueNoSocketToLend) {
    EXPECT_FALSE(signalling->lend_socket());
    signalling->data_plane_reads(false);
    signalling->receive({Ipv4Address(0x7f000001), 1}, "x");
}

}  // namespace
}  // namespace dstm::client
