#include "common/tsp/client_session.hpp"

#include <gtest/gtest.h>

#include "common/tsp/tunnel_xml.hpp"
#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp {
namespace {

using namespace std::string_literals;
using script::at;
using script::Lines;

TunnelMessage message_of(Action action, std::optional<RequestType> type = {}) {
    TunnelMessage message;
    message.action = action;
    message.type = type;
    return message;
}

class ClientSessionTest : public ::testing::Test {
protected:
    Lines receive(std::string_view bytes, std::int64_t seconds = 0) {
        return script::shown(session.handle(client::BytesReceived{bytes}, at(seconds)));
    }
    template <class Event>
    Lines feed(const Event& event, std::int64_t seconds = 0) {
        return script::shown(session.handle(event, at(seconds)));
    }
    void to_choosing() {
        EXPECT_EQ(feed(client::Connected{}), Lines{"Send VERSION=2.0.0\\r\\n"});
        EXPECT_EQ(receive("CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS AUTH=DIGEST-MD5\r\n"),
                  Lines{"ChooseMechanism ANONYMOUS DIGEST-MD5 v4v6"});
    }
    void to_ready() {
        to_choosing();
        EXPECT_EQ(feed(client::MechanismChosen{"ANONYMOUS", {}}),
                  Lines{"Send AUTHENTICATE ANONYMOUS\\r\\n"});
        EXPECT_EQ(receive("200 Success\r\n"), Lines{"Authenticated"});
        EXPECT_TRUE(session.is_ready());
    }
    void to_answer(Action action = Action::create) {
        to_ready();
        EXPECT_EQ(feed(client::CommandChosen{message_of(action, RequestType::v4v6)}).size(), 1u);
    }

    ClientSession session{{}};
    const std::string info = write_tunnel_xml(*script::tunnel_granted().message);
};

TEST_F(ClientSessionTest, CapabilityIsReadLiberally) {
    EXPECT_EQ(feed(client::Connected{}), Lines{"Send VERSION=2.0.0\\r\\n"});
    EXPECT_EQ(receive("CAPABILITY  TUNNEL=v6anyv4\tTUNNEL=V4V6 TUNNEL=IPSEC TUNNEL=BROKER X=1 FOO "
                      "AUTH= AUTH=plain AUTH=PASSDSS-3DES-1 \n"),
              Lines{"ChooseMechanism PLAIN PASSDSS-3DES-1 v6anyv4 v4v6"});
}

TEST_F(ClientSessionTest, NothingThatFitsClosesTheSession) {
    to_choosing();
    EXPECT_EQ(feed(client::MechanismChosen{"", {}}), Lines{"Close"});
    EXPECT_TRUE(session.is_closed());
}

TEST_F(ClientSessionTest, MechanismsOpenAsDeployedServersExpect) {
    const auto opening = [](client::MechanismChosen choice) {
        ClientSession fresh{{}};
        static_cast<void>(fresh.handle(client::Connected{}, at(0)));
        static_cast<void>(fresh.handle(client::BytesReceived{"CAPABILITY AUTH=X\r\n"}, at(0)));
        return script::shown(fresh.handle(choice, at(0)));
    };
    EXPECT_EQ(opening({"PLAIN", "\0alice\0secret"s}),
              Lines{"Send AUTHENTICATE PLAIN\\r\\n\\0alice\\0secret\\r\\n"});
    EXPECT_EQ(opening({"ANONYMOUS", "trace"}), Lines{"Send AUTHENTICATE ANONYMOUS\\r\\n"});
    EXPECT_EQ(opening({"DIGEST-MD5", "x"}), Lines{"Send AUTHENTICATE DIGEST-MD5\\r\\n"});
    EXPECT_EQ(opening({"SCRAM-SHA-256", "n,,n=a,r=b"}),
              Lines{"Send AUTHENTICATE SCRAM-SHA-256 biwsbj1hLHI9Yg==\\r\\n"});
    EXPECT_EQ(opening({"EXTERNAL", ""}), Lines{"Send AUTHENTICATE EXTERNAL =\\r\\n"});
}

TEST_F(ClientSessionTest, DigestProofAndStatusMayComeInOneSegment) {
    to_choosing();
    EXPECT_EQ(feed(client::MechanismChosen{"DIGEST-MD5", {}}).size(), 1u);
    EXPECT_EQ(receive("bm9uY2U=\r\n"), Lines{"ContinueAuthentication [nonce]"});
    EXPECT_FALSE(session.deadline()) << "the owner works";
    EXPECT_EQ(feed(client::AuthenticationStepDone{false, "response"}),
              Lines{"Send cmVzcG9uc2U=\\r\\n"});
    EXPECT_EQ(receive("cnNwYXV0aA==\r\n200 Success\r\n"),
              Lines{"ContinueAuthentication [rspauth] final"});
    EXPECT_EQ(feed(client::AuthenticationStepDone{false, "ignored"}), Lines{"Authenticated"});
}

TEST_F(ClientSessionTest, ServerThatCannotProveItselfIsLeft) {
    to_choosing();
    EXPECT_EQ(feed(client::MechanismChosen{"DIGEST-MD5", {}}).size(), 1u);
    EXPECT_EQ(receive("bm9uY2U=\r\n").size(), 1u);
    EXPECT_EQ(feed(client::AuthenticationStepDone{false, "response"}).size(), 1u);
    EXPECT_EQ(receive("cnNwYXV0aA==\r\n").size(), 1u);
    EXPECT_EQ(feed(client::AuthenticationStepDone{true, {}}),
              (Lines{"Failed malformed 0 server did not prove that it knows the secret", "Close"}));
}

TEST_F(ClientSessionTest, ServerThatSkipsItsProofIsLeft) {
    to_choosing();
    EXPECT_EQ(feed(client::MechanismChosen{"DIGEST-MD5", {}}).size(), 1u);
    EXPECT_EQ(receive("200 Success\r\n"),
              (Lines{"Failed malformed 0 server did not prove that it knows the secret", "Close"}));
}

TEST_F(ClientSessionTest, RefusalsCarryCodeAndText) {
    to_choosing();
    EXPECT_EQ(feed(client::MechanismChosen{"ANONYMOUS", {}}).size(), 1u);
    EXPECT_EQ(receive("300 Authentication failed\r\n"),
              (Lines{"Failed refused 300 Authentication failed", "Close"}));
    EXPECT_EQ(receive("200 Success\r\n"), Lines{}) << "nothing follows Close";
}

// Figure 9.
TEST_F(ClientSessionTest, BareRedirectIsReadToItsEnd) {
    const auto list = R"(1302 Unsupported client version
<tunnel action="list" type="broker">
   <broker>
      <address type="ipv4">1.2.3.4</address>
   </broker>
   <broker>
      <address type="dn">ts1.isp1.com</address>
   </broker>
</tunnel>)"s;
    for (std::size_t cut = 0; cut < list.size(); ++cut) {
        session = ClientSession({});
        static_cast<void>(session.handle(client::Connected{}, at(0)));
        EXPECT_EQ(receive(std::string_view(list).substr(0, cut)), Lines{});
        EXPECT_EQ(
            receive(std::string_view(list).substr(cut)),
            (Lines{"Failed refused 302 Unsupported client version 1.2.3.4 ts1.isp1.com", "Close"}));
    }
}

