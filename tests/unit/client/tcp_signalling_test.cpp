// The driver of sockets and SASL against a scripted server on ::1.
#include "client/net/signalling.hpp"

#include <gtest/gtest.h>

#include "client/net/tcp_dialogue.hpp"
#include "common/io/real_clock.hpp"
#include "scripted_server.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

std::string framed(const std::string& body) {
    return "Content-length: " + std::to_string(body.size()) + "\r\n" + body;
}

std::vector<Step> good_script() {
    return {
        {"VERSION=2.0.0\r\n", "CAPABILITY TUNNEL=V4V6 AUTH=PLAIN AUTH=ANONYMOUS\r\n"},
        {"AUTHENTICATE ANONYMOUS", "200 Success\r\n"},
        {"</tunnel>",
         framed("200 Success\r\n<tunnel action=\"info\" type=\"v4v6\" lifetime=\"60\"><server>"
                "<address type=\"ipv4\">192.0.2.1</address>"
                "<address type=\"ipv6\">2001:db8:2::1</address></server><client>"
                "<address type=\"ipv4\">192.0.2.7</address>"
                "<address type=\"ipv6\">::1</address></client></tunnel>\r\n")},
        {"accept", ""},
    };
}

class TcpSignallingTest : public testing::Test {
protected:
    void start(const Target& target, std::vector<std::string> mechanisms = {"ANONYMOUS"},
               Duration answer_timeout = 5s) {
        SignallingConfig config;
        config.transport = Transport::tcp;
        config.mechanisms = std::move(mechanisms);
        config.connect_timeout = 2s;
        config.session.answer_timeout = answer_timeout;
        signalling = make_signalling(context, clock, config, [this](const Event& event) {
            events.push_back(event);
            if (on_event) on_event(event);
        });
        signalling->connect(target);
    }

    // Runs until the state is reached; false when it is not within the bound.
    template <class Predicate>
    bool reached(Predicate predicate) {
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (!predicate()) {
            if (std::chrono::steady_clock::now() > end) return false;
            context.restart();
            context.run_one_for(100ms);
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

    // A whole dialogue: authenticate, create, accept.
    void drive() {
        on_event = [this](const Event& event) {
            tsp::TunnelMessage message;
            if (std::holds_alternative<SessionOpened>(event)) {
                message.type = tsp::RequestType::v4v6;
                message.client.emplace();
                message.client->addresses = {{tsp::AddressType::ipv6, "::1", std::nullopt}};
                signalling->send(message);
            } else if (std::holds_alternative<Answered>(event)) {
                message.action = tsp::Action::accept;
                signalling->send(message);
                signalling->close();
            }
        };
    }

    asio::io_context context;
    RealClock clock;
    std::vector<Event> events;
    std::function<void(const Event&)> on_event;
    std::unique_ptr<Signalling> signalling;
};

TEST_F(TcpSignallingTest, WholeDialogueAndTheAcceptArrivesBeforeTheClose) {
    ScriptedServer server(context, good_script());
    drive();
    start({"::1", server.port()});
    ASSERT_TRUE(reached([&] { return server.peer_closed; }));
    const auto* opened = first<SessionOpened>();
    ASSERT_NE(opened, nullptr);
    EXPECT_EQ(opened->local.address, IpAddress(*Ipv6Address::parse("::1")));
    EXPECT_EQ(opened->peer.port, server.port());
    const auto* answered = first<Answered>();
    ASSERT_NE(answered, nullptr);
    EXPECT_EQ(answered->status, 200);
    ASSERT_TRUE(answered->message);
    EXPECT_NE(server.received.find("action=\"accept\""), std::string::npos);
    EXPECT_EQ(events.size(), 2U) << "nothing is told after close()";
}

TEST_F(TcpSignallingTest, RepliesCutAtEveryByteAreTheSame) {
    ScriptedServer server(context, good_script());
    server.byte_by_byte = true;
    drive();
    start({"::1", server.port()});
    ASSERT_TRUE(reached([&] { return server.peer_closed; }));
    ASSERT_NE(first<Answered>(), nullptr);
    EXPECT_EQ(first<Answered>()->status, 200);
}

TEST_F(TcpSignallingTest, CloseAtEachStepIsTold) {
    for (std::size_t step = 0; step < 4; ++step) {
        events.clear();
        ScriptedServer server(context, good_script());
        server.close_at = step;
        drive();
        start({"::1", server.port()});
        ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; })) << step;
        EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::lost) << step;
        EXPECT_EQ(first<Answered>(), nullptr) << step;
        EXPECT_EQ(first<SessionOpened>() != nullptr, step == 3) << step;
        signalling.reset();
    }
}

