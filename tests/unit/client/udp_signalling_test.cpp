// Signalling by UDP against a scripted peer on ::1, and the way from one transport to the other.
#include <gtest/gtest.h>

#include <array>

#include "client/net/signalling.hpp"
#include "common/io/real_clock.hpp"
#include "scripted_server.hpp"
#include "udp_script.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

class UdpSignallingTest : public testing::Test {
protected:
    void start(std::uint16_t port, Transport transport) {
        SignallingConfig config;
        config.mechanisms = {"ANONYMOUS"};
        config.transport = transport;
        config.connect_timeout = 1s;
        config.udp_flush_timeout = 500ms;
        config.udp.waits = {100ms, 100ms, 100ms, 100ms};
        config.udp.waits_on_reuse = {100ms, 100ms};
        signalling = make_signalling(context, clock, config, [this](const Event& event) {
            events.push_back(event);
            if (std::holds_alternative<SessionOpened>(event)) send_create();
            if (std::holds_alternative<Answered>(event)) send_accept();
        });
        signalling->connect({"::1", port});
    }
    void send_create() {
        tsp::TunnelMessage message;
        message.type = tsp::RequestType::v4v6;
        message.client.emplace();
        message.client->addresses = {{tsp::AddressType::ipv6, "::1", std::nullopt}};
        signalling->send(message);
    }
    void send_accept() {
        tsp::TunnelMessage message;
        message.action = tsp::Action::accept;
        signalling->send(message);
        if (closes_after_accept) signalling->close();
    }
    template <class Predicate>
    bool reached(Predicate predicate) {
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (!predicate()) {
            if (std::chrono::steady_clock::now() > end) return false;
            context.restart();
            context.run_one_for(50ms);
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
    std::vector<Event> events;
    bool closes_after_accept = true;
    std::unique_ptr<Signalling> signalling;
};

TEST_F(UdpSignallingTest, WholeDialogue) {
    UdpScript server(context);
    start(server.port(), Transport::udp);
    ASSERT_TRUE(reached([&] { return server.count("accept") == 1; }));
    const auto* opened = first<SessionOpened>();
    ASSERT_NE(opened, nullptr);
    EXPECT_EQ(opened->local.address, IpAddress(*Ipv6Address::parse("::1")));
    EXPECT_EQ(opened->peer.port, server.port());
    ASSERT_NE(first<Answered>(), nullptr);
    EXPECT_EQ(first<Answered>()->status, 200);
    EXPECT_EQ(server.datagrams.size(), 4u);
}

TEST_F(UdpSignallingTest, WhatIsLostIsSaidAgainTheAcceptToo) {
    for (const char* lost : {"VERSION", "AUTHENTICATE", "create", "accept"}) {
        SCOPED_TRACE(lost);
        events.clear();
        UdpScript server(context);
        server.silent_to = lost;
        server.losses = 1;
        start(server.port(), Transport::udp);
        // The second accept comes after close(): what is unsaid is still said.
        ASSERT_TRUE(reached([&] { return server.count(lost) == 2 && server.count("accept") > 0; }));
        EXPECT_EQ(first<SessionFailed>(), nullptr);
        signalling.reset();
    }
}

TEST_F(UdpSignallingTest, ThreeUnansweredDatagramsLeadToTcp) {
    ScriptedServer tcp(context, {{"VERSION", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n"},
                                 {"AUTHENTICATE ANONYMOUS", "200 Success\r\n"},
                                 {"</tunnel>", info},
                                 {"accept", ""}});
    asio::ip::udp::socket silent(context, {asio::ip::address_v6::loopback(), tcp.port()});
    start(tcp.port(), Transport::udp);
    ASSERT_TRUE(reached([&] { return tcp.peer_closed; }));
    EXPECT_NE(tcp.received.find("accept"), std::string::npos);
    std::array<char, 2048> buffer{};
    silent.non_blocking(true);
    int heard = 0;
    ErrorCodeOfAsio error;
    while (silent.receive(asio::buffer(buffer), 0, error) > 0 && !error) ++heard;
    EXPECT_EQ(heard, 3);
    EXPECT_EQ(first<SessionFailed>(), nullptr) << "the owner need not know";
}

TEST_F(UdpSignallingTest, AnUnreachablePortLeadsToTcpAtOnce) {
    ScriptedServer tcp(context, {{"VERSION", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n"},
                                 {"AUTHENTICATE ANONYMOUS", "200 Success\r\n"},
                                 {"</tunnel>", info},
                                 {"accept", ""}});
    const auto begin = std::chrono::steady_clock::now();
    start(tcp.port(), Transport::udp);
    ASSERT_TRUE(reached([&] { return tcp.peer_closed; }));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
    EXPECT_NE(first<Answered>(), nullptr);
}

TEST_F(UdpSignallingTest, ARefusedConnectionLeadsToUdpUnlessTcpOnlyIsAsked) {
    UdpScript server(context);
    start(server.port(), Transport::tcp);
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    EXPECT_TRUE(server.datagrams.empty());
    events.clear();
    signalling.reset();
    start(server.port(), Transport::automatic);
    ASSERT_TRUE(reached([&] { return server.count("accept") == 1; }));
    EXPECT_EQ(first<SessionFailed>(), nullptr);
}

TEST_F(UdpSignallingTest, NobodyAnywhereIsUnreachable) {
    std::uint16_t port = 0;
    {
        UdpScript gone(context);
        port = gone.port();
    }
    for (const auto transport : {Transport::automatic, Transport::udp}) {
        events.clear();
        start(port, transport);
        ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
        EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::unreachable);
        EXPECT_EQ(events.size(), 1u);
        signalling.reset();
    }
}

// Once it has spoken, a server that falls silent is lost; TCP would be a second dialogue.
TEST_F(UdpSignallingTest, SilenceAfterTheFirstReplyIsALostDialogue) {
    UdpScript server(context);
    server.silent_to = "create";
    server.losses = 1000;
    start(server.port(), Transport::udp);
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::lost);
    EXPECT_EQ(server.count("create"), 4) << "as many as there are waits";
}

// The owner hears of a lost dialogue, not of an unreachable server, and begins a new one.
TEST_F(UdpSignallingTest, ADialogueThatDiedWhileItWasIdleIsLostSoon) {
    closes_after_accept = false;
    UdpScript server(context);
    start(server.port(), Transport::udp);
    ASSERT_TRUE(reached([&] { return server.count("accept") == 1; }));
    server.silent_to = "create";
    server.losses = 1000;
    send_create();
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::lost);
    EXPECT_EQ(server.count("create"), 1 + 2) << "the first, and as many as there are waits";
}

TEST_F(UdpSignallingTest, CloseInTheMiddleTellsNothing) {
    UdpScript server(context);
    server.is_silent = true;
    start(server.port(), Transport::udp);
    ASSERT_TRUE(reached([&] { return !server.datagrams.empty(); }));
    signalling->close();
    EXPECT_TRUE(events.empty());
    context.restart();
    context.run_for(250ms);
    EXPECT_TRUE(events.empty());
    EXPECT_EQ(server.datagrams.size(), 1u) << "a VERSION need not be repeated";
}

}  // namespace
}  // namespace dstm::client
