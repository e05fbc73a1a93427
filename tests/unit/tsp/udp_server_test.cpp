// Single datagrams at the server: sequences and their cached replies, what old clients send, what a
// forged source can make of us, and how many peers there can be.
#include "common/tsp/udp_server.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/tsp/udp_world.hpp"

namespace dstm::tsp {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

const std::string create_xml =
    "<tunnel action=\"create\" type=\"v4v6\"><client><address type=\"ipv6\">2001:db8:1::100"
    "</address></client></tunnel>\r\n";
const std::string accept_xml = "<tunnel action=\"accept\"></tunnel>\r\n";

std::string framed(const std::string& xml) {
    return "Content-length: " + std::to_string(xml.size()) + "\r\n" + xml;
}

UdpServerConfig config_of_tests() {
    UdpServerConfig config;
    config.session.tunnel_types = {RequestType::v4v6};
    config.session.mechanisms = {"ANONYMOUS", "PLAIN", "DIGEST-MD5"};
    return config;
}

class UdpServerTest : public testing::Test {
protected:
    explicit UdpServerTest(UdpServerConfig config = config_of_tests())
        : server(std::move(config)),
          owner(scheduler, server,
                [this](udp::SendDatagram reply) { replies.push_back(std::move(reply)); }) {
        owner.work = 0ms;
    }
    // What one datagram is answered with, work included; nothing: "-".
    std::string say(std::uint32_t sequence, std::string_view data, std::uint32_t timestamp = 7) {
        return raw(encode_udp_packet({{sequence, timestamp}, data}), sequence, timestamp);
    }
    std::string raw(std::string_view bytes, std::uint32_t sequence = 0,
                    std::uint32_t timestamp = 0) {
        replies.clear();
        owner.carry_out(server.receive(path, bytes, now()));
        if (works) scheduler.run_for(1ms);
        EXPECT_LE(replies.size(), 1u) << "one reply to a datagram";
        if (replies.empty()) return "-";
        const auto packet = decode_udp_packet(replies[0].bytes);
        EXPECT_TRUE(packet.has_value());
        EXPECT_EQ(packet->header, (UdpHeader{sequence, timestamp})) << "N2";
        EXPECT_EQ(replies[0].path, path);
        return std::string(packet->data);
    }
    void log_in(std::uint32_t first = 0xf0) {
        EXPECT_TRUE(say(first, "VERSION=2.0.0\r\n").starts_with("CAPABILITY "));
        EXPECT_EQ(say(first + 1, "AUTHENTICATE ANONYMOUS\r\n\0"s), "200 Success\r\n");
    }
    void tick(Duration step) {
        scheduler.run_for(step);
        owner.carry_out(server.tick(now()));
    }
    [[nodiscard]] Instant now() const { return scheduler.clock.now(); }
    [[nodiscard]] const UdpServerCounters& counters() const { return server.counters(); }

