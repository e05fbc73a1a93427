// Malformed, truncated, oversized and out-of-order messages: the right code, framed as the phase
// demands, one violation, and the session closes.
#include <gtest/gtest.h>

#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp {
namespace {

using namespace std::string_literals;
using script::at;
using script::Lines;

// Plays well-formed messages first, then the bad one.
Lines after(std::string_view good, std::string_view bad,
            ServerSessionConfig config = script::all_mechanisms()) {
    ServerSession session(std::move(config), at(0));
    Lines lines;
    const auto play = [&](std::string_view bytes) {
        lines.clear();
        auto actions = session.handle(BytesReceived{bytes}, at(0));
        while (!actions.empty()) {
            const auto more = script::shown(actions);
            lines.insert(lines.end(), more.begin(), more.end());
            const auto last = std::move(actions.back());
            actions.clear();
            if (std::holds_alternative<StartAuthentication>(last)) {
                actions = session.handle(script::success(), at(0));
            }
        }
    };
    play(good);
    EXPECT_FALSE(session.is_closed());
    play(bad);
    EXPECT_TRUE(session.is_closed()) << bad;
    return lines;
}

constexpr auto version = "VERSION=2.0.0\r\n";
constexpr auto authenticated = "VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n";
constexpr auto format_text = "Invalid request format or specified length";

Lines bare(std::string what, std::string status = "500 "s + format_text) {
    return {"ReportViolation " + what, "Send " + status + "\\r\\n", "Close"};
}
Lines in_frame(std::string what, std::string status = "500 "s + format_text) {
    return {"ReportViolation " + what, script::send_framed(status + "\r\n"), "Close"};
}

TEST(ServerSessionRefusal, OtherVersionsGet302) {
    for (const auto* other : {"1.0", "1.0.1", "2.0", "2.0.", "2.1.0", "3.0.0", "2.0.x", "2.0.0a",
                              "", "2.0.123456", "2.0.-1"}) {
        EXPECT_EQ(after("", "VERSION="s + other + "\r\n"),
                  bare("version is not supported: "s + other, "302 Unsupported client version"));
    }
}

TEST(ServerSessionRefusal, AnythingButVersionFirstGets500Bare) {
    for (const auto& first :
         {"AUTHENTICATE ANONYMOUS\r\n"s, "\r\n"s, "GET / HTTP/1.1\r\n"s, "Content-length: 35\r\n"s,
          "version=2.0.0\r\n"s, "\0\r\n"s, "\x16\x03\x01\x02\n"s}) {
        EXPECT_EQ(after("", first), bare("expected VERSION")) << first;
    }
}

TEST(ServerSessionRefusal, LineOverTheLimitGets500BeforeItEnds) {
    const std::string limit(4096, 'x');
    EXPECT_EQ(after("", limit + "x"), bare("line is longer than 4096 bytes"));
    EXPECT_EQ(after(version, limit + "x"), bare("line is longer than 4096 bytes"));
    EXPECT_EQ(after("VERSION=2.0.0\r\nAUTHENTICATE SCRAM-SHA-256\r\n", std::string(4097, 'A')),
              bare("line is longer than 4096 bytes"));
    EXPECT_EQ(after(authenticated, limit + "x"), in_frame("line is longer than 4096 bytes"));
}

TEST(ServerSessionRefusal, OutOfOrderBeforeAuthenticationGets500Bare) {
    EXPECT_EQ(after(version, version), bare("expected AUTHENTICATE"));
    EXPECT_EQ(after(version, script::create_v4v6()), bare("expected AUTHENTICATE"));
    EXPECT_EQ(after(version, "AUTHENTICATE\r\n"), bare("expected AUTHENTICATE"));
    EXPECT_EQ(after(version, "AUTHENTICATE \r\n"), bare("AUTHENTICATE names no mechanism"));
}

TEST(ServerSessionRefusal, MechanismThatIsNotOfferedGets300) {
    for (const auto* name : {"GSSAPI", "PASSDSS-3DES-1", "X"}) {
        EXPECT_EQ(after(version, "AUTHENTICATE "s + name + "\r\n"),
                  bare("mechanism is not offered", "300 Authentication failed"));
    }
}

TEST(ServerSessionRefusal, BadBase64Gets500Bare) {
    const auto mechanism = "VERSION=2.0.0\r\nAUTHENTICATE SCRAM-SHA-256\r\n";
    for (const auto& line :
         {"%%%\r\n"s, "abc\r\n"s, "a b=\r\n"s, "ab\0=\r\n"s, "VERSION=2.0.0\r\n"s}) {
        EXPECT_EQ(after(mechanism, line), bare("SASL line is not base64")) << line;
    }
    EXPECT_EQ(after(version, "AUTHENTICATE SCRAM-SHA-256 abc\r\n"),
              bare("SASL line is not base64"));
    EXPECT_EQ(after("VERSION=2.0.0\r\nAUTHENTICATE PLAIN\r\n", "a\0b\0c\0d\r\n"s),
              bare("PLAIN message is malformed"));
}

TEST(ServerSessionRefusal, SaslWithoutEndGets300) {
    ServerSession session(script::all_mechanisms(), at(0));
    static_cast<void>(session.handle(
        BytesReceived{"VERSION=2.0.0\r\nAUTHENTICATE SCRAM-SHA-256 YQ==\r\n"}, at(0)));
    for (std::size_t step = 1; step < ServerSessionLimits{}.authentication_steps_max; ++step) {
        static_cast<void>(session.handle(script::challenge("x"), at(0)));
        ASSERT_EQ(script::shown(session.handle(BytesReceived{"YQ==\r\n"}, at(0))),
                  Lines{"ContinueAuthentication [a]"});
    }
    static_cast<void>(session.handle(script::challenge("x"), at(0)));
    EXPECT_EQ(script::shown(session.handle(BytesReceived{"YQ==\r\n"}, at(0))),
              bare("too many authentication steps", "300 Authentication failed"));
}

TEST(ServerSessionRefusal, FloodDuringAnAuthenticationStepGets500) {
    ServerSession session(script::all_mechanisms(), at(0));
    static_cast<void>(session.handle(BytesReceived{authenticated}, at(0)));
    const std::string flood(1000, 'x');
    Lines lines;
    int portions = 0;
    for (; lines.empty() && portions < 100; ++portions) {
        lines = script::shown(session.handle(BytesReceived{flood}, at(0)));
    }
    EXPECT_EQ(lines, bare("too many bytes during authentication"));
    EXPECT_EQ(portions, 13) << "one line and one body may wait";
}

TEST(ServerSessionRefusal, BadHeaderGets500Framed) {
    EXPECT_EQ(after(authenticated, "<tunnel action=\"create\">\r\n"),
              in_frame("expected a Content-length line"));
    EXPECT_EQ(after(authenticated, "VERSION=2.0.0\r\n"),
              in_frame("expected a Content-length line"));
    for (const auto* length : {"", "-1", "+35", "3 5", "0x23", "abc"}) {
        EXPECT_EQ(after(authenticated, "Content-length: "s + length + "\r\n"),
                  in_frame("Content-length is not a number"));
    }
    for (const auto* length : {"8193", "99999999999999999999", "18446744073709551617"}) {
        EXPECT_EQ(after(authenticated, "Content-length: "s + length + "\r\n"),
                  in_frame("Content-length is over the limit of 8192"));
    }
}

TEST(ServerSessionRefusal, BodyOfTheLimitIsReadAndOneMoreByteIsNot) {
    const auto padded = [](std::size_t size) {
        auto xml = "<tunnel action=\"info\"></tunnel>"s;
        xml.resize(size, ' ');
        return script::framed(xml);
    };
    ServerSession session(script::all_mechanisms(), at(0));
    static_cast<void>(session.handle(BytesReceived{authenticated}, at(0)));
    static_cast<void>(session.handle(script::success(), at(0)));
    EXPECT_EQ(script::shown(session.handle(BytesReceived{padded(8192)}, at(0))),
              Lines{"RequestTunnel info"});
    EXPECT_EQ(after(authenticated, padded(8193)),
              in_frame("Content-length is over the limit of 8192"));
}

TEST(ServerSessionRefusal, BadXmlGets500Framed) {
    EXPECT_EQ(after(authenticated, "Content-length: 0\r\n"), in_frame("XML is empty"));
    EXPECT_EQ(after(authenticated, script::framed("hello")),
              in_frame("XML is not well-formed at 1:1"));
    EXPECT_EQ(after(authenticated, script::framed("<!DOCTYPE tunnel><tunnel action=\"info\"/>")),
              in_frame("XML has a DTD"));
    EXPECT_EQ(after(authenticated, script::framed("<tunnel action=\"accept\"/>\0"s)),
              in_frame("XML has a NUL"));
    EXPECT_EQ(after(authenticated, script::framed("<tunnel action=\"info\">\r\n")).size(), 3u);
}

TEST(ServerSessionRefusal, WrongOrMissingActionGets500Framed) {
    EXPECT_EQ(after(authenticated, script::command("type=\"v4v6\"")),
              in_frame("attribute action is missing"));
    EXPECT_EQ(after(authenticated, script::command("action=\"destroy\" type=\"v4v6\"")),
              in_frame("attribute action is unknown"));
    EXPECT_EQ(after(authenticated, script::command("action=\"list\" type=\"broker\"")),
              in_frame("action list is not a client's"));
}

TEST(ServerSessionRefusal, CreateThatLacksSomethingGets500Framed) {
    EXPECT_EQ(after(authenticated,
                    script::framed("<tunnel action=\"create\"><client><address type=\"ipv6\">::1"
                                   "</address></client></tunnel>")),
              in_frame("create without a type"));
    for (const auto* inner : {"", "<client/>", "<client><keepalive interval=\"30\"/></client>"}) {
        EXPECT_EQ(after(authenticated, script::framed("<tunnel action=\"create\" type=\"v4v6\">"s +
                                                      inner + "</tunnel>")),
                  in_frame("create without a client address"));
    }
}

TEST(ServerSessionRefusal, UnknownTunnelTypeGets303Framed) {
    for (const auto* action : {"create", "info", "delete"}) {
        for (const auto* type : {"v6v6", "", "V4V6", "broker", "v4v6 "}) {
            EXPECT_EQ(after(authenticated,
                            script::command("action=\""s + action + "\" type=\"" + type + "\"")),
                      in_frame("unknown tunnel type", "303 Unsupported tunnel type"));
        }
    }
}

TEST(ServerSessionRefusal, AcceptOrRejectWithoutAnOfferGets500Framed) {
    for (const auto& confirmation : {script::accept(), script::reject()}) {
        EXPECT_EQ(after(authenticated, confirmation),
                  in_frame("accept or reject without an offer"));
        EXPECT_EQ(after(authenticated + script::create_v4v6(), confirmation),
                  in_frame("accept or reject without an offer"))
            << "the request still runs";
    }
}

TEST(ServerSessionRefusal, BadMessageAfterTheOfferDeclinesIt) {
    ServerSession session(script::all_mechanisms(), at(0));
    static_cast<void>(session.handle(BytesReceived{authenticated}, at(0)));
    static_cast<void>(session.handle(script::success(), at(0)));
    static_cast<void>(session.handle(BytesReceived{script::create_v4v6()}, at(0)));
    static_cast<void>(session.handle(script::tunnel_granted(), at(0)));
    Lines expected{"DeclineTunnel"};
    for (const auto& line : in_frame("attribute action is unknown")) expected.push_back(line);
    EXPECT_EQ(
        script::shown(session.handle(BytesReceived{script::command("action=\"agree\"")}, at(0))),
        expected);
}

TEST(ServerSessionRefusal, SecondAcceptGets500) {
    ServerSession session(script::all_mechanisms(), at(0));
    static_cast<void>(session.handle(BytesReceived{authenticated}, at(0)));
    static_cast<void>(session.handle(script::success(), at(0)));
    static_cast<void>(session.handle(BytesReceived{script::create_v4v6()}, at(0)));
    static_cast<void>(session.handle(script::tunnel_granted(), at(0)));
    EXPECT_EQ(script::shown(session.handle(BytesReceived{script::accept()}, at(0))),
              Lines{"ConfirmTunnel"});
    EXPECT_EQ(script::shown(session.handle(BytesReceived{script::accept()}, at(0))),
              in_frame("accept or reject without an offer"));
}

TEST(ServerSessionRefusal, TooManyCommandsGet530) {
    auto config = script::all_mechanisms();
    config.limits.commands_max = 3;
    ServerSession session(config, at(0));
    static_cast<void>(session.handle(BytesReceived{authenticated}, at(0)));
    static_cast<void>(session.handle(script::success(), at(0)));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(
            script::shown(session.handle(BytesReceived{script::command("action=\"info\"")}, at(0))),
            Lines{"RequestTunnel info"});
        static_cast<void>(session.handle(script::tunnel_granted(), at(0)));
    }
    EXPECT_EQ(script::shown(session.handle(BytesReceived{script::accept()}, at(0))),
              in_frame("too many commands in one session", "530 Server too busy"));
}

TEST(ServerSessionRefusal, ViolationsHoldNoSecrets) {
    const auto lines =
        after("VERSION=2.0.0\r\nAUTHENTICATE PLAIN\r\n", "hunter2\0hunter2\0hunter2\0hunter2\r\n"s);
    for (const auto& line : lines) EXPECT_EQ(line.find("hunter2"), std::string::npos) << line;
}

}  // namespace
}  // namespace dstm::tsp
