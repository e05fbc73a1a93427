// Random packets must not tell the fast carrier from the reference model: verdict, packet, answer
// and counters are the same. A failure prints the seed and the packet; DSTM_SEED replays it.
#include "tests/unit/dataplane/carrier_world.hpp"

#include <cstdlib>
#include <random>
#include <sstream>

namespace dstm::dataplane::testing {
namespace {

using packets::Ipv4Fields;
using packets::Ipv6Fields;
using packets::make_ipv4;
using packets::make_ipv6;
using packets::make_syn;

constexpr int packets_a_test = 30'000;

std::string hex(const Packet& packet) {
    std::ostringstream out;
    for (const auto byte : packet) out << std::hex << int{byte} / 16 << int{byte} % 16;
    return out.str();
}

class Dice {
public:
    explicit Dice(std::uint64_t seed) : engine_(seed) {}
    std::size_t below(std::size_t bound) { return engine_() % bound; }
    bool one_in(std::size_t n) { return below(n) == 0; }
    std::uint8_t byte() { return static_cast<std::uint8_t>(below(256)); }
    template <class Container>
    const auto& pick(const Container& from) {
        return from[below(from.size())];
    }
    Packet bytes(std::size_t size) {
        Packet out(size);
        for (auto& value : out) value = byte();
        return out;
    }

private:
    std::mt19937_64 engine_;
};

std::uint64_t seed() {
    const char* given = std::getenv("DSTM_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : 20250101;
}

// Few addresses, so that right and wrong ones meet often.
const std::vector<Ipv4Address> inners{v4("192.0.2.7"), v4("192.0.2.8"),       v4("192.0.2.9"),
                                      v4("192.0.2.1"), v4("192.0.2.10"),      v4("203.0.113.80"),
                                      v4("224.0.0.1"), v4("255.255.255.255"), v4("127.0.0.1")};
const std::vector<Ipv6Address> inners_ipv6{v6("2001:db8:100::7"),
                                           v6("2001:db8:100::8"),
                                           v6("2001:db8:100::9"),
                                           v6("2001:db8:100::1"),
                                           v6("2001:db8:200::5"),
                                           v6("2001:db8:200:1::5"),
                                           v6("2001:db8:3::80"),
                                           v6("2001:db8:3::81"),
                                           v6("2001:db8:100::aaaa"),
                                           v6("fe80::1"),
                                           v6("ff05::2"),
                                           v6("ff02::2"),
                                           v6("::")};
const std::vector<IpEndpoint> outers{{v6("2001:db8:1::5"), 0},
                                     {v6("2001:db8:4::5"), 0},
                                     {v6("2001:db8:9::9"), 0},
                                     {endpoint_outer, 0}};
const std::vector<IpEndpoint> outers_ipv4{
    {v4("192.0.2.99"), 0}, {v4("192.0.2.98"), 0}, {v4("192.0.2.97"), 0}, {endpoint_outer_ipv4, 0}};
const std::vector<IpEndpoint> outers_udp{{v4("192.0.2.99"), 40000},
                                         {v4("192.0.2.99"), 40001},
                                         {v4("192.0.2.97"), 40000},
                                         {endpoint_outer_ipv4, endpoint_port}};
const std::vector<std::uint8_t> protocols{1, 6, 6, 6, 17, 47};
const std::vector<std::uint8_t> protocols_ipv6{58, 6, 6, 6, 17, 47, 59};
const std::vector<std::size_t> sizes{0,    1,    7,    8,    20,   100,  1200, 1221, 1240, 1241,
                                     1260, 1412, 1432, 1433, 1440, 1441, 1452, 1453, 1600};

const std::vector<IpEndpoint>& outers_of(TunnelType type) {
    if (type == TunnelType::v4v6) return outers;
    return type == TunnelType::v6v4 ? outers_ipv4 : outers_udp;
}

Packet random_tcp_options(Dice& dice) {
    Packet out;
    while (dice.below(3) != 0 && out.size() < 30) {
        switch (dice.below(5)) {
            case 0: out.push_back(1); break;
            case 1:
            case 2: out.insert(out.end(), {2, 4, dice.byte(), dice.byte()}); break;
            case 3: out.insert(out.end(), {3, 3, dice.byte()}); break;
            default: out.push_back(dice.byte());
        }
    }
    out.resize((out.size() + 3) / 4 * 4);
    return out;
}

Packet random_ipv4(Dice& dice) {
    Ipv4Fields of;
    of.source = dice.pick(inners);
    of.destination = dice.pick(inners);
    of.traffic_class = dice.byte();
    of.dont_fragment = dice.one_in(2);
    of.more_fragments = dice.one_in(8);
    of.fragment_offset = dice.one_in(8) ? static_cast<std::uint16_t>(dice.below(8192)) : 0;
    of.protocol = dice.pick(protocols);
    of.options = dice.one_in(6) ? dice.bytes(4 * (1 + dice.below(10))) : Packet();
    of.payload = dice.bytes(dice.pick(sizes));
    if (of.protocol == 1 && !of.payload.empty()) {
        of.payload[0] = static_cast<std::uint8_t>(dice.one_in(3) ? 5 : dice.below(13));
    }
    return of.protocol == 6 && dice.one_in(2) ? make_syn(of, random_tcp_options(dice), dice.byte())
                                              : make_ipv4(of);
}

// Extension headers that end with `last`; the first one's type goes into `first`.
Packet random_extensions(Dice& dice, std::uint8_t last, std::uint8_t& first) {
    const std::vector<std::uint8_t> kinds{0, 43, 44, 60};
    Packet out;
    first = last;
    for (std::size_t n = dice.one_in(4) ? 1 + dice.below(10) : 0; n > 0; --n) {
        const auto kind = dice.pick(kinds);
        auto header = dice.bytes(kind == 44 ? 8 : 8 * (1 + dice.below(2)));
        header[0] = first;
        header[1] = static_cast<std::uint8_t>(header.size() / 8 - 1);
        if (kind == 44 && dice.one_in(2)) header[2] = header[3] = 0;
        out.insert(out.begin(), header.begin(), header.end());
        first = kind;
    }
    return out;
}

Packet random_ipv6(Dice& dice) {
    const auto protocol = dice.pick(protocols_ipv6);
    Ipv6Fields of;
    of.source = dice.pick(inners_ipv6);
    of.destination = dice.pick(inners_ipv6);
    of.traffic_class = dice.byte();
    of.payload = random_extensions(dice, protocol, of.next_header);
    if (protocol == 6 && dice.one_in(2)) {
        return make_syn(of, random_tcp_options(dice), dice.byte());
    }
    auto data = dice.bytes(dice.pick(sizes));
    const std::vector<std::uint8_t> icmp_types{1, 2, 3, 4, 128, 129, 133, 135, 137};
    if (protocol == 58 && !data.empty()) data[0] = dice.pick(icmp_types);
    of.payload.insert(of.payload.end(), data.begin(), data.end());
    return make_ipv6(of);
}

// Each as likely as it stands there often.
using Versions = std::vector<int>;

Packet random_inner(Dice& dice, const Versions& versions) {
    const bool is_ipv4 = dice.pick(versions) == 4;
    auto packet = is_ipv4 ? random_ipv4(dice) : random_ipv6(dice);
    if (dice.one_in(3)) {
        for (std::size_t n = 1 + dice.below(3); n > 0 && !packet.empty(); --n) {
            packet[dice.below(std::min<std::size_t>(packet.size(), 64))] = dice.byte();
        }
    }
    if (is_ipv4 && dice.one_in(20)) packet[0] = static_cast<std::uint8_t>(0x40 + dice.below(16));
    if (dice.one_in(10)) packet.resize(dice.below(packet.size() + 1));
    if (dice.one_in(10)) packet.resize(packet.size() + dice.below(20));
    return packet;
}

TunnelType random_type(Dice& dice) { return static_cast<TunnelType>(dice.below(3)); }

Packet random_outer(Dice& dice, const Packet& inner) {
    const bool is_ipv6 = !inner.empty() && inner[0] / 16 == 6;
    auto type = is_ipv6 ? TunnelType::v6v4 : TunnelType::v4v6;
    if (is_ipv6 && dice.one_in(2)) type = TunnelType::v6udpv4;
    if (dice.one_in(10)) type = random_type(dice);
    const auto& ends = outers_of(type);
    const auto congested = dice.one_in(3) ? 3 : 0;
    const auto traffic_class = static_cast<std::uint8_t>(dice.byte() | congested);
    return make_outer(type, dice.pick(ends), dice.pick(ends), traffic_class, inner);
}

// The same time for both, sometimes after the end of the tunnels.
Now random_time(Dice& dice) {
    return {start.instant, start.wall + std::chrono::minutes(dice.one_in(8) ? 60 : 5)};
}

// Each way a packet can end must have been met, else the dice are loaded.
void expect_all_met(const std::map<std::string, int>& met, const std::vector<const char*>& wanted) {
    for (const auto* verdict : wanted) {
        const auto found = met.find(verdict);
        EXPECT_TRUE(found != met.end() && found->second >= 10) << verdict;
    }
}

std::string ending_of(const model::Verdict& verdict) {
    const std::string ending = verdict.counter.empty() ? "passed" : verdict.counter;
    return verdict.answer.empty() ? ending : ending + " answered";
}

// How often each verdict was met.
std::map<std::string, int> compare_packets(CarrierWorld& world, Dice& dice,
                                           const Versions& versions) {
    std::map<std::string, int> met;
    for (int i = 0; i < packets_a_test; ++i) {
        const auto inner = random_inner(dice, versions);
        const auto now = random_time(dice);
        const auto outer = random_outer(dice, inner);
        const auto wanted_up = world.model_up(outer, now);
        const auto up = world.up(outer, now);
        EXPECT_EQ(up.verdict, wanted_up);
        EXPECT_EQ(up.moved, counters_of(wanted_up));
        ++met["up " + ending_of(wanted_up)];

        const auto wanted_down = world.model_down(inner, now);
        const auto down = world.down(inner, now);
        EXPECT_EQ(down.verdict, wanted_down);
        EXPECT_EQ(down.moved, counters_of(wanted_down));
        ++met["down " + ending_of(wanted_down)];
        if (::testing::Test::HasFailure()) {
            ADD_FAILURE() << "seed " << seed() << " packet " << i << " " << hex(outer);
            return met;
        }
        if (!dice.one_in(4)) continue;
        const bool is_icmpv6 = load8(outer, 0) >> 4 == 6;
        const std::vector<std::uint8_t> icmp_types{3, 3, 3, 4, 11, 12};
        const auto type =
            is_icmpv6 ? static_cast<std::uint8_t>(1 + dice.below(5)) : dice.pick(icmp_types);
        const auto code = static_cast<std::uint8_t>(dice.below(is_icmpv6 ? 3 : 5));
        const auto info = static_cast<std::uint32_t>(dice.one_in(9) ? 0 : 1200 + dice.below(400));
        auto quoted = outer;
        if (dice.one_in(4)) quoted.resize(std::min(quoted.size(), 40 + dice.below(60)));
        const auto wanted_relay = world.model_relay(type, code, info, quoted, now);
        const auto relay = world.relay(type, code, info, quoted, now);
        EXPECT_EQ(relay.verdict, wanted_relay);
        EXPECT_EQ(relay.moved, counters_of(wanted_relay));
        ++met["relay " + ending_of(wanted_relay)];
    }
    return met;
}

void add_v6_tunnels(CarrierWorld& world) {
    auto with_prefix = make_v6_spec("2001:db8:100::7", "192.0.2.99");
    with_prefix.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
    world.add(with_prefix);
    auto in_udp = make_v6_spec("2001:db8:100::8", "192.0.2.99", 40000);
    in_udp.inner_prefix = Ipv6Prefix::parse("2001:db8:200:1::/64").value();
    world.add(in_udp);
    world.add(make_v6_spec("2001:db8:100::9", "192.0.2.99", 40001));
}

TEST(CarrierAgainstModel, EndpointDoesTheSame) {
    for (const bool on : {true, false}) {
        Dice dice(seed());
        auto config = endpoint_config();
        config.hairpin = on;
        config.mss_clamp = on;
        CarrierWorld world(config);
        world.add(make_spec("192.0.2.7", "2001:db8:1::5"));
        world.add(make_spec("192.0.2.8", "2001:db8:4::5"));
        world.add(make_spec("192.0.2.9", "2001:db8:4::5"));
        add_v6_tunnels(world);
        const auto met = compare_packets(world, dice, {4, 6});
        expect_all_met(met, {"up passed",
                             "up inner_truncated",
                             "up inner_bad_version",
                             "up inner_bad_header_length",
                             "up inner_bad_total_length",
                             "up bad_source",
                             "up bad_destination",
                             "up link_local",
                             "up router_solicitation",
                             "up unknown_outer",
                             "up unknown_inner",
                             "up spoofed_inner",
                             "up spoofed_outer",
                             "up expired",
                             "up ecn_congested",
                             "down passed",
                             "down no_tunnel",
                             "down redirect",
                             "down link_local",
                             "down expired",
                             "down too_big",
                             "down too_big answered",
                             "relay passed",
                             "relay passed answered",
                             "relay icmp_ignored"});
        EXPECT_EQ(met.contains("down hairpin_off"), !on);
    }
}

TEST(CarrierAgainstModel, ClientDoesTheSame) {
    Dice dice(seed() + 1);
    CarrierWorld world(client_config());
    world.add(make_spec("192.0.2.7", "2001:db8:1::5"));
    expect_all_met(compare_packets(world, dice, {4, 4, 4, 6}),
                   {"up passed", "up bad_source", "up bad_destination", "up unknown_outer",
                    "up expired", "up ecn_congested", "down passed", "down bad_source",
                    "down bad_destination", "down too_big answered", "relay passed answered"});
}

TEST(CarrierAgainstModel, ClientOfIpv6DoesTheSame) {
    for (const std::uint16_t port : {std::uint16_t{0}, std::uint16_t{40000}}) {
        Dice dice(seed() + 3);
        CarrierWorld world(client_config());
        auto spec = make_v6_spec("2001:db8:100::7", "192.0.2.99", port);
        spec.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
        world.add(spec);
        expect_all_met(
            compare_packets(world, dice, {4, 6, 6, 6}),
            {"up passed", "up bad_source", "up bad_destination", "up unknown_outer",
             "up link_local", "up expired", "up ecn_congested", "down passed", "down bad_source",
             "down bad_destination", "down too_big answered", "relay passed answered"});
    }
}

TEST(CarrierAgainstModel, EndpointWithoutAnInnerAddressDoesTheSame) {
    Dice dice(seed() + 2);
    auto config = endpoint_config();
    config.inner.reset();
    CarrierWorld world(config, 1280);
    world.add(make_spec("192.0.2.7", "2001:db8:1::5"));
    const auto met = compare_packets(world, dice, {4, 6});
    expect_all_met(met, {"up passed", "down passed", "down too_big"});
    EXPECT_FALSE(met.contains("down too_big answered"));
}

}  // namespace
}  // namespace dstm::dataplane::testing
