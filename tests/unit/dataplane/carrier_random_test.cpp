// Random packets must not tell the fast carrier from the reference model: verdict, packet, answer
// and counters are the same. A failure prints the seed and the packet; DSTM_SEED replays it.
#include "tests/unit/dataplane/carrier_world.hpp"

#include <cstdlib>
#include <random>
#include <sstream>

namespace dstm::dataplane::testing {
namespace {

using packets::Ipv4Fields;
using packets::make_ipv4;
using packets::make_ipv6;
using packets::make_syn;

constexpr int packets_a_test = 40'000;

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
const std::vector<Ipv6Address> outers{v6("2001:db8:1::5"), v6("2001:db8:4::5"), v6("2001:db8:9::9"),
                                      endpoint_outer};
const std::vector<std::uint8_t> protocols{1, 6, 6, 6, 17, 47};
const std::vector<std::size_t> sizes{0, 1, 7, 8, 20, 100, 1200, 1221, 1240, 1440, 1441, 1600};

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

Packet random_inner(Dice& dice) {
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
        of.payload[0] = static_cast<std::uint8_t>(dice.below(13));
    }
    auto packet = of.protocol == 6 && dice.one_in(2)
                      ? make_syn(of, random_tcp_options(dice), dice.byte())
                      : make_ipv4(of);
    if (dice.one_in(3)) {
        for (std::size_t n = 1 + dice.below(3); n > 0 && !packet.empty(); --n) {
            packet[dice.below(std::min<std::size_t>(packet.size(), 64))] = dice.byte();
        }
    }
    if (dice.one_in(20)) packet[0] = static_cast<std::uint8_t>(0x40 + dice.below(16));
    if (dice.one_in(10)) packet.resize(dice.below(packet.size() + 1));
    if (dice.one_in(10)) packet.resize(packet.size() + dice.below(20));
    return packet;
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
std::map<std::string, int> compare_packets(CarrierWorld& world, Dice& dice) {
    std::map<std::string, int> met;
    for (int i = 0; i < packets_a_test; ++i) {
        const auto inner = random_inner(dice);
        const auto now = random_time(dice);
        const auto outer = make_ipv6(dice.pick(outers), dice.pick(outers), dice.byte(), 4, inner);
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
        const auto type = static_cast<std::uint8_t>(1 + dice.below(5));
        const auto code = static_cast<std::uint8_t>(dice.below(3));
        const auto info = static_cast<std::uint32_t>(1200 + dice.below(400));
        const auto wanted_relay = world.model_relay(type, code, info, outer, now);
        const auto relay = world.relay(type, code, info, outer, now);
        EXPECT_EQ(relay.verdict, wanted_relay);
        EXPECT_EQ(relay.moved, counters_of(wanted_relay));
        ++met["relay " + ending_of(wanted_relay)];
    }
    return met;
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
        const auto met = compare_packets(world, dice);
        expect_all_met(met, {"up passed",
                             "up inner_truncated",
                             "up inner_bad_version",
                             "up inner_bad_header_length",
                             "up inner_bad_total_length",
                             "up bad_source",
                             "up bad_destination",
                             "up unknown_outer",
                             "up unknown_inner",
                             "up spoofed_inner",
                             "up spoofed_outer",
                             "up expired",
                             "up ecn_congested",
                             "down passed",
                             "down no_tunnel",
                             "down redirect",
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
    expect_all_met(compare_packets(world, dice),
                   {"up passed", "up bad_source", "up bad_destination", "up unknown_outer",
                    "up expired", "up ecn_congested", "down passed", "down bad_source",
                    "down bad_destination", "down too_big answered", "relay passed answered"});
}

TEST(CarrierAgainstModel, EndpointWithoutAnInnerAddressDoesTheSame) {
    Dice dice(seed() + 2);
    auto config = endpoint_config();
    config.inner.reset();
    CarrierWorld world(config, 1280);
    world.add(make_spec("192.0.2.7", "2001:db8:1::5"));
    const auto met = compare_packets(world, dice);
    expect_all_met(met, {"up passed", "down passed", "down too_big"});
    EXPECT_FALSE(met.contains("down too_big answered"));
}

}  // namespace
}  // namespace dstm::dataplane::testing
