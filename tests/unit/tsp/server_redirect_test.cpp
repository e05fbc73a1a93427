// Whom the session sends to other brokers, when, and in which form (RFC 5572 s4.7.4, Figure 9).
#include <gtest/gtest.h>

#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp {
namespace {

using script::at;
using script::Lines;

constexpr auto authenticated = "VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n";
const std::string list =
    "<tunnel action=\"list\" type=\"broker\">\r\n"
    "  <broker>\r\n"
    "    <address type=\"ipv4\">192.0.2.53</address>\r\n"
    "    <address type=\"ipv6\">2001:db8::53</address>\r\n"
    "    <address type=\"dn\">other.example</address>\r\n"
    "  </broker>\r\n"
    "</tunnel>\r\n";

ServerSessionConfig with_brokers() {
    auto config = script::all_mechanisms();
    config.redirect.brokers = {{{{AddressType::ipv4, "192.0.2.53", {}},
                                 {AddressType::ipv6, "2001:db8::53", {}},
                                 {AddressType::dn, "other.example", {}}}}};
    return config;
}

// As the wire has it, unframed.
std::string sent(const ServerActions& actions) {
    std::string all;
    for (const auto& action : actions) {
        if (const auto* send = std::get_if<Send>(&action)) all += send->bytes;
    }
    return all;
}

ServerSession logged_in(const ServerSessionConfig& config) {
    ServerSession session(config, at(0));
    static_cast<void>(session.handle(BytesReceived{authenticated}, at(0)));
    static_cast<void>(session.handle(script::success(), at(0)));
    return session;
}

TEST(ServerSessionRedirect, AlwaysMeansAtVersionAndBare) {
    auto config = with_brokers();
    config.redirect.is_always = true;
    ServerSession session(config, at(0));
    EXPECT_EQ(sent(session.handle(BytesReceived{"VERSION=2.0.0\r\n"}, at(0))),
              "1530 Server too busy\r\n" + list);
    EXPECT_TRUE(session.is_closed());
}

TEST(ServerSessionRedirect, AnotherVersionIs1302EvenThen) {
    auto config = with_brokers();
    config.redirect.is_always = true;
    ServerSession session(config, at(0));
    EXPECT_EQ(sent(session.handle(BytesReceived{"VERSION=1.0\r\n"}, at(0))),
              "1302 Unsupported client version\r\n" + list);
}

TEST(ServerSessionRedirect, AuthenticationThatCannotBeDoneNowIs1530Bare) {
    ServerSession session(with_brokers(), at(0));
    static_cast<void>(session.handle(BytesReceived{authenticated}, at(0)));
    const AuthenticationStepDone away{AuthenticationStepDone::Outcome::unavailable, ""};
    EXPECT_EQ(sent(session.handle(away, at(0))), "1530 Server too busy\r\n" + list);
    EXPECT_TRUE(session.is_closed());
}

TEST(ServerSessionRedirect, CreateThatCannotBeServedHereIsSentAwayFramedAndTheSessionEnds) {
    for (const auto& [status, line] :
         {std::pair{Status::too_busy, "1530 Server too busy\r\n"},
          std::pair{Status::no_more_tunnels, "1301 No more tunnels available\r\n"}}) {
        auto session = logged_in(with_brokers());
        static_cast<void>(session.handle(BytesReceived{script::create_v4v6()}, at(0)));
        EXPECT_EQ(sent(session.handle(script::tunnel_refused(status), at(0))),
                  script::framed(line + list));
        EXPECT_TRUE(session.is_closed());
    }
}

TEST(ServerSessionRedirect, WhatIsTheClientsOwnFaultOrStateIsNotSentAway) {
    for (const auto status : {Status::invalid_ipv6_address, Status::unsupported_tunnel_type,
                              Status::in_progress, Status::prefix_length_unavailable}) {
        auto session = logged_in(with_brokers());
        static_cast<void>(session.handle(BytesReceived{script::create_v4v6()}, at(0)));
        EXPECT_EQ(sent(session.handle(script::tunnel_refused(status), at(0))).find("<tunnel"),
                  std::string::npos);
        EXPECT_FALSE(session.is_closed());
    }
    auto session = logged_in(with_brokers());
    static_cast<void>(
        session.handle(BytesReceived{script::command("action=\"info\"")}, at(0)));
    EXPECT_EQ(sent(session.handle(script::tunnel_refused(Status::too_busy), at(0))),
              script::framed("530 Server too busy\r\n"));
    EXPECT_FALSE(session.is_closed()) << "its tunnel is here";
}

TEST(ServerSessionRedirect, TheOwnersListGoesBeforeTheConfiguredOne) {
    auto session = logged_in(with_brokers());
    static_cast<void>(session.handle(BytesReceived{script::create_v4v6()}, at(0)));
    auto refused = script::tunnel_refused(Status::unsupported_tunnel_type);
    refused.brokers = {{{{AddressType::ipv4, "198.51.100.1", {}}}}};
    const auto reply = sent(session.handle(refused, at(0)));
    EXPECT_NE(reply.find("1303 Unsupported tunnel type\r\n"), std::string::npos);
    EXPECT_NE(reply.find("198.51.100.1"), std::string::npos);
    EXPECT_EQ(reply.find("other.example"), std::string::npos);
}

TEST(ServerSessionRedirect, ALastAnswerEndsTheSession) {
    auto session = logged_in(script::all_mechanisms());
    static_cast<void>(session.handle(BytesReceived{script::create_v4v6()}, at(0)));
    auto refused = script::tunnel_refused(Status::too_busy);
    refused.is_last = true;
    EXPECT_EQ(script::shown(session.handle(refused, at(0))),
              (Lines{script::send_framed("530 Server too busy\r\n"), "Close"}));
}

TEST(ServerSessionRedirect, TheListIsCutToTheSizeThatIsAllowed) {
    const std::vector<Broker> brokers(5, Broker{{{AddressType::dn, "other.example", {}}}});
    const auto whole = format_redirect(Status::too_busy, {}, brokers);
    const auto cut = format_redirect(Status::too_busy, {}, brokers, whole.size() - 1);
    EXPECT_LT(cut.size(), whole.size());
    EXPECT_TRUE(cut.starts_with("1530 "));
    EXPECT_TRUE(cut.ends_with("</tunnel>\r\n"));
    EXPECT_EQ(format_redirect(Status::too_busy, {}, brokers, 50), "530 Server too busy\r\n");
    EXPECT_EQ(format_redirect(Status::too_busy, {}, {}), "530 Server too busy\r\n");
}

}  // namespace
}  // namespace dstm::tsp
