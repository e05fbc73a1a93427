// What a well-behaved client may do, and how time ends a session.
#include <gtest/gtest.h>

#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp {
namespace {

using namespace std::string_literals;
using script::at;
using script::Lines;

class ServerSessionTest : public ::testing::Test {
protected:
    Lines receive(std::string_view bytes, std::int64_t seconds = 0) {
        return script::shown(session.handle(BytesReceived{bytes}, at(seconds)));
    }
    Lines feed(const script::Step::Event& event, std::int64_t seconds = 0) {
        return script::shown(script::feed(session, event, at(seconds)));
    }
    Lines pass_to(std::int64_t seconds) {
        return script::shown(session.handle(TimePassed{}, at(seconds)));
    }
    // Each leads to a phase, at second 0.
    void to_mechanism() { EXPECT_EQ(receive("VERSION=2.0.0\r\n").size(), 1u); }
    void to_command() {
        to_mechanism();
        EXPECT_EQ(receive("AUTHENTICATE ANONYMOUS\r\n").size(), 1u);
        EXPECT_EQ(feed(script::success()).size(), 1u);
    }
    void to_request() {
        to_command();
        EXPECT_EQ(receive(script::create_v4v6()).size(), 1u);
    }
    void to_offered() {
        to_request();
        EXPECT_EQ(feed(script::tunnel_granted()), Lines{script::tunnel_granted_reply()});
    }

