// Offers good and bad, and the two readings of `lifetime`.
#include "client/offer.hpp"

#include <gtest/gtest.h>

#include "fake_world.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

const Question v4v6{tsp::RequestType::v4v6, home, *Ipv6Address::parse("2001:db8:3::1")};

TEST(ClientOffer, GoodOfferIsReadWhole) {
    const auto offer = read_offer(offer_message("192.0.2.7", home, 3600), v4v6);
    ASSERT_TRUE(offer);
    EXPECT_EQ(offer->inner, IpAddress(*Ipv4Address::parse("192.0.2.7")));
    EXPECT_EQ(offer->endpoint, IpAddress(*Ipv6Address::parse("2001:db8:2::1")));
    EXPECT_EQ(offer->lease, 3600s);
    EXPECT_TRUE(offer->lease_is_exact);
    EXPECT_EQ(offer->keepalive_interval, 30s);
}

TEST(ClientOffer, AddressesThatCannotBeUsedAreRefused) {
    using Change = void (*)(tsp::TunnelMessage&);
    const Change changes[] = {
        [](auto& m) { m.action = tsp::Action::list; },
        [](auto& m) { m.type = tsp::RequestType::v6v4; },
        [](auto& m) { m.client.reset(); },
        [](auto& m) { m.server.reset(); },
        [](auto& m) { m.client->addresses[0].text = "0.0.0.0"; },
        [](auto& m) { m.client->addresses[0].text = "224.0.0.1"; },
        [](auto& m) { m.client->addresses[0].text = "192.0.2"; },
        [](auto& m) { m.server->addresses[1].text = "fe80::1"; },
        [](auto& m) { m.server->addresses[1].text = "::1"; },
        [](auto& m) { m.server->addresses[1].text = "2001:db8:1::10"; },  // ourselves
        [](auto& m) { m.client->addresses[1].text = "2001:db8:1::11"; },  // somebody else
        [](auto& m) { m.lease_seconds = 0; },
    };
    for (std::size_t i = 0; i < std::size(changes); ++i) {
        auto message = offer_message("192.0.2.7", home, 3600);
        changes[i](message);
        const auto offer = read_offer(message, v4v6);
        ASSERT_FALSE(offer) << i;
        EXPECT_EQ(offer.error().code, ErrorCode::invalid);
        EXPECT_FALSE(offer.error().context.empty());
    }
}

// The RFC's own figure has an address with eight groups and "::".
TEST(ClientOffer, UnreadableEchoOfOurAddressIsTolerated) {
    auto message = offer_message("192.0.2.7", home, 3600);
    message.client->addresses[1].text = "2001:db8:c18:ffff::0000:0000:0000:0001";
    EXPECT_TRUE(read_offer(message, v4v6));
}

TEST(ClientOffer, KeepaliveThatCannotBePingedThroughTheTunnelIsNone) {
    for (const auto* text : {"127.0.0.1", "0.0.0.0", "192.0.2.7", "::1"}) {
        auto message = offer_message("192.0.2.7", home, 3600);
        message.client->keepalive->address->text = text;
        const auto offer = read_offer(message, v4v6);
        ASSERT_TRUE(offer);
        EXPECT_EQ(offer->keepalive_interval, 0s) << text;
        EXPECT_EQ(offer->keepalive_to, IpAddress(*Ipv4Address::parse("192.0.2.1")))
            << "the path can be measured all the same";
    }
    auto zero = offer_message("192.0.2.7", home, 3600, 0);
    EXPECT_EQ(read_offer(zero, v4v6)->keepalive_interval, 0s);
}

TEST(ClientOffer, OfferWithoutAKeepaliveNamesTheOtherEndAsWhoAnswersEchoes) {
    auto message = offer_message("192.0.2.7", home, 3600);
    message.client->keepalive.reset();
    EXPECT_EQ(read_offer(message, v4v6)->keepalive_to,
              IpAddress(*Ipv4Address::parse("192.0.2.1")));
    EXPECT_EQ(read_offer(message, v4v6)->keepalive_interval, 0s);
    message.server->addresses[0].text = "192.0.2.7";  // ourselves
    EXPECT_FALSE(read_offer(message, v4v6)->keepalive_to);
    message.server->addresses.erase(message.server->addresses.begin());
    EXPECT_FALSE(read_offer(message, v4v6)->keepalive_to);
    auto v6 = offer_message_v6(tsp::RequestType::v6v4, home_v4.to_string());
    v6.client->keepalive.reset();
    const auto offer = read_offer(v6, {tsp::RequestType::v6v4, home_v4, peer_v4.address});
    EXPECT_EQ(to_string(*offer->keepalive_to), "2001:db8:100::1");
}

