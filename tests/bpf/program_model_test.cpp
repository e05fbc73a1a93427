// Random packets through the programs and through the reference model must fare the same.
#include <linux/pkt_cls.h>

#include <random>

#include "bpf/test_run.hpp"
#include "common/base/bytes.hpp"
#include "common/tunnel/reference_model.hpp"

namespace dstm::test {
namespace {

constexpr int rounds = 20'000;
constexpr unsigned seed = 4711;

class Dice {
public:
    explicit Dice(unsigned start) : engine_(start) {}
    std::size_t below(std::size_t bound) {
        return std::uniform_int_distribution<std::size_t>(0, bound - 1)(engine_);
    }
    bool one_in(std::size_t many) { return below(many) == 0; }
    std::uint8_t byte() { return static_cast<std::uint8_t>(below(256)); }
    template <class Value>
    Value of(const std::vector<Value>& values) {
        return values[below(values.size())];
    }

private:
    std::mt19937 engine_;
};

Packet random_tcp(Dice& dice, const Inner& addresses) {
    Packet options;
    while (options.size() < 32 && !dice.one_in(3)) {
        switch (dice.below(4)) {
            case 0: options.push_back(1); break;
            case 1: options.insert(options.end(), {3, 3, 7}); break;
            case 2: options.push_back(dice.byte()); break;
            default: {
                const auto mss = mss_option(static_cast<std::uint16_t>(dice.below(3000)));
                options.insert(options.end(), mss.begin(), mss.end());
            }
        }
    }
    while (options.size() % 4 != 0) options.push_back(0);
    return tcp(addresses, dice.of<std::uint8_t>({0x02, 0x12, 0x10}), options);
}

Packet random_inner(Dice& dice, const std::vector<Ipv4Address>& addresses) {
    Inner inner{dice.of(addresses), dice.of(addresses)};
    inner.tos = dice.byte();
    inner.ttl = static_cast<std::uint8_t>(1 + dice.below(64));
    inner.protocol = dice.of<std::uint8_t>({17, 1, 6});
    if (dice.one_in(4)) inner.fragment = dice.of<std::uint16_t>({0x4000, 0x2000, 0x2001, 3});
    if (dice.one_in(6)) inner.options = {7, 4, 4, 0};
    if (inner.protocol == 6 && !dice.one_in(4)) return random_tcp(dice, inner);
    inner.payload = Packet(dice.one_in(5) ? dice.below(1600) : dice.below(40));
    for (auto& byte : inner.payload) byte = dice.byte();
    if (inner.protocol == 1 && !inner.payload.empty()) {
        inner.payload[0] = dice.of<std::uint8_t>({0, 3, 5, 8});
    }
    return make(inner);
}

void mutilate(Dice& dice, Packet& packet) {
    if (dice.one_in(6))
        packet.at(dice.below(std::min<std::size_t>(packet.size(), 8))) = dice.byte();
    if (dice.one_in(12)) packet.resize(1 + dice.below(packet.size()));
    if (dice.one_in(12)) packet.insert(packet.end(), {1, 2, 3});
}

class ProgramAndModel : public ProgramTest {
protected:
    void SetUp() override {
        ProgramTest::SetUp();
        if (!endpoint) return;
        world.inner = v4(Endpoint::inner);
        now = RealClock().wall();
        tunnel("192.0.2.7", "2001:db8:1::7", std::chrono::hours(1));
        tunnel("192.0.2.8", "2001:db8:1::8", std::chrono::hours(1));
        tunnel("192.0.2.9", "2001:db8:1::9", std::chrono::seconds(0));
        for (const auto* text : {"192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.9",
                                 "192.0.2.1", "192.0.2.77", "203.0.113.80", "203.0.113.80",
                                 "127.0.0.1", "224.0.0.5", "255.255.255.255"}) {
            addresses.push_back(v4(text));
        }
    }

    void tunnel(const char* inner, const char* outer, std::chrono::seconds lifetime) {
        TunnelSpec spec;
        spec.inner = v4(inner);
        spec.outer_client = {v6(outer), 0};
        spec.outer_server = v6(Endpoint::outer);
        spec.expires_at = now + lifetime;
        world.tunnels.push_back(spec);
    }

    model::World world;
    WallTime now;
    std::vector<Ipv4Address> addresses;
    std::map<std::string, std::uint64_t> expected_drops;
};

TEST_F(ProgramAndModel, WrapTheSamePacketsInTheSameWay) {
    Dice dice(seed);
    for (int i = 0; i < rounds && !HasFailure(); ++i) {
        SCOPED_TRACE(i);
        auto packet = random_inner(dice, addresses);
        mutilate(dice, packet);
        // The kernel's test bench reads 20 bytes of what says to be IPv4; and what does not say so
        // is none for this program.
        if (packet.size() < 20 || packet[0] >> 4 == 6) continue;
        const auto model = model::encapsulate(world, packet, now);
        const auto program = endpoint->down(packet);
        if (program.verdict == TC_ACT_OK) {
            // Left to the daemon: only for its size.
            EXPECT_GT(load16(packet, 2) + 40, 1500);
        } else if (program.verdict == TC_ACT_REDIRECT) {
            EXPECT_EQ(model.counter, "");
            EXPECT_EQ(program.packet, model.packet);
        } else {
            EXPECT_NE(model.counter, "");
            ++expected_drops[model.counter];
        }
    }
    EXPECT_EQ(endpoint->drops(), expected_drops);
}

TEST_F(ProgramAndModel, UnwrapTheSamePacketsInTheSameWay) {
    Dice dice(seed + 1);
    const std::vector<Ipv6Address> outers{v6("2001:db8:1::7"), v6("2001:db8:1::7"),
                                          v6("2001:db8:1::8"), v6("2001:db8:1::9"),
                                          v6("2001:db8:66::1")};
    int carried = 0;
    for (int i = 0; i < rounds && !HasFailure(); ++i) {
        SCOPED_TRACE(i);
        auto packet = random_inner(dice, addresses);
        mutilate(dice, packet);
        Outer outer{dice.of(outers), v6(Endpoint::outer)};
        outer.traffic_class = dice.byte();
        if (dice.one_in(5)) {
            outer.next_header = 60;
            outer.extension = {4, 0, 4, 1, dice.byte(), 1, dice.byte(), 0};
        }
        const auto whole = make(outer, packet);
        const auto model = model::decapsulate(world, whole, now);
        const auto program = endpoint->up(whole);
        if (program.verdict == TC_ACT_UNSPEC) {
            EXPECT_EQ(outer.next_header, 60);  // an option for the kernel to read
        } else if (program.verdict == TC_ACT_OK) {
            ++carried;
            EXPECT_EQ(model.counter, "");
            EXPECT_EQ(program.packet, model.packet);
        } else if (program.verdict == TC_ACT_REDIRECT) {
            // A hairpin: what the kernel would route back, one hop later.
            EXPECT_EQ(model.counter, "");
            auto routed = model.packet;
            store16(routed, 10,
                    updated_checksum(load16(routed, 10), load16(routed, 8),
                                     static_cast<std::uint16_t>(load16(routed, 8) - 256)));
            --routed[8];
            EXPECT_EQ(program.packet, model::encapsulate(world, routed, now).packet);
        } else {
            EXPECT_NE(model.counter, "");
            ++expected_drops[model.counter];
        }
    }
    EXPECT_GT(carried, rounds / 40);
    EXPECT_EQ(endpoint->drops(), expected_drops);
}

}  // namespace
}  // namespace dstm::test