TEST_F(ClientSessionTest, RedirectWithoutItsListIsStillARefusal) {
    const Lines expected{"Failed refused 302 Unsupported client version", "Close"};
    static_cast<void>(session.handle(client::Connected{}, at(0)));
    EXPECT_EQ(receive("1302 Unsupported client version\r\n<tunnel "), Lines{});
    auto copy = session;
    EXPECT_EQ(script::shown(copy.handle(client::PeerClosed{}, at(1))), expected);
    EXPECT_EQ(feed(client::TimePassed{}, 10), expected);
}

TEST_F(ClientSessionTest, CommandsAreFramedAndAnswered) {
    to_ready();
    auto create = message_of(Action::create, RequestType::v4v6);
    create.client = Party{{{AddressType::ipv6, "2001:db8::1", {}}}, {}, {}, {}};
    EXPECT_EQ(feed(client::CommandChosen{create}),
              Lines{script::send_framed("<tunnel action=\"create\" type=\"v4v6\">\r\n  <client>\r\n"
                                        "    <address type=\"ipv6\">2001:db8::1</address>\r\n"
                                        "  </client>\r\n</tunnel>\r\n")});
    EXPECT_EQ(receive(script::framed("200 Success\r\n" + info)),
              Lines{"CommandAnswered 200 Success info v4v6 192.0.2.1 2001:db8::1"});
    EXPECT_EQ(feed(client::CommandChosen{message_of(Action::accept)}),
              Lines{"Send Content-length: 35\\r\\n<tunnel action=\"accept\"></tunnel>\\r\\n"});
    EXPECT_TRUE(session.is_ready());
    EXPECT_EQ(feed(client::CommandChosen{message_of(Action::delete_tunnel)}).size(), 1u);
    EXPECT_EQ(receive(script::framed("200 OK\r\n")), Lines{"CommandAnswered 200 OK"});
}