TEST(ClientOffer, AbsentLifetimeIsTheDefaultOfTheDtd) {
    auto message = offer_message("192.0.2.7", home, std::nullopt);
    message.lifetime_min.reset();
    const auto offer = read_offer(message, v4v6);
    EXPECT_EQ(offer->lease, 1440s);
    EXPECT_FALSE(offer->lease_is_exact);
}

// --- the v6 types (RFC 5572 s5.1, s5.2, s5.4) ----------------------------------------------------

Question asked(tsp::RequestType type) { return {type, home_v4, peer_v4.address}; }

TEST(ClientOffer, V6OfferIsReadWholeInPaddedText) {
    const auto offer =
        read_offer(offer_message_v6(tsp::RequestType::v6v4, home_v4.to_string(),
                                    "2001:0db8:0200:0100:0000:0000:0000:0000"),
                   asked(tsp::RequestType::v6v4));
    ASSERT_TRUE(offer) << offer.error().context;
    EXPECT_EQ(offer->type, TunnelType::v6v4);
    EXPECT_EQ(to_string(offer->inner), "2001:db8:100::7");
    ASSERT_TRUE(offer->prefix);
    EXPECT_EQ(offer->prefix->to_string(), "2001:db8:200:100::/56");
    EXPECT_EQ(to_string(offer->endpoint), "192.0.2.99");
    EXPECT_EQ(offer->name, "alice.tunnel.example");
    EXPECT_EQ(to_string(*offer->keepalive_to), "2001:db8:100::1");
}

// B32: only v6anyv4 is answered with another type, and only with one of two.
TEST(ClientOffer, TypeOfTheAnswerMustFitTheQuestion) {
    using tsp::RequestType;
    const auto all = {RequestType::v4v6, RequestType::v6v4, RequestType::v6udpv4,
                      RequestType::v6anyv4};
    for (const auto question : {RequestType::v6v4, RequestType::v6udpv4, RequestType::v6anyv4}) {
        for (const auto answer : all) {
            const bool is_any = question == RequestType::v6anyv4;
            const bool fits = is_any ? answer == RequestType::v6v4 || answer == RequestType::v6udpv4
                                     : answer == question;
            EXPECT_EQ(read_offer(offer_message_v6(answer, home_v4.to_string()), asked(question))
                          .has_value(),
                      fits)
                << to_string(question) << " answered " << to_string(answer);
        }
    }
}

// B5: the data of v6udpv4 goes where the signalling goes; the NAT's address of us is no lie.
TEST(ClientOffer, V6udpv4RunsToThePeerOfTheSignalling) {
    const auto message = offer_message_v6(tsp::RequestType::v6udpv4, "203.0.113.1");
    const auto offer = read_offer(message, asked(tsp::RequestType::v6udpv4));
    ASSERT_TRUE(offer) << offer.error().context;
    EXPECT_EQ(offer->endpoint, peer_v4.address);
    EXPECT_FALSE(offer->prefix);
    auto v6v4 = message;
    v6v4.type = tsp::RequestType::v6v4;
    EXPECT_FALSE(read_offer(v6v4, asked(tsp::RequestType::v6v4))) << "for somebody else";
}

TEST(ClientOffer, V6OfferThatCannotBeUsedIsRefused) {
    using Change = void (*)(tsp::TunnelMessage&);
    const Change changes[] = {
        [](auto& m) { m.client->addresses[1].text = "fe80::1"; },
        [](auto& m) { m.client->addresses[1].text = "192.0.2.1"; },
        [](auto& m) { m.server->addresses[0].text = "127.0.0.1"; },
        [](auto& m) { m.server->addresses[0].text = "198.51.100.10"; },  // ourselves
        [](auto& m) { m.client->router->prefix->text = "2001:db8:200:1ff::"; },  // host bits
        [](auto& m) { m.client->router->prefix->text = "fe80::"; },
        [](auto& m) { m.client->router->prefix->text.clear(); },
        [](auto& m) { m.client->router->prefix->length = 129; },
    };
    for (std::size_t i = 0; i < std::size(changes); ++i) {
        auto message =
            offer_message_v6(tsp::RequestType::v6v4, home_v4.to_string(), "2001:db8:200:100::");
        changes[i](message);
        EXPECT_FALSE(read_offer(message, asked(tsp::RequestType::v6v4))) << i;
    }
}

TEST(ClientOffer, NameThatIsNoneAndKeepaliveOfTheOtherFamilyAreLeftOut) {
    auto message = offer_message_v6(tsp::RequestType::v6v4, home_v4.to_string());
    message.client->addresses[2].text = "alice\n; rm";
    message.client->keepalive->address->text = "192.0.2.99";
    const auto offer = read_offer(message, asked(tsp::RequestType::v6v4));
    ASSERT_TRUE(offer);
    EXPECT_EQ(offer->name, "");
    EXPECT_EQ(offer->keepalive_interval, 0s);
}

}  // namespace
}  // namespace dstm::client