TEST_F(TcpSignallingTest, SilenceAtEachStepEndsInTime) {
    for (std::size_t step = 1; step < 4; ++step) {
        events.clear();
        ScriptedServer server(context, good_script());
        server.stall_at = step;
        drive();
        start({"::1", server.port()}, {"ANONYMOUS"}, 100ms);
        ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; })) << step;
        EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::lost) << step;
        ASSERT_TRUE(reached([&] { return server.peer_closed; })) << step;
        signalling.reset();
    }
}

TEST_F(TcpSignallingTest, RefusalCarriesStatusAndText) {
    ScriptedServer server(context, {{"VERSION", "302 Unsupported client version\r\n"}});
    start({"::1", server.port()});
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::refused);
    EXPECT_EQ(first<SessionFailed>()->status, 302);
}

TEST_F(TcpSignallingTest, RedirectCarriesTheBrokers) {
    ScriptedServer server(
        context, {{"VERSION",
                   "1302 Unsupported client version\r\n<tunnel action=\"list\" type=\"broker\">"
                   "<broker><address type=\"dn\">ts1.example</address></broker></tunnel>\r\n"}});
    start({"::1", server.port()});
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    ASSERT_EQ(first<SessionFailed>()->brokers.size(), 1U);
    EXPECT_EQ(first<SessionFailed>()->brokers[0].addresses[0].text, "ts1.example");
}

TEST_F(TcpSignallingTest, NoMechanismInCommonIsOurOwnRefusal) {
    ScriptedServer server(context, {{"VERSION", "CAPABILITY TUNNEL=V4V6 AUTH=PLAIN\r\n"}});
    start({"::1", server.port()}, {"SCRAM-SHA-256"});
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::local);
    EXPECT_NE(first<SessionFailed>()->text.find("offers PLAIN"), std::string::npos);
    ASSERT_TRUE(reached([&] { return server.peer_closed; }));
    EXPECT_EQ(server.received.find("AUTHENTICATE"), std::string::npos);
}

TEST_F(TcpSignallingTest, GarbageEndsTheDialogue) {
    for (const auto& garbage : {std::string("HELLO\r\n"), std::string(20000, 'x'),
                                std::string("\0\xff\r\n", 4)}) {
        events.clear();
        ScriptedServer server(context, {{"VERSION", garbage}});
        start({"::1", server.port()});
        ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
        EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::lost);
        signalling.reset();
    }
}

TEST_F(TcpSignallingTest, ClosedPortAndUnknownNameAreUnreachable) {
    std::uint16_t port = 0;
    {
        ScriptedServer gone(context, {});
        port = gone.port();
    }
    start({"::1", port});
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::unreachable);
    EXPECT_NE(first<SessionFailed>()->text.find("Connection refused"), std::string::npos);

    events.clear();
    signalling->connect({"127.0.0.1", port});
    ASSERT_TRUE(reached([&] { return first<SessionFailed>() != nullptr; }));
    EXPECT_NE(first<SessionFailed>()->text.find("no IPv6 address"), std::string::npos);
}

TEST_F(TcpSignallingTest, CloseInTheMiddleTellsNothing) {
    ScriptedServer server(context, good_script());
    server.stall_at = 1;
    start({"::1", server.port()});
    ASSERT_TRUE(reached([&] { return server.step == 1; }));
    signalling->close();
    ASSERT_TRUE(reached([&] { return server.peer_closed; }));
    EXPECT_TRUE(events.empty());
}

TEST_F(TcpSignallingTest, SourceTowardsAPeerIsTheKernelsChoice) {
    start({"::1", 1});
    EXPECT_EQ(signalling->source_towards({*Ipv6Address::parse("::1"), 3653}),
              parse_ip_address("::1"));
    EXPECT_EQ(signalling->source_towards({*Ipv4Address::parse("127.0.0.1"), 3653}),
              parse_ip_address("127.0.0.1"));
}

TEST_F(TcpSignallingTest, AuthenticationThatCannotBeginNowMayBeginLater) {
    ScriptedServer server(context, good_script());
    Errands none(context, 0);
    PreparedSasl prepared;
    SignallingConfig config;
    config.mechanisms = {"ANONYMOUS"};
    const auto addresses =
        std::make_shared<ServerAddresses>(Target{"::1", server.port()}, Family::ipv6, 1);
    const auto dialogue = std::make_shared<TcpDialogue>(
        Dialogue::Surroundings{context, none, prepared, clock}, config, addresses,
        [this](const Event& event) { events.push_back(event); });
    dialogue->start();
    ASSERT_TRUE(reached([this] { return first<SessionFailed>() != nullptr; }));
    EXPECT_EQ(first<SessionFailed>()->cause, SessionFailed::Cause::unreachable);
}

}  // namespace
}  // namespace dstm::client
