// The rules of IPv6 inside (v6v4, v6udpv4), one row each: what comes in, what goes out, which
// counter moves. What both versions share has its rows in carrier_test.cpp.
#include "tests/unit/dataplane/carrier_rows.hpp"

#include <functional>

namespace dstm::dataplane::testing {
namespace {

using packets::Ipv6Fields;

const Peer first{TunnelType::v6v4, {v4("192.0.2.99"), 0}};
const Peer second{TunnelType::v6udpv4, {v4("192.0.2.99"), 40000}};
const IpEndpoint endpoint{endpoint_outer_ipv4, 0};
const IpEndpoint endpoint_udp{endpoint_outer_ipv4, endpoint_port};
const std::string host = "2001:db8:3::80";

Ipv6Fields fields6(const std::string& source, const std::string& destination) {
    Ipv6Fields out;
    out.source = v6(source);
    out.destination = v6(destination);
    return out;
}

Packet plain6(const std::string& source, const std::string& destination) {
    return make_ipv6(fields6(source, destination));
}

Packet sized6(const std::string& source, const std::string& destination, std::size_t size) {
    auto of = fields6(source, destination);
    of.payload = Packet(size - 40, 0x5a);
    return make_ipv6(of);
}

Packet icmpv6(const std::string& source, const std::string& destination, std::uint8_t type) {
    auto of = fields6(source, destination);
    of.next_header = 58;
    of.payload = {type, 0, 0, 0, 0, 0, 0, 0};
    return make_ipv6(of);
}

class Ipv6Carrier : public ::testing::Test {
protected:
    Ipv6Carrier() {
        auto with_prefix = make_v6_spec("2001:db8:100::7", "192.0.2.99");
        with_prefix.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
        world.add(with_prefix);
        world.add(make_v6_spec("2001:db8:100::8", "192.0.2.99", 40000));
        world.add(make_spec("192.0.2.7", "2001:db8:1::5"));
    }
    CarrierWorld world{endpoint_config()};
};

TEST_F(Ipv6Carrier, UpCarriesWhatIsWholeAndNothingElse) {
    const auto good = plain6("2001:db8:100::7", host);
    expect_rows_up(world, first,
                   {{"plain", good, "", good},
                    {"bytes behind the end are cut off", joined(good, Packet(7)), "", good},
                    {"empty", {}, "inner_truncated", {}},
                    {"IPv4 inside", plain("192.0.2.7", "203.0.113.80"), "inner_bad_version", {}},
                    {"signalling without a port", Packet(48, 0xf0), "inner_bad_version", {}},
                    {"longer than what came", changed(good, 5, 9), "inner_truncated", {}}});
    for (std::size_t size = 0; size < good.size(); ++size) {
        const Packet cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
        expect_rows_up(world, first, {{"cut", cut, "inner_truncated", {}}});
    }
}

TEST_F(Ipv6Carrier, UpChecksTheSourceWithItsEncapsulationAndPort) {
    const auto good = plain6("2001:db8:100::7", host);
    const auto behind = plain6("2001:db8:200:ff::1", host);
    const auto in_udp = plain6("2001:db8:100::8", host);
    expect_rows_up(world, first,
                   {{"its address", good, "", good},
                    {"its prefix", behind, "", behind},
                    {"beside its prefix", plain6("2001:db8:200:100::1", host), "unknown_inner", {}},
                    {"the other's", in_udp, "spoofed_inner", {}},
                    {"the endpoint's", plain6("2001:db8:100::1", host), "bad_source", {}},
                    {"unspecified", plain6("::", host), "bad_source", {}},
                    {"loopback", plain6("::1", host), "bad_source", {}},
                    {"mapped", plain6("::ffff:192.0.2.7", host), "bad_source", {}},
                    {"compatible", plain6("::192.0.2.7", host), "bad_source", {}},
                    {"multicast", plain6("ff05::2", host), "bad_source", {}}});
    expect_rows_up(world, second,
                   {{"its address", in_udp, "", in_udp}, {"spoofed", good, "spoofed_inner", {}}});
    const Peer same_without_udp = first;
    expect_rows_up(world, same_without_udp, {{"not in UDP", in_udp, "spoofed_inner", {}}});
    expect_rows_up(world, Peer{TunnelType::v6udpv4, {v4("192.0.2.99"), 40001}},
                   {{"another port", in_udp, "spoofed_outer", {}},
                    {"nobody's", plain6("2001:db8:100::9", host), "unknown_outer", {}}});
    expect_rows_up(world, Peer{TunnelType::v6v4, {v4("192.0.2.98"), 0}},
                   {{"another host", good, "spoofed_outer", {}}});
}

TEST_F(Ipv6Carrier, WhatBelongsToOneLinkIsDroppedBothWaysAndCounted) {
    const std::vector<Row> rows{
        {"solicitation", icmpv6("fe80::7", "ff02::2", 133), "router_solicitation", {}},
        {"without a source", icmpv6("::", "ff02::2", 133), "router_solicitation", {}},
        {"from a link-local source", plain6("fe80::7", host), "link_local", {}},
        {"to a link-local host", plain6("2001:db8:100::7", "fe80::1"), "link_local", {}},
        {"multicast of the link", plain6("2001:db8:100::7", "ff02::fb"), "link_local", {}},
        {"advertisement", icmpv6("fe80::7", "ff02::1", 134), "link_local", {}}};
    expect_rows_up(world, first, rows);
    expect_rows_down(world, endpoint, first, rows);
    expect_rows_up(
        world, first,
        {{"wider multicast", plain6("2001:db8:100::7", "ff05::2"), "bad_destination", {}}});
}

TEST_F(Ipv6Carrier, DownGoesToTheHolderOfTheAddressOrItsPrefix) {
    const auto to_first = plain6(host, "2001:db8:100::7");
    const auto behind_first = plain6(host, "2001:db8:200::1");
    const auto to_second = plain6(host, "2001:db8:100::8");
    const auto hairpin = plain6("2001:db8:100::8", "2001:db8:200::1");
    expect_rows_down(world, endpoint, first,
                     {{"address", to_first, "", to_first},
                      {"prefix", behind_first, "", behind_first},
                      {"hairpin", hairpin, "", hairpin},
                      {"nobody's", plain6(host, "2001:db8:100::9"), "no_tunnel", {}},
                      {"beside the prefix", plain6(host, "2001:db8:200:100::"), "no_tunnel", {}}});
    expect_rows_down(world, endpoint_udp, second, {{"in UDP", to_second, "", to_second}});
}

TEST_F(Ipv6Carrier, TrafficClassIsCopiedOutAndEcnIn) {
    auto marked = fields6(host, "2001:db8:100::7");
    marked.traffic_class = 0xb9;
    const auto packet = make_ipv6(marked);
    expect_rows_down(world, endpoint, first, {{"EF, ECT(1)", packet, "", packet}});
    // RFC 6040 s4.2, figure 4: [inner][outer], 9 = dropped. 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE.
    constexpr std::uint8_t figure[4][4] = {{0, 0, 0, 9}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    for (std::uint8_t inner = 0; inner < 4; ++inner) {
        for (std::uint8_t outer = 0; outer < 4; ++outer) {
            SCOPED_TRACE(std::to_string(inner) + " in " + std::to_string(outer));
            auto of = fields6("2001:db8:100::7", host);
            of.traffic_class = static_cast<std::uint8_t>(0xb8 | inner);
            const auto whole = make_outer(first.type, first.endpoint, endpoint,
                                          static_cast<std::uint8_t>(0x28 | outer), make_ipv6(of));
            const auto outcome = world.up(whole);
            of.traffic_class = static_cast<std::uint8_t>(0xb8 | figure[inner][outer]);
            const bool is_dropped = figure[inner][outer] == 9;
            EXPECT_EQ(outcome.verdict.counter, is_dropped ? "ecn_congested" : "");
            EXPECT_EQ(outcome.verdict.packet, is_dropped ? Packet() : make_ipv6(of));
            expect_same(outcome, world.model_up(whole), "model");
        }
    }
}

TEST_F(Ipv6Carrier, WhatDoesNotFitIsAnsweredWithPacketTooBig) {
    const auto fits = sized6(host, "2001:db8:100::7", 1480);
    const auto fits_in_udp = sized6(host, "2001:db8:100::8", 1472);
    expect_rows_down(world, endpoint, first, {{"fits", fits, "", fits}});
    expect_rows_down(world, endpoint_udp, second, {{"fits", fits_in_udp, "", fits_in_udp}});
    EXPECT_EQ(world.down(sized6(host, "2001:db8:100::8", 1473)).verdict.counter, "too_big");
    const auto too_big = sized6(host, "2001:db8:100::7", 1481);
    const auto outcome = world.down(too_big);
    EXPECT_EQ(outcome.verdict.counter, "too_big");
    expect_same(outcome, world.model_down(too_big), "model");
    const auto& answer = outcome.verdict.answer;
    ASSERT_EQ(answer.size(), 1280u) << "RFC 4443 s2.4 (c)";
    EXPECT_EQ(load_ipv6(answer, 8), v6("2001:db8:100::1"));
    EXPECT_EQ(load_ipv6(answer, 24), v6(host));
    EXPECT_EQ(load16(answer, 40), 0x0200);
    EXPECT_EQ(load32(answer, 44), 1480u);
    EXPECT_EQ(packets::ipv6_checksum_error(answer, 58), 0);
    EXPECT_TRUE(std::equal(answer.begin() + 48, answer.end(), too_big.begin()));
}

TEST_F(Ipv6Carrier, ErrorsAreNeverAnswered) {
    for (const auto type : std::vector<std::uint8_t>{1, 2, 3, 4, 137}) {
        auto packet = icmpv6(host, "2001:db8:100::7", type);
        packet.resize(1500);
        store16(packet, 4, 1460);
        const auto outcome = world.down(packet);
        EXPECT_EQ(outcome.verdict.counter, "too_big");
        EXPECT_TRUE(outcome.verdict.answer.empty()) << int{type};
        expect_same(outcome, world.model_down(packet), "model");
    }
}

TEST_F(Ipv6Carrier, MssIsClampedBehindExtensionHeadersToo) {
    for (const auto& extension : {Packet(), Packet{6, 0, 1, 4, 0, 0, 0, 0}}) {
        auto of = fields6("2001:db8:100::7", host);
        of.next_header = 60;
        of.payload = extension;
        const auto syn = make_syn(of, {2, 4, 0x05, 0xb4});
        const auto clamped = make_syn(of, {2, 4, 0x05, 0x8c});
        expect_rows_up(world, first, {{"SYN", syn, "", clamped}});
        EXPECT_EQ(packets::ipv6_checksum_error(clamped, 6, 40 + extension.size()), 0);
    }
}

TEST_F(Ipv6Carrier, PathIsLoweredButNeverBelowTheMinimumInside) {
    const auto big = sized6(host, "2001:db8:100::7", 1400);
    const auto sent = world.down(big).verdict.packet;
    const auto outcome = world.relay(3, 4, 1400, sent);
    expect_same(outcome, world.model_relay(3, 4, 1400, sent), "model");
    EXPECT_EQ(load32(outcome.verdict.answer, 44), 1380u);
    EXPECT_EQ(world.down(big).verdict.counter, "too_big");
    for (const std::uint32_t mtu : {576, 0}) {
        const auto narrow = world.relay(3, 4, mtu, sent);
        expect_same(narrow, world.model_relay(3, 4, mtu, sent), "model");
        EXPECT_EQ(load32(narrow.verdict.answer, 44), 1280u);
    }
    const auto least = sized6(host, "2001:db8:100::7", 1280);
    expect_rows_down(world, endpoint, first, {{"in fragments, if need be", least, "", least}});
    const auto other = sized6(host, "2001:db8:100::8", 1400);
    expect_rows_down(world, endpoint_udp, second, {{"another path", other, "", other}});
}

TEST_F(Ipv6Carrier, ShortQuoteLowersThePathWithoutAnAnswer) {
    const auto big = sized6(host, "2001:db8:100::7", 1400);
    auto sent = world.down(big).verdict.packet;
    sent.resize(28);  // RFC 792: the header and 8 bytes
    const auto outcome = world.relay(3, 4, 1400, sent);
    expect_same(outcome, world.model_relay(3, 4, 1400, sent), "model");
    EXPECT_TRUE(outcome.verdict.answer.empty());
    EXPECT_EQ(outcome.verdict.counter, "");
    EXPECT_EQ(world.down(big).verdict.counter, "too_big");
    EXPECT_EQ(world.relay(3, 1, 0, sent).verdict.counter, "icmp_ignored");
}

TEST_F(Ipv6Carrier, ErrorsFromThePathReachTheInnerSource) {
    struct Case {
        std::uint8_t type, code;
        bool from_first, from_second;
    };
    for (const auto& [type, code, from_first, from_second] : {Case{3, 0, true, true},
                                                              {3, 1, true, true},
                                                              {3, 2, true, true},
                                                              {3, 3, false, true},
                                                              {3, 13, true, true},
                                                              {4, 0, false, false},
                                                              {11, 0, true, true},
                                                              {11, 1, false, false},
                                                              {12, 0, true, true}}) {
        SCOPED_TRACE(std::to_string(type) + "/" + std::to_string(code));
        for (const auto& [inner, relayed] : {std::pair("2001:db8:100::7", from_first),
                                             std::pair("2001:db8:100::8", from_second)}) {
            const auto sent = world.down(plain6(host, inner)).verdict.packet;
            const auto outcome = world.relay(type, code, 0, sent);
            EXPECT_EQ(outcome.verdict.counter, relayed ? "" : "icmp_ignored");
            if (relayed) {
                EXPECT_EQ(load16(outcome.verdict.answer, 40), 0x0103) << "address";
            }
            expect_same(outcome, world.model_relay(type, code, 0, sent), "model");
        }
    }
}

TEST_F(Ipv6Carrier, NothingIsCarriedFromTheSecondOfExpiryOn) {
    const Now after{start.instant, start.wall + std::chrono::hours(1)};
    const auto up =
        make_outer(first.type, first.endpoint, endpoint, 0, plain6("2001:db8:200::1", host));
    const auto down = plain6(host, "2001:db8:200::1");
    expect_same(world.up(up, after), world.model_up(up, after), "up");
    expect_same(world.down(down, after), world.model_down(down, after), "down");
    EXPECT_EQ(world.carrier().drops().of(Drop::expired), 2u);
}

TEST_F(Ipv6Carrier, EncapsulationChangesInOneStepAndTheCountersLiveOn) {
    const auto packet = plain6("2001:db8:100::7", host);
    expect_rows_up(world, first, {{"before", packet, "", packet}});
    world.add(make_v6_spec("2001:db8:100::7", "192.0.2.97", 5000, 2));
    const Peer now{TunnelType::v6udpv4, {v4("192.0.2.97"), 5000}};
    expect_rows_up(world, now, {{"after", packet, "", packet}});
    expect_rows_up(world, first, {{"the old way", packet, "spoofed_outer", {}}});
    const auto* tunnel = world.carrier().tunnels().find(v6("2001:db8:100::7"));
    EXPECT_EQ(tunnel->counters.packets_up, 2u);
}

TEST(Ipv6CarrierWithoutHairpin, KnowsAPrefixAsItsClient) {
    auto config = endpoint_config();
    config.hairpin = false;
    CarrierWorld world(config);
    auto with_prefix = make_v6_spec("2001:db8:100::7", "192.0.2.99");
    with_prefix.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
    world.add(with_prefix);
    world.add(make_v6_spec("2001:db8:100::8", "192.0.2.99", 40000));
    const auto from_host = plain6(host, "2001:db8:100::8");
    expect_rows_down(
        world, endpoint_udp, second,
        {{"from behind", plain6("2001:db8:200::1", "2001:db8:100::8"), "hairpin_off", {}},
         {"from outside", from_host, "", from_host}});
}

class Ipv6ClientCarrier : public ::testing::Test {
protected:
    Ipv6ClientCarrier() {
        auto spec = make_v6_spec("2001:db8:100::7", "192.0.2.99", 40000);
        spec.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
        world.add(spec);
    }
    CarrierWorld world{client_config()};
};

TEST_F(Ipv6ClientCarrier, UpIsFromItsEndpointToItselfOrBehindIt) {
    const Peer from{TunnelType::v6udpv4, endpoint_udp};
    const auto good = plain6(host, "2001:db8:100::7");
    const auto behind = plain6(host, "2001:db8:200::9");
    expect_rows_up(
        world, from,
        {{"to itself", good, "", good},
         {"behind it", behind, "", behind},
         {"to another", plain6(host, "2001:db8:100::8"), "bad_destination", {}},
         {"compatible", plain6("::192.0.2.7", "2001:db8:100::7"), "bad_source", {}},
         {"from behind it", plain6("2001:db8:200::9", "2001:db8:100::7"), "bad_source", {}}});
    expect_rows_up(world, Peer{TunnelType::v6udpv4, {endpoint_outer_ipv4, 1}},
                   {{"another port", good, "unknown_outer", {}}});
    expect_rows_up(world, Peer{TunnelType::v6v4, endpoint},
                   {{"another encapsulation", good, "unknown_outer", {}}});
}

TEST_F(Ipv6ClientCarrier, DownIsFromItselfOrBehindIt) {
    const IpEndpoint own{v4("192.0.2.99"), 40000};
    const Peer to{TunnelType::v6udpv4, endpoint_udp};
    const auto good = plain6("2001:db8:100::7", host);
    const auto behind = plain6("2001:db8:200::9", host);
    expect_rows_down(world, own, to,
                     {{"from itself", good, "", good},
                      {"from behind", behind, "", behind},
                      {"IPv4", plain("192.0.2.7", "203.0.113.80"), "bad_source", {}},
                      {"another source", plain6("2001:db8:9::1", host), "bad_source", {}}});
    const auto path = world.carrier().client_path(start);
    EXPECT_EQ(path->inner_mtu, 1472u);
    EXPECT_EQ(path->inner_mtu_min, 1280u);
}

TEST(Ipv6CarrierAdd, RefusesWhatCannotBe) {
    const auto good = make_v6_spec("2001:db8:100::7", "192.0.2.99", 40000);
    const auto code_after = [&](const std::function<void(TunnelSpec&)>& change,
                                const TunPlaneConfig& config = endpoint_config()) {
        Carrier carrier(config, [](const auto&) { return 1500u; });
        auto spec = good;
        change(spec);
        const auto added = carrier.add(spec);
        return added ? std::nullopt : std::optional(added.error().code);
    };
    using Spec = TunnelSpec;
    const auto prefix = [](const char* text) {
        return [text](Spec& s) { s.inner_prefix = Ipv6Prefix::parse(text).value(); };
    };
    EXPECT_EQ(code_after([](Spec&) {}), std::nullopt);
    EXPECT_EQ(code_after(prefix("2001:db8:200::/56")), std::nullopt);
    for (const auto& change : std::vector<std::function<void(Spec&)>>{
             [](Spec& s) { s.outer_client.port = 0; }, [](Spec& s) { s.type = TunnelType::v6v4; },
             [](Spec& s) { s.inner = v4("192.0.2.7"); },
             [](Spec& s) { s.inner = v6("2001:db8:100::1"); },
             [](Spec& s) { s.inner = v6("2001:db8:9::1"); },
             [](Spec& s) { s.inner = v6("fe80::1"); },
             [](Spec& s) { s.outer_client.address = v4("127.0.0.1"); },
             [](Spec& s) { s.outer_client.address = v6("2001:db8:1::5"); },
             [](Spec& s) { s.outer_server = v4("198.51.100.2"); }, prefix("2001:db8:9::/56"),
             prefix("2001:db8:200::/39"), prefix("2001:db8:100::/64")}) {
        EXPECT_EQ(code_after(change), ErrorCode::invalid);
    }
    auto without_port = endpoint_config();
    without_port.udp_port = 0;
    EXPECT_EQ(code_after([](Spec&) {}, without_port), ErrorCode::refused);
    auto client = client_config();
    client.udp_socket = nullptr;
    EXPECT_EQ(code_after([](Spec&) {}, client), ErrorCode::refused);
}

}  // namespace
}  // namespace dstm::dataplane::testing