TEST_F(ClientSessionTest, RefusedCommandLeavesTheSessionReady) {
    to_answer();
    EXPECT_EQ(receive(script::framed("530 Server too busy\r\n")),
              Lines{"CommandAnswered 530 Server too busy"});
    EXPECT_TRUE(session.is_ready());
}

TEST_F(ClientSessionTest, RedirectedCommandNamesBrokers) {
    to_answer();
    EXPECT_EQ(receive(script::framed("1530 Server too busy\r\n<tunnel action=\"list\" "
                                     "type=\"broker\"><broker><address type=\"ipv6\">2001:db8::9"
                                     "</address></broker></tunnel>\r\n")),
              Lines{"CommandAnswered 530 Server too busy 2001:db8::9"});
}

TEST_F(ClientSessionTest, LateAnswerToARejectIsNotTheNextAnswer) {
    to_ready();
    for (const auto next : {Action::create, Action::delete_tunnel}) {
        EXPECT_EQ(feed(client::CommandChosen{message_of(Action::reject)}).size(), 1u);
        EXPECT_EQ(feed(client::CommandChosen{message_of(next, RequestType::v4v6)}).size(), 1u);
        EXPECT_EQ(receive(script::framed("200 Success\r\n")), Lines{});
        EXPECT_EQ(receive(script::framed("301 No more tunnels available\r\n")),
                  Lines{"CommandAnswered 301 No more tunnels available"});
    }
}

TEST_F(ClientSessionTest, MalformedAnswersFail) {
    const auto fails = [this](std::string_view bytes) {
        auto copy = session;
        const auto lines = script::shown(copy.handle(client::BytesReceived{bytes}, at(0)));
        return lines.size() == 2 && lines[0].starts_with("Failed malformed") && lines[1] == "Close";
    };
    static_cast<void>(session.handle(client::Connected{}, at(0)));
    EXPECT_TRUE(fails("hello\r\n"));
    EXPECT_TRUE(fails("200 Success\r\n"));
    EXPECT_TRUE(fails(std::string(8193, 'x')));
    session = ClientSession({});
    to_choosing();
    EXPECT_TRUE(fails(std::string(100'000, 'x'))) << "what waits for the owner is bounded";
    EXPECT_EQ(feed(client::MechanismChosen{"ANONYMOUS", {}}).size(), 1u);
    EXPECT_TRUE(fails("%%%\r\n"));
    EXPECT_EQ(receive("200 Success\r\n").size(), 1u);
    EXPECT_TRUE(fails(script::framed("200 Success\r\n" + info))) << "nobody asked";
    EXPECT_EQ(feed(client::CommandChosen{message_of(Action::create, RequestType::v4v6)}).size(),
              1u);
    EXPECT_TRUE(fails("200 Success\r\n"));
    EXPECT_TRUE(fails(script::framed("Success\r\n")));
    EXPECT_TRUE(fails(script::framed("")));
    EXPECT_TRUE(fails(script::framed("200 Success\r\n<tunnel")));
    EXPECT_TRUE(fails(script::framed("200 Success\r\n<tunnel action=\"create\" type=\"v4v6\"/>")));
    EXPECT_TRUE(fails("Content-length: 16385\r\n"));
    EXPECT_TRUE(fails("Content-length: 99999999999999999999\r\n"));
}

TEST_F(ClientSessionTest, EachAnswerHasItsTime) {
    EXPECT_FALSE(session.deadline());
    EXPECT_EQ(feed(client::Connected{}, 5).size(), 1u);
    EXPECT_EQ(session.deadline(), at(15));
    EXPECT_EQ(feed(client::TimePassed{}, 14), Lines{});
    EXPECT_EQ(feed(client::TimePassed{}, 15),
              (Lines{"Failed timed_out 0 no answer from the server in time", "Close"}));
    EXPECT_FALSE(session.deadline());
}

TEST_F(ClientSessionTest, SilenceIsAllowedBetweenCommands) {
    to_ready();
    EXPECT_FALSE(session.deadline());
}

TEST_F(ClientSessionTest, ServerThatGoesIsAFailureOnlyWhileSomethingIsAwaited) {
    to_answer();
    auto copy = session;
    EXPECT_EQ(script::shown(copy.handle(client::PeerClosed{}, at(0))),
              (Lines{"Failed closed 0 server closed the connection", "Close"}));
    EXPECT_EQ(receive(script::framed("530 Server too busy\r\n")).size(), 1u);
    EXPECT_EQ(feed(client::PeerClosed{}), Lines{"Close"});
}

}  // namespace
}  // namespace dstm::tsp
