// The rules of a client, and what neither role installs.
#include "tests/unit/dataplane/carrier_rows.hpp"

#include <functional>

namespace dstm::dataplane::testing {
namespace {

class ClientCarrier : public ::testing::Test {
protected:
    ClientCarrier() { world.add(make_spec("192.0.2.7", "2001:db8:1::5")); }
    CarrierWorld world{client_config()};
};

TEST_F(ClientCarrier, UpIsFromItsEndpointToItself) {
    const auto good = plain("203.0.113.80", "192.0.2.7");
    expect_rows_up(world, endpoint_outer,
                   {{"to itself", good, "", good},
                    {"to another", plain("203.0.113.80", "192.0.2.8"), "bad_destination", {}},
                    {"from itself", plain("192.0.2.7", "192.0.2.7"), "bad_source", {}},
                    {"from multicast", plain("224.0.0.1", "192.0.2.7"), "bad_source", {}}});
    expect_rows_up(world, stranger_outer, {{"a stranger", good, "unknown_outer", {}}});
}

TEST_F(ClientCarrier, DownIsFromItselfToHosts) {
    const auto good = plain("192.0.2.7", "203.0.113.80");
    expect_rows_down(world, first_outer, endpoint_outer,
                     {{"from itself", good, "", good},
                      {"another source", plain("10.0.0.1", "203.0.113.80"), "bad_source", {}},
                      {"multicast", plain("192.0.2.7", "224.0.0.251"), "bad_destination", {}}});
}

TEST_F(ClientCarrier, MoveForgetsWhatWasKnownOfTheOldPath) {
    const auto big = sized("192.0.2.7", "203.0.113.80", 1400, true);
    const auto sent = world.down(big).verdict.packet;
    EXPECT_EQ(load_ipv4(world.relay(2, 0, 1280, sent).verdict.answer, 12), v4("192.0.2.7"));
    EXPECT_EQ(world.carrier().client_path(start)->mtu, 1280u);
    world.add(make_spec("192.0.2.7", "2001:db8:1::6", 2));
    EXPECT_EQ(world.carrier().client_path(start)->mtu, 1500u);
}

TEST(ClientCarrierWithoutTunnel, CarriesNothing) {
    CarrierWorld world(client_config());
    EXPECT_EQ(world.down(plain("192.0.2.7", "203.0.113.80")).verdict.counter, "no_tunnel");
    EXPECT_FALSE(world.carrier().client_path(start));
}

TEST(CarrierAdd, RefusesWhatCannotBe) {
    auto config = endpoint_config();
    config.udp_port = 0;
    Carrier carrier(config, [](const auto&) { return 1500u; });
    const auto good = make_spec("192.0.2.7", "2001:db8:1::5");
    const auto code_after = [&](const std::function<void(TunnelSpec&)>& change) {
        auto spec = good;
        change(spec);
        return carrier.add(spec).error().code;
    };
    using Spec = TunnelSpec;
    EXPECT_EQ(code_after([](Spec& s) { s.type = TunnelType::v6v4; }), ErrorCode::invalid);
    EXPECT_EQ(code_after([](Spec& s) { s.type = TunnelType::v6udpv4; }), ErrorCode::refused);
    for (const auto* inner : {"192.0.3.7", "192.0.2.1", "224.0.0.1"}) {
        EXPECT_EQ(code_after([&](Spec& s) { s.inner = v4(inner); }), ErrorCode::invalid) << inner;
    }
    EXPECT_EQ(code_after([](Spec& s) { s.inner = v6("2001:db8::1"); }), ErrorCode::invalid);
    for (const auto* outer : {"fe80::1", "ff02::1", "2001:db8:2::1"}) {
        EXPECT_EQ(code_after([&](Spec& s) { s.outer_client.address = v6(outer); }),
                  ErrorCode::invalid)
            << outer;
    }
    EXPECT_EQ(code_after([](Spec& s) { s.outer_server = v6("2001:db8::1"); }), ErrorCode::invalid);
    EXPECT_EQ(carrier.tunnels().size(), 0u);
    EXPECT_TRUE(carrier.add(good));
}

}  // namespace
}  // namespace dstm::dataplane::testing
