// Offers good and bad, and the two readings of `lifetime`.
#include "client/offer.hpp"

#include <gtest/gtest.h>

#include "fake_world.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

TEST(ClientOffer, GoodOfferIsReadWhole) {
    const auto offer = read_offer(offer_message("192.0.2.7", home, 3600), home);
    ASSERT_TRUE(offer);
    EXPECT_EQ(offer->inner, *Ipv4Address::parse("192.0.2.7"));
    EXPECT_EQ(offer->endpoint, *Ipv6Address::parse("2001:db8:2::1"));
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
        const auto offer = read_offer(message, home);
        ASSERT_FALSE(offer) << i;
        EXPECT_EQ(offer.error().code, ErrorCode::invalid);
        EXPECT_FALSE(offer.error().context.empty());
    }
}

// The RFC's own figure has an address with eight groups and "::".
TEST(ClientOffer, UnreadableEchoOfOurAddressIsTolerated) {
    auto message = offer_message("192.0.2.7", home, 3600);
    message.client->addresses[1].text = "2001:db8:c18:ffff::0000:0000:0000:0001";
    EXPECT_TRUE(read_offer(message, home));
}

TEST(ClientOffer, KeepaliveThatCannotBePingedThroughTheTunnelIsNone) {
    for (const auto* text : {"127.0.0.1", "0.0.0.0", "192.0.2.7", "::1"}) {
        auto message = offer_message("192.0.2.7", home, 3600);
        message.client->keepalive->address->text = text;
        const auto offer = read_offer(message, home);
        ASSERT_TRUE(offer);
        EXPECT_EQ(offer->keepalive_interval, 0s) << text;
        EXPECT_FALSE(offer->keepalive_to);
    }
    auto zero = offer_message("192.0.2.7", home, 3600, 0);
    EXPECT_EQ(read_offer(zero, home)->keepalive_interval, 0s);
}

TEST(ClientOffer, AbsentLifetimeIsTheDefaultOfTheDtd) {
    auto message = offer_message("192.0.2.7", home, std::nullopt);
    message.lifetime_min.reset();
    const auto offer = read_offer(message, home);
    EXPECT_EQ(offer->lease, 1440s);
    EXPECT_FALSE(offer->lease_is_exact);
}

}  // namespace
}  // namespace dstm::client