    ServerSession session{script::all_mechanisms(), at(0)};
    const std::string too_slow = "500 Invalid request format or specified length\r\n";
    const std::string too_slow_bare = "Send 500 Invalid request format or specified length\\r\\n";
};

TEST_F(ServerSessionTest, CapabilityNamesConcreteTypesInUpperCaseWithSingleSpaces) {
    auto config = script::all_mechanisms();
    config.tunnel_types.push_back(RequestType::v6anyv4);
    ServerSession offering(config, at(0));
    EXPECT_EQ(script::shown(offering.handle(BytesReceived{"VERSION=2.0.0\r\n"}, at(0))),
              Lines{"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS "
                    "AUTH=PLAIN AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n"});
}

TEST_F(ServerSessionTest, EveryPatchOfVersion20IsAccepted) {
    for (const auto* version : {"2.0.0", "2.0.1", "2.0.2", "2.0.17", "2.0.0  "}) {
        ServerSession fresh(script::all_mechanisms(), at(0));
        const auto lines =
            script::shown(fresh.handle(BytesReceived{"VERSION="s + version + "\r\n"}, at(0)));
        ASSERT_EQ(lines.size(), 1u) << version;
        EXPECT_TRUE(lines[0].starts_with("Send CAPABILITY ")) << version;
    }
}

TEST_F(ServerSessionTest, PlainComesRawOrAsBase64WithOrWithoutTheNulOfOldClients) {
    const auto message = "\0alice\0secret"s;
    const auto base64 = "AGFsaWNlAHNlY3JldA=="s;
    for (const auto& bytes : {message + "\r\n", "\0"s + message + "\r\n", message + "\n",
                              base64 + "\r\n", "\0"s + base64 + "\r\n"}) {
        for (const bool one_segment : {true, false}) {
            ServerSession fresh(script::all_mechanisms(), at(0));
            Lines lines;
            const auto line = "VERSION=2.0.0\r\nAUTHENTICATE PLAIN\r\n"s;
            if (one_segment) {
                lines = script::shown(fresh.handle(BytesReceived{line + bytes}, at(0)));
            } else {
                lines = script::shown(fresh.handle(BytesReceived{line}, at(0)));
                EXPECT_EQ(lines.size(), 1u) << "no challenge is sent for PLAIN";
                lines = script::shown(fresh.handle(BytesReceived{bytes}, at(0)));
            }
            EXPECT_EQ(lines.back(), "StartAuthentication PLAIN [\\0alice\\0secret]");
        }
    }
}

TEST_F(ServerSessionTest, InitialResponseMayStandBehindTheMechanism) {
    to_mechanism();
    EXPECT_EQ(receive("AUTHENTICATE SCRAM-SHA-256 Zmlyc3Q=\r\n\0"s),
              Lines{"StartAuthentication SCRAM-SHA-256 [first]"});
    EXPECT_EQ(feed(script::challenge("next")), Lines{"Send bmV4dA==\\r\\n"});
    EXPECT_EQ(receive("ZmluYWw=\r\n"), Lines{"ContinueAuthentication [final]"});
}

TEST_F(ServerSessionTest, MechanismMayBeInLowerCase) {
    to_mechanism();
    EXPECT_EQ(receive("AUTHENTICATE digest-md5\r\n"), Lines{"StartAuthentication DIGEST-MD5"});
}

TEST_F(ServerSessionTest, BytesThatComeDuringAnAuthenticationStepWaitForIt) {
    to_mechanism();
    EXPECT_EQ(receive("AUTHENTICATE ANONYMOUS\r\n" + script::create_v4v6()),
              Lines{"StartAuthentication ANONYMOUS []"});
    EXPECT_EQ(
        feed(script::success()),
        (Lines{"Send 200 Success\\r\\n", "RequestTunnel create v4v6 2001:db8:1::5 keepalive=30"}));
}

TEST_F(ServerSessionTest, AnotherCommandWhileOneRunsIsAnswered521AndTheFirstGoesOn) {
    to_request();
    const Lines in_progress{script::send_framed("521 Request already in progress\r\n")};
    EXPECT_EQ(receive(script::create_v4v6()), in_progress);
    EXPECT_EQ(receive(script::command("action=\"info\"")), in_progress);
    EXPECT_EQ(receive(script::command("action=\"delete\"")), in_progress);
    EXPECT_EQ(feed(script::tunnel_granted()), Lines{script::tunnel_granted_reply()});
    EXPECT_EQ(receive(script::accept()), Lines{"ConfirmTunnel"});
}

TEST_F(ServerSessionTest, TwoCreatesInOneSegmentAreOneRequestAnd521) {
    to_command();
    EXPECT_EQ(receive(script::create_v4v6() + script::create_v4v6()),
              (Lines{"RequestTunnel create v4v6 2001:db8:1::5 keepalive=30",
                     script::send_framed("521 Request already in progress\r\n")}));
}

// The request is in progress until the client has accepted or rejected (RFC 5572 s4.3).
TEST_F(ServerSessionTest, CreateBeforeTheAcceptOfTheFirstIsAnswered521) {
    to_offered();
    EXPECT_EQ(receive(script::create_v4v6()),
              Lines{script::send_framed("521 Request already in progress\r\n")});
    EXPECT_EQ(receive(script::accept()), Lines{"ConfirmTunnel"});
}

TEST_F(ServerSessionTest, RefusedRequestLeavesTheSessionOpen) {
    to_request();
    EXPECT_EQ(feed(TunnelAnswered{Status::no_more_tunnels, {}, "pool of alice is\r\nempty", {}}),
              Lines{script::send_framed("301 pool of alice is  empty\r\n")});
    EXPECT_EQ(receive(script::create_v4v6()).size(), 1u);
}

TEST_F(ServerSessionTest, RedirectAtTheCommandIsFramedAndCloses) {
    to_request();
    TunnelAnswered redirect = script::tunnel_refused(Status::no_more_tunnels);
    redirect.brokers = {{{{AddressType::ipv6, "2001:db8::99", {}}}}};
    EXPECT_EQ(feed(redirect),
              (Lines{script::send_framed("1301 No more tunnels available\r\n"
                                         "<tunnel action=\"list\" type=\"broker\">\r\n"
                                         "  <broker>\r\n"
                                         "    <address type=\"ipv6\">2001:db8::99</address>\r\n"
                                         "  </broker>\r\n"
                                         "</tunnel>\r\n"),
                     "Close"}));
}

TEST_F(ServerSessionTest, FailedAuthenticationIsBareAndCloses) {
    to_mechanism();
    EXPECT_EQ(receive("AUTHENTICATE ANONYMOUS\r\n").size(), 1u);
    EXPECT_EQ(feed(AuthenticationStepDone{AuthenticationStepDone::Outcome::failure, {}}),
              (Lines{"Send 300 Authentication failed\\r\\n", "Close"}));
    EXPECT_TRUE(session.is_closed());
}

TEST_F(ServerSessionTest, NothingHappensAfterClose) {
    EXPECT_EQ(receive("HELO\r\n").back(), "Close");
    EXPECT_TRUE(session.is_closed());
    EXPECT_FALSE(session.deadline());
    EXPECT_EQ(receive("VERSION=2.0.0\r\n"), Lines{});
    EXPECT_EQ(feed(script::success()), Lines{});
    EXPECT_EQ(feed(script::tunnel_granted()), Lines{});
    EXPECT_EQ(feed(PeerClosed{}), Lines{});
    EXPECT_EQ(pass_to(1'000'000), Lines{});
}

// --- the peer goes -------------------------------------------------------------------------------

TEST_F(ServerSessionTest, OfferIsDeclinedWhenThePeerGoes) {
    to_offered();
    EXPECT_EQ(feed(PeerClosed{}), (Lines{"DeclineTunnel", "Close"}));
}

TEST_F(ServerSessionTest, RequestThatRunsWhenThePeerGoesIsDeclinedOnceItIsAnswered) {
    to_request();
    EXPECT_EQ(feed(PeerClosed{}), Lines{});
    EXPECT_EQ(feed(script::tunnel_granted()),
              (Lines{script::tunnel_granted_reply(), "DeclineTunnel", "Close"}));
}

TEST_F(ServerSessionTest, TunnelThatWasAcceptedOutlivesThePeer) {
    to_offered();
    EXPECT_EQ(receive(script::accept()), Lines{"ConfirmTunnel"});
    EXPECT_EQ(feed(PeerClosed{}), Lines{"Close"});
}

TEST_F(ServerSessionTest, MessageThatIsCutOffByTheEndIsAnswered500) {
    to_command();
    EXPECT_EQ(receive("Content-length: 300\r\n<tunnel action="), Lines{});
    EXPECT_EQ(feed(PeerClosed{}), (Lines{"ReportViolation connection ended within a message",
                                         script::send_framed(too_slow), "Close"}));
}

// --- time ----------------------------------------------------------------------------------------

TEST_F(ServerSessionTest, EachPhaseHasItsTimeAndEndsBare) {
    EXPECT_EQ(session.deadline(), at(30));
    EXPECT_EQ(pass_to(29), Lines{});
    EXPECT_EQ(receive("VERSION=2.0.0\r\n", 20).size(), 1u);
    EXPECT_EQ(session.deadline(), at(50));
    EXPECT_EQ(receive("AUTHENTICATE PLAIN\r\n", 40), Lines{});
    EXPECT_EQ(session.deadline(), at(70));
    EXPECT_EQ(pass_to(69), Lines{});
    EXPECT_EQ(pass_to(70), (Lines{"ReportViolation no message in time", too_slow_bare, "Close"}));
}

TEST_F(ServerSessionTest, BytesOneByOneDoNotExtendThePhase) {
    for (int second = 0; second < 29; ++second) EXPECT_EQ(receive("V", second), Lines{});
    EXPECT_EQ(session.deadline(), at(30));
    EXPECT_EQ(pass_to(30),
              (Lines{"ReportViolation message not complete in time", too_slow_bare, "Close"}));
}

TEST_F(ServerSessionTest, ClientWithoutACommandEndsFramed) {
    to_command();
    EXPECT_EQ(session.deadline(), at(30));
    EXPECT_EQ(pass_to(30), (Lines{"ReportViolation no message in time",
                                  script::send_framed(too_slow), "Close"}));
}

TEST_F(ServerSessionTest, OwnerThatIsTooSlowWithAnAuthenticationStepIsNotThePeersFault) {
    to_mechanism();
    EXPECT_EQ(receive("AUTHENTICATE ANONYMOUS\r\n", 5).size(), 1u);
    EXPECT_EQ(session.deadline(), at(35));
    EXPECT_EQ(pass_to(35), (Lines{"Send 530 Server too busy\\r\\n", "Close"}));
    EXPECT_EQ(feed(script::success()), Lines{}) << "a late event has no effect";
}

TEST_F(ServerSessionTest, NoLimitRunsWhileTheOwnerWorksOnARequest) {
    to_request();
    EXPECT_FALSE(session.deadline());
}

TEST_F(ServerSessionTest, OfferThatIsNotAcceptedInTimeIsDeclined) {
    to_offered();
    EXPECT_EQ(session.deadline(), at(30));
    EXPECT_EQ(receive(script::create_v4v6(), 20).size(), 1u) << "521 does not extend it";
    EXPECT_EQ(pass_to(30), (Lines{"DeclineTunnel", "ReportViolation no accept in time", "Close"}));
}

TEST_F(ServerSessionTest, IdleSessionIsClosedWithoutAWord) {
    to_offered();
    EXPECT_EQ(receive(script::accept(), 10), Lines{"ConfirmTunnel"});
    EXPECT_EQ(session.deadline(), at(310));
    EXPECT_EQ(pass_to(310), Lines{"Close"});
}

TEST_F(ServerSessionTest, MessageThatStartsInIdleTimeHasThePhaseTime) {
    to_offered();
    EXPECT_EQ(receive(script::accept(), 10), Lines{"ConfirmTunnel"});
    EXPECT_EQ(receive("Content-", 309), Lines{});
    EXPECT_EQ(session.deadline(), at(339));
    EXPECT_EQ(receive("length: 10\r\n", 338), Lines{});
    EXPECT_EQ(pass_to(339), (Lines{"ReportViolation message not complete in time",
                                   script::send_framed(too_slow), "Close"}));
}

TEST_F(ServerSessionTest, IdleTimeCanBeOff) {
    auto config = script::all_mechanisms();
    config.limits.idle_timeout = Duration::zero();
    session = ServerSession(config, at(0));
    to_offered();
    EXPECT_EQ(receive(script::accept(), 10), Lines{"ConfirmTunnel"});
    EXPECT_FALSE(session.deadline());
}

}  // namespace
}  // namespace dstm::tsp