    support::Scheduler scheduler;
    UdpServer server;
    CountingOwner owner;
    std::vector<udp::SendDatagram> replies;
    UdpPath path = path_of("2001:db8:1::100");
    bool works = true;
};

TEST_F(UdpServerTest, ADeployedClientsDialogueWithDigest) {
    owner.challenges = 1;
    owner.proof = "rspauth=00";
    EXPECT_EQ(say(0xf0, "VERSION=2.0.2\r\n"),
              "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS AUTH=PLAIN AUTH=DIGEST-MD5\r\n");
    EXPECT_EQ(say(0xf1, "AUTHENTICATE DIGEST-MD5\r\n\0"s), "Y2hhbGxlbmdlIDA=\r\n");
    EXPECT_EQ(say(0xf2, "cmVzcG9uc2U=\r\n"), "cnNwYXV0aD0wMA==\r\n");
    EXPECT_EQ(say(0xf3, ""), "200 Success\r\n") << "on the sequence of the header-only datagram";
    EXPECT_TRUE(say(0xf4, framed(create_xml)).starts_with("Content-length: "));
    EXPECT_EQ(say(0xf5, "Content-length: 35\r\n" + accept_xml), "") << "a header acknowledges";
    EXPECT_EQ(owner.confirmed, 1);
}

TEST_F(UdpServerTest, ADeployedClientsDialogueWithPlain) {
    (void)say(0xf0, "VERSION=2.0.2\r\n");
    EXPECT_EQ(say(0xf1, "AUTHENTICATE PLAIN\r\n\0"s), "") << "acknowledged, and not started";
    EXPECT_EQ(owner.authentications, 0);
    EXPECT_EQ(say(0xf2, "\0alice\0secret\r\n"s), "200 Success\r\n");
    EXPECT_EQ(owner.responses, std::vector<std::string>{"\0alice\0secret"s});
}

TEST_F(UdpServerTest, PlainInOneDatagramIsTakenToo) {
    (void)say(0xf0, "VERSION=2.0.0\r\n");
    EXPECT_EQ(say(0xf1, "AUTHENTICATE PLAIN\r\n\0alice\0secret\r\n"s), "200 Success\r\n");
}

TEST_F(UdpServerTest, ARepeatGetsTheSameReplyWithItsOwnTimestampAndStartsNothing) {
    log_in();
    const auto reply = say(0xf2, framed(create_xml), 100);
    EXPECT_EQ(say(0xf2, framed(create_xml), 2100), reply);
    EXPECT_EQ(say(0xf2, framed(create_xml), 0), reply) << "old clients leave it zero";
    EXPECT_EQ(owner.requests, 1);
    EXPECT_EQ(counters().repeated, 2u);
}

TEST_F(UdpServerTest, ARepeatWhileTheWorkIsNotDoneIsAnsweredOnceWithTheLatestTimestamp) {
    log_in();
    works = false;
    owner.work = 5s;
    EXPECT_EQ(say(0xf2, framed(create_xml), 1), "-");
    EXPECT_EQ(say(0xf2, framed(create_xml), 2), "-");
    EXPECT_EQ(say(0xf3, framed(create_xml), 3), "-") << "the next has to wait";
    EXPECT_EQ(counters().in_work, 1u);
    EXPECT_EQ(counters().out_of_turn, 1u);
    scheduler.run_for(6s);
    ASSERT_EQ(replies.size(), 1u);
    EXPECT_EQ(decode_udp_packet(replies[0].bytes)->header, (UdpHeader{0xf2, 2}));
    EXPECT_EQ(owner.requests, 1);
}

TEST_F(UdpServerTest, OtherSequencesAreLeftAlone) {
    log_in();
    EXPECT_EQ(say(0xf0, "VERSION=2.0.0\r\n"), "-") << "a late one";
    EXPECT_EQ(say(0xf4, framed(create_xml)), "-") << "one is missing before it";
    EXPECT_EQ(say(0xf1, framed(create_xml)), "-") << "a repeat with other data";
    EXPECT_EQ(counters().out_of_turn, 2u);
    EXPECT_EQ(counters().altered, 1u);
    EXPECT_NE(say(0xf2, framed(create_xml)), "-");
    EXPECT_EQ(owner.requests, 1);
}

TEST_F(UdpServerTest, SequencesWrapAtTwentyEightBits) {
    EXPECT_NE(say(udp_sequence_max, "VERSION=2.0.0\r\n"), "-");
    EXPECT_EQ(say(0, "AUTHENTICATE ANONYMOUS\r\n"), "200 Success\r\n");
}

TEST_F(UdpServerTest, ANewVersionFromTheSamePortEndsTheOldDialogue) {
    log_in();
    (void)say(0xf2, framed(create_xml));
    EXPECT_TRUE(say(0x50, "VERSION=2.0.0\r\n").starts_with("CAPABILITY"));
    EXPECT_EQ(owner.opened, 2);
    EXPECT_EQ(owner.alive.size(), 1u) << "what was offered goes back with its dialogue";
    EXPECT_EQ(server.exchanges(), 1u);
    log_in(0x150);
    // The first sequence again is a late repeat only as long as one can be on its way.
    scheduler.run_for(70s);
    EXPECT_NE(say(0x150, "VERSION=2.0.0\r\n"), "-");
    EXPECT_EQ(owner.opened, 4);
}

// s4.5.2: a client that begins with the same sequence whenever it starts is heard when it repeats.
TEST_F(UdpServerTest, AVersionWithTheFirstSequenceBeginsAnewWhenTheClientInsists) {
    const std::string version = "VERSION=2.0.0\r\n";
    (void)say(0xf0, version, 1000);
    (void)say(0xf0, version, 5000);
    (void)say(0xf1, "AUTHENTICATE ANONYMOUS\r\n", 6000);
    for (const std::uint32_t late : {1000u, 3000u, 5000u, 1000u, 3000u, 5000u}) {
        EXPECT_EQ(say(0xf0, version, late), "-") << "on its way since then: " << late;
    }
    EXPECT_EQ(say(0xf0, version, 90), "-") << "the first may be anybody's";
    EXPECT_EQ(say(0xf0, version, 90), "-") << "or its copy";
    EXPECT_NE(say(0xf2, framed(create_xml), 7000), "-") << "the dialogue goes on";
    EXPECT_EQ(say(0xf3, framed(accept_xml)), "");
    EXPECT_EQ(say(0xf0, version, 80), "-") << "counted from the last message";
    EXPECT_TRUE(say(0xf0, version, 980).starts_with("CAPABILITY "));
    EXPECT_EQ(owner.opened, 2);
    EXPECT_EQ(owner.confirmed, 1);
    EXPECT_EQ(owner.declined, 0) << "the accepted tunnel stays";
    EXPECT_TRUE(say(0xf0, version, 2980).starts_with("CAPABILITY ")) << "a repeat again";
    EXPECT_EQ(owner.opened, 2);
}

TEST_F(UdpServerTest, EachMessageHasADatagramOfItsOwn) {
    const auto faults = {
        "VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n"s, "VERSION=2.0.0"s};
    std::uint32_t sequence = 0x1000;
    for (const auto& data : faults) {
        EXPECT_TRUE(say(sequence, data).starts_with("500 ")) << data;
        sequence += 0x100;
    }
    for (const auto& data :
         {framed(create_xml) + framed(accept_xml), framed(create_xml).substr(0, 60),
          "Content-length: 4\r\n" + create_xml, "Content-length: 35"s,
          "Content-length: 99999999999999999999\r\n<"s, "Content-length: -1\r\n<"s}) {
        log_in(sequence);
        const auto reply = say(sequence + 2, data);
        EXPECT_TRUE(reply.starts_with("Content-length: ")) << data;
        EXPECT_NE(reply.find("\r\n500 "), std::string::npos) << data;
        sequence += 0x100;
    }
    EXPECT_EQ(owner.requests, 0);
}

TEST_F(UdpServerTest, TheLastWordsOfAnExchangeAreRepeatedUntilNobodyCanAskForThem) {
    const auto reply = say(0xf0, "VERSION=1.0.0\r\n");
    EXPECT_TRUE(reply.starts_with("302 "));
    EXPECT_TRUE(owner.alive.empty());
    scheduler.run_for(30s);
    EXPECT_EQ(say(0xf0, "VERSION=1.0.0\r\n"), reply);
    EXPECT_EQ(say(0xf1, "VERSION=2.0.1\r\n").substr(0, 10), "CAPABILITY") << "it tries another";
    tick(31s);
    tick(71s);
    EXPECT_EQ(server.exchanges(), 0u);
}

TEST_F(UdpServerTest, SilentDialoguesEndWithoutAWordAndGiveBackWhatWasNotAccepted) {
    log_in();
    (void)say(0xf2, framed(create_xml));
    replies.clear();
    tick(29s);
    EXPECT_EQ(owner.declined, 0);
    tick(2s);
    EXPECT_EQ(owner.declined, 1);
    EXPECT_TRUE(owner.alive.empty());
    EXPECT_EQ(counters().expired, 1u);
    EXPECT_TRUE(replies.empty()) << "nobody asked";
    tick(71s);
    EXPECT_EQ(server.exchanges(), 0u);
}

TEST_F(UdpServerTest, EchoRequestIsAnsweredWithoutAnExchange) {
    EXPECT_EQ(say(0xf0, "ECHO REQUEST"), "200 Success\r\n");
    EXPECT_EQ(say(0xf0, "ECHO REQUEST\r\n"), "200 Success\r\n");
    server.set_willing(false);
    EXPECT_TRUE(say(0xf1, "ECHO REQUEST").starts_with("530 "));
    EXPECT_EQ(server.exchanges(), 0u);
    EXPECT_EQ(counters().echo, 3u);
    EXPECT_EQ(say(0xf2, "ECHO REQUESTS"), "-");
}

TEST_F(UdpServerTest, WhatHasNoSignallingHeaderIsDroppedAndCounted) {
    for (const auto& bytes : {""s, "\xf0"s, "\xf0\0\0\0\0\0\0"s, "\x60\0\0\0\0\0\0\0\0\0"s,
                              "\x45\0\0\0VERSION=2.0.0\r\n"s, std::string(8, '\xe0')}) {
        EXPECT_EQ(raw(bytes), "-");
    }
    EXPECT_EQ(counters().not_signalling, 6u);
    EXPECT_EQ(raw(std::string(4097, '\xff')), "-");
    EXPECT_EQ(counters().oversize, 1u);
    EXPECT_EQ(server.exchanges(), 0u);
}

// Two servers with each other's forged address must not talk for ever.
TEST_F(UdpServerTest, WhatCouldBeAReplyIsNeverAnswered) {
    for (const auto& data :
         {""s, "200 Success\r\n"s, "500 Invalid\r\n"s, "CAPABILITY TUNNEL=V4V6\r\n"s,
          framed("500 Invalid\r\n"), framed(create_xml), "AUTHENTICATE ANONYMOUS\r\n"s}) {
        EXPECT_EQ(say(0xf0, data), "-") << data;
    }
    EXPECT_EQ(counters().no_exchange, 7u);
}

// --- forged sources ------------------------------------------------------------------------------

TEST_F(UdpServerTest, AStrangersReplyIsShorterThan250Bytes) {
    auto config = config_of_tests();
    Broker broker;
    for (int i = 0; i < 10; ++i) {
        broker.addresses.push_back({AddressType::dn, "broker.of.some.campus.example", {}});
    }
    config.session.redirect.brokers = {broker};
    server = UdpServer(config);
    EXPECT_EQ(say(0xf0, "VERSION=9.0.0\r\n"), "302 Unsupported client version\r\n")
        << "the list is longer";
    broker.addresses.resize(1);
    config.session.redirect.brokers.assign(10, broker);
    server = UdpServer(config);
    EXPECT_TRUE(say(0x1f0, "VERSION=9.0.0\r\n").starts_with("1302 "));
    EXPECT_LT(replies.at(0).bytes.size(), 250u) << "as much of the list as may go out";
    config.session.redirect.is_always = true;
    server = UdpServer(config);
    EXPECT_TRUE(say(0x2f0, "VERSION=2.0.0\r\n").starts_with("1530 "));
    EXPECT_LT(replies.at(0).bytes.size(), 250u);
    EXPECT_EQ(counters().withheld, 0u);
    EXPECT_EQ(say(0x3f0, "ECHO REQUEST"), "530 Server too busy\r\n");
}

TEST_F(UdpServerTest, WhoBeginsTooOftenIsNotAnsweredAndCounted) {
    auto config = config_of_tests();
    config.limits.tries.per_address = 2;  // and 10 at once
    server = UdpServer(config);
    int answered = 0;
    for (std::uint32_t i = 0; i < 50; ++i) {
        answered += say(0xf0 + 100 * i, "VERSION=2.0.0\r\n") != "-" ? 1 : 0;
    }
    EXPECT_GE(answered, 10);
    EXPECT_EQ(counters().throttled, 50u - static_cast<unsigned>(answered));
    EXPECT_LT(answered, 25);
    EXPECT_EQ(server.throttle().refused().by_address, counters().throttled);
    EXPECT_LE(server.exchanges(), 1u);
    path = path_of("2001:db8:1::101");
    EXPECT_NE(say(0xf0, "VERSION=2.0.0\r\n"), "-") << "a neighbour has its own tries";
}

TEST_F(UdpServerTest, AChannelThatGoesTakesItsDialoguesWithIt) {
    log_in();
    const auto direct = path;
    path.channel = 1;
    log_in();
    EXPECT_EQ(owner.alive.size(), 2u);
    owner.carry_out(server.channel_gone(1));
    EXPECT_EQ(owner.alive.size(), 1u);
    EXPECT_EQ(say(0xf2, framed(create_xml)), "-");
    path = direct;
    EXPECT_NE(say(0xf2, framed(create_xml)), "-");
}

// What a blind forger gets out of us is bounded by what it puts in, headers counted on both sides,
// whatever it says.
TEST_F(UdpServerTest, BytesToTheUnprovenAreAtMostFiveTimesTheirs) {
    const UdpServerLimits limits;
    for (int i = 0; i < 30; ++i) {  // a reply that a create alone does not pay for
        owner.answer.message->client->addresses.push_back(
            {AddressType::dn, "a.long.name.of.some.campus.example", std::nullopt});
    }
    std::mt19937 random(5);
    const std::vector<std::string> words = {
        "VERSION=2.0.0\r\n", "AUTHENTICATE ANONYMOUS\r\n", "AUTHENTICATE DIGEST-MD5\r\n",
        framed(create_xml), framed(accept_xml), "",
        framed("<tunnel action=\"info\" type=\"v4v6\"></tunnel>\r\n"), "HELLO\r\n"};
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    std::uint64_t short_out = 0;
    std::uint32_t sequence = 0;
    std::string last = words[0];
    for (int i = 0; i < 20000; ++i) {
        if (random() % 3 != 0) {
            ++sequence;
            last = words[random() % words.size()];
        }
        scheduler.run_for(20ms);
        in += last.size() + 56;
        (void)say(sequence & udp_sequence_max, last);
        for (const auto& reply : replies) {
            const auto size = reply.bytes.size() + 48;
            out += size;
            if (reply.bytes.size() <= limits.stranger_reply_max) short_out += size;
        }
        ASSERT_LE(out - short_out, limits.budget_factor * in);
    }
    EXPECT_GT(owner.requests, 0) << "the words lead somewhere";
    EXPECT_GT(counters().withheld, 0u);
    EXPECT_LE(out, limits.budget_factor * in);
}

TEST_F(UdpServerTest, ALongReplyToTheUnprovenIsRepeatedTwice) {
    for (int i = 0; i < 6; ++i) {
        owner.answer.message->client->addresses.push_back(
            {AddressType::dn, "a.long.name.of.some.campus.example", std::nullopt});
    }
    log_in();
    for (std::uint32_t i = 0; i < 20; ++i) {
        const bool is_answered = say(0xf2, framed(create_xml), i) != "-";
        EXPECT_EQ(is_answered, i < 3) << i;
        if (!is_answered) continue;
        EXPECT_GT(replies.at(0).bytes.size(), UdpServerLimits{}.stranger_reply_max);
    }
    EXPECT_EQ(counters().withheld, 17u);
    EXPECT_EQ(say(0xf3, framed(accept_xml)), "");
    const std::string info = framed("<tunnel action=\"info\" type=\"v4v6\"></tunnel>\r\n");
    EXPECT_NE(say(0xf4, info), "-") << "the next has its own";
}

TEST_F(UdpServerTest, RepliesToOnePrefixAreLimitedAndCounted) {
    int answered = 0;
    for (int i = 0; i < 1000; ++i) {
        path = path_of("2001:db8:1::" + std::to_string(i % 100), static_cast<std::uint16_t>(i + 1));
        if (say(0xf0, "VERSION=2.0.0\r\n") != "-") ++answered;
    }
    EXPECT_GE(answered, 400);
    EXPECT_LE(answered, 400 + 200 + 1) << "a burst, and what a second brings";
    EXPECT_EQ(counters().limited, static_cast<std::uint64_t>(1000 - answered));
    path = path_of("2001:db8:2::1");
    EXPECT_NE(say(0xf0, "VERSION=2.0.0\r\n"), "-") << "another prefix has its own";
    path = path_of("198.51.100.1");
    EXPECT_NE(say(0xf0, "VERSION=2.0.0\r\n"), "-");
    EXPECT_LE(server.exchanges(), UdpServerLimits{}.places.per_prefix + 2);
}

TEST_F(UdpServerTest, OneAddressLeavesItsNeighboursRepliesAlone) {
    std::uint16_t port = 40000;
    for (const std::string_view flood : {"VERSION=2.0.0\r\n", "ECHO REQUEST"}) {
        int answered = 0;
        for (std::uint32_t i = 0; i < 1000; ++i) {
            path = path_of("2001:db8:1::66", static_cast<std::uint16_t>(i % 64 + 1));
            if (say(0x1000 + 16 * i, flood) != "-") ++answered;
        }
        EXPECT_GE(answered, 100) << flood;
        EXPECT_LE(answered, 100 + 50 + 1) << "a quarter of its prefix's: " << flood;
        path = path_of("2001:db8:1::100", ++port);
        log_in();
        EXPECT_NE(say(0xf2, framed(create_xml)), "-");
        EXPECT_EQ(say(0xf3, framed(accept_xml)), "");
        scheduler.run_for(10s);
    }
}

TEST_F(UdpServerTest, StrangersDoNotStopDialoguesThatHaveGoneOn) {
    log_in();
    const auto mine = path;
    for (int i = 0; i < 1000; ++i) {
        path = path_of("2001:db8:1::" + std::to_string(i % 90 + 1));
        (void)say(0xf0, "ECHO REQUEST");
    }
    path = path_of("2001:db8:1::99");
    EXPECT_EQ(say(0xf0, "VERSION=2.0.0\r\n"), "-") << "nothing is left for strangers";
    path = mine;
    EXPECT_NE(say(0xf2, framed(create_xml)), "-");
    EXPECT_EQ(say(0xf3, framed(accept_xml)), "");
}

// Numbers can be made up, so that who goes on is limited as well.
TEST_F(UdpServerTest, RepliesToWhoHasGoneOnAreLimitedToo) {
    for (const char* address : {"2001:db8:1::66", "2001:db8:1::100"}) {
        path = path_of(address);
        log_in();
    }
    const auto other = path;
    path = path_of("2001:db8:1::66");
    int answered = 0;
    for (std::uint32_t i = 0; i < 1000; ++i) {
        if (say(0xf1, "AUTHENTICATE ANONYMOUS\r\n\0"s, i) != "-") ++answered;
    }
    EXPECT_GE(answered, 99);
    EXPECT_LE(answered, 100 + 50 + 1);
    path = other;
    EXPECT_NE(say(0xf2, framed(create_xml)), "-");
}

TEST_F(UdpServerTest, WhoAnsweredAChallengeIsNotLimited) {
    owner.challenges = 1;
    (void)say(0xf0, "VERSION=2.0.0\r\n");
    (void)say(0xf1, "AUTHENTICATE DIGEST-MD5\r\n");
    EXPECT_EQ(say(0xf2, "cmVzcG9uc2U=\r\n"), "200 Success\r\n");
    const auto mine = path;
    for (std::uint16_t i = 1; i < 1000; ++i) {
        path = path_of("2001:db8:1::7", i);
        (void)say(0xf0, "VERSION=2.0.0\r\n");
    }
    EXPECT_GT(counters().limited, 0u);
    path = mine;
    EXPECT_TRUE(say(0xf3, framed(create_xml)).starts_with("Content-length: "));
}

// --- how many ------------------------------------------------------------------------------------

class UdpPlacesTest : public UdpServerTest {
protected:
    UdpPlacesTest() : UdpServerTest(small()) {}
    static UdpServerConfig small() {
        auto config = config_of_tests();
        config.limits.places = {8, 2, 4};
        config.limits.replies_burst = 100000;
        return config;
    }
};

TEST_F(UdpPlacesTest, AFloodOfStrangersStaysWithinTheTableAndTheLatestAreIn) {
    std::mt19937 random(1);
    for (int i = 0; i < 5000; ++i) {
        const auto prefix = std::to_string(random() % 5);
        path = path_of("2001:db8:" + prefix + "::" + std::to_string(random() % 5),
                       static_cast<std::uint16_t>(1 + random() % 1000));
        (void)say(0xf0, "VERSION=2.0.0\r\n");
        ASSERT_LE(server.exchanges(), 8u);
        ASSERT_EQ(owner.alive.size(), server.exchanges());
    }
    EXPECT_GT(counters().displaced, 4000u);
    EXPECT_EQ(say(0xf1, "AUTHENTICATE ANONYMOUS\r\n"), "200 Success\r\n");
}

TEST_F(UdpPlacesTest, WhatIsOfferedKeepsItsPlaceAndNewcomersHear530) {
    for (std::uint16_t port = 1; port <= 2; ++port) {
        path = path_of("2001:db8:1::100", port);
        log_in();
        (void)say(0xf2, framed(create_xml));
    }
    path = path_of("2001:db8:1::100", 3);
    EXPECT_EQ(say(0xf0, "VERSION=2.0.0\r\n"), "530 Server too busy\r\n");
    EXPECT_EQ(counters().no_room, 1u);
    path = path_of("2001:db8:1::100", 1);
    EXPECT_EQ(say(0xf3, framed(accept_xml)), "");
    path = path_of("2001:db8:1::100", 3);
    EXPECT_NE(say(0xf0, "VERSION=2.0.0\r\n"), "530 Server too busy\r\n")
        << "an accepted tunnel does not need its dialogue";
    EXPECT_EQ(owner.confirmed, 1);
    EXPECT_EQ(owner.declined, 0);
}

TEST_F(UdpPlacesTest, EachDatagramIsCountedOnceAndEveryExchangeIsClosedOnce) {
    std::mt19937 random(7);
    const std::vector<std::string> words = {
        "VERSION=2.0.0\r\n", "AUTHENTICATE ANONYMOUS\r\n", "AUTHENTICATE PLAIN\r\n\0"s,
        "\0a\0b\r\n"s, "AUTHENTICATE DIGEST-MD5\r\n", "cmVzcG9uc2U=\r\n", framed(create_xml),
        framed(accept_xml), framed("<tunnel action=\"reject\"></tunnel>\r\n"), "", "ECHO REQUEST",
        "\0"s, "Content-length: 3\r\nabc", "Content-length: 10\r\n<tunnel a",
        std::string(300, 'x')};
    owner.challenges = 1;
    owner.work = 30ms;
    works = false;
    const std::vector<std::string> good = {"VERSION=2.0.0\r\n", "AUTHENTICATE DIGEST-MD5\r\n",
                                           "cmVzcG9uc2U=\r\n", framed(create_xml),
                                           framed(accept_xml)};
    std::map<UdpPath, std::uint32_t> steps;  // of dialogues that go on, in between the noise
    std::uint64_t sent = 0;
    for (int i = 0; i < 50000; ++i) {
        path = path_of("2001:db8:1::" + std::to_string(random() % 3),
                       static_cast<std::uint16_t>(1 + random() % 3));
        auto& step = steps[path];
        const bool is_noise = random() % 4 == 0;
        const auto sequence = is_noise ? step + static_cast<std::uint32_t>(random() % 5) : step;
        auto bytes = encode_udp_packet(
            {{sequence, 0}, is_noise ? words[random() % words.size()] : good[step % good.size()]});
        if (!is_noise) ++step;
        if (random() % 20 == 0) bytes[random() % bytes.size()] = static_cast<char>(random());
        owner.carry_out(server.receive(path, bytes, now()));
        ++sent;
        scheduler.run_for(Duration(random() % 50));
        if (i % 100 == 0) owner.carry_out(server.tick(now()));
        ASSERT_EQ(counters().received, sent);
        const auto& c = counters();
        ASSERT_EQ(c.received, c.taken + c.repeated + c.in_work + c.altered + c.out_of_turn +
                                  c.echo + c.not_signalling + c.oversize + c.no_exchange +
                                  c.no_room);
    }
    EXPECT_GT(owner.confirmed, 0);
    EXPECT_EQ(owner.alive.size() <= server.exchanges(), true);
    tick(10min);
    tick(10min);
    EXPECT_EQ(server.exchanges(), 0u);
    EXPECT_TRUE(owner.alive.empty());
}

}  // namespace
}  // namespace dstm::tsp
