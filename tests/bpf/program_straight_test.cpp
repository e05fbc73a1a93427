// Layer 2 for v4v6, by XDP and by tc: what goes straight is the packet of the reference model, one
// hop later; what is not plain is layer 1's, and untouched. By tc the program that sees a packet of
// a tunnel is layer 1 too. (program_xdp_test.cpp has XDP's packets written out.)
#include "bpf/ipv4_endpoint.hpp"
#include "bpf/layer2.hpp"

namespace dstm::test {
namespace {

constexpr std::size_t mtu = 1500;
constexpr std::size_t overhead = 40;

struct Row {
    const char* description;
    Packet packet;
    Fate fate = Fate::straight;
};

Inner to_client() { return {v4("203.0.113.80"), v4("192.0.2.7")}; }
Inner from_client() { return {v4("192.0.2.7"), v4("203.0.113.80")}; }
Outer around_it() { return {v6("2001:db8:1::7"), v6(Endpoint::outer)}; }

template <class Header, class Change>
Header with(Header header, Change change) {
    change(header);
    return header;
}

Packet with_wrong_checksum(Packet packet, std::size_t header = 0) {
    packet.at(header + 10) ^= 1;
    return packet;
}

Packet of_size(const Inner& inner, std::size_t size) {
    return make(with(inner, [&](Inner& i) { i.payload.resize(size - 20); }));
}

// Nothing for which the kernel or the daemon must say or change something.
bool is_plain(const Packet& ip) {
    if (ip.size() < 20 || ip[0] != 0x45 || ip[8] <= 1) return false;
    if ((load16(ip, 6) & 0x3fff) != 0) return false;
    if (internet_checksum(ConstBytes(ip).first(20)) != 0) return false;
    return ip[9] != 6 || (ip.size() >= 34 && (ip[33] & 0x02) == 0);
}

class ProgramStraight : public Layer2Test<Ipv4Endpoint> {
protected:
    void up(const Packet& packet, Fate fate = Fate::straight) {
        const auto outcome = run(ethertype_ipv6, packet);
        const auto model = model::decapsulate(world, packet, now);
        if (fate == Fate::left || (is_xdp() && fate == Fate::layer_1)) {
            expect_untouched(outcome, packet);
        } else if (fate == Fate::straight) {
            EXPECT_EQ(model.counter, "");
            expect_gone(outcome, ethertype_ipv4, routed(model.packet));
        } else if (fate == Fate::dropped || !model.counter.empty()) {
            expect_dropped(outcome, model.counter);
        } else if (outcome.verdict == TC_ACT_REDIRECT) {  // from client to client
            const auto turned = model::encapsulate(world, routed(model.packet), now);
            expect_gone(outcome, ethertype_ipv6, turned.packet);
        } else {
            EXPECT_EQ(outcome.verdict, TC_ACT_OK);
            EXPECT_EQ(outcome.packet, model.packet);
        }
        EXPECT_EQ(endpoint->drops(), expected);
    }

    void down(const Packet& packet, Fate fate = Fate::straight) {
        const auto outcome = run(ethertype_ipv4, packet);
        if (fate == Fate::straight) {
            const auto model = model::encapsulate(world, routed(packet), now);
            EXPECT_EQ(model.counter, "");
            expect_gone(outcome, ethertype_ipv6, model.packet, XDP_TX);
        } else if (fate == Fate::dropped && is_xdp()) {
            expect_dropped(outcome, model::encapsulate(world, packet, now).counter);
        } else {
            expect_untouched(outcome, packet);
        }
        EXPECT_EQ(endpoint->drops(), expected);
    }

    // `inside` is all that follows the outer headers.
    [[nodiscard]] Fate fate_up(const Outer& outer, const Packet& inside,
                               const std::string& counter) const {
        if (!is_for_a_program(outer)) return Fate::left;
        if (!is_plain(inside)) return Fate::layer_1;
        const std::size_t total = load16(inside, 2);
        const auto destination = load_ipv4(inside, 16);
        if (destination == world.inner) return Fate::layer_1;
        const bool is_of_the_pool = v4("192.0.2.0").host_order() >> 8 ==
                                    destination.host_order() >> 8;
        if (is_xdp() && (!outer.extension.empty() || total != inside.size() || is_of_the_pool)) {
            return Fate::layer_1;
        }
        if (!counter.empty()) return Fate::dropped;
        const bool is_turned = world.tunnels[0].inner == IpAddress(destination) ||
                               world.tunnels[1].inner == IpAddress(destination);
        if (is_turned && outer.extension.empty() && total + overhead <= mtu) return Fate::layer_1;
        return total <= mtu ? Fate::straight : Fate::layer_1;
    }

    [[nodiscard]] Fate fate_down(const Packet& packet, const std::string& counter) const {
        if (!is_plain(packet)) return Fate::layer_1;
        const std::size_t total = load16(packet, 2);
        const auto first_of_source = packet[12];
        const bool is_a_host = first_of_source != 0 && first_of_source != 127 &&
                               first_of_source < 224;
        if (!is_a_host || load_ipv4(packet, 12) == world.inner) return Fate::layer_1;
        if (is_xdp() && total != packet.size()) return Fate::layer_1;
        if (is_xdp() && counter == "expired") return Fate::dropped;
        return counter.empty() && total + overhead <= mtu ? Fate::straight : Fate::layer_1;
    }
};
INSTANTIATE_TEST_SUITE_P(By, ProgramStraight, testing::Values(Layer2::xdp, Layer2::tc), name_of);

TEST_P(ProgramStraight, UpTable) {
    const auto up_of = [](const Inner& inner) { return make(around_it(), make(inner)); };
    const auto outer = [](const char* source) {
        return with(around_it(), [&](Outer& o) { o.source = v6(source); });
    };
    const auto from = [](const char* source) {
        return with(from_client(), [&](Inner& i) { i.source = v4(source); });
    };
    const auto to = [](const char* destination) {
        return with(from_client(), [&](Inner& i) { i.destination = v4(destination); });
    };
    const auto next = [](std::uint8_t header, Packet extension) {
        return with(around_it(), [&](Outer& o) {
            o.next_header = header;
            o.extension = std::move(extension);
        });
    };
    const auto plain = make(from_client());
    const auto fragment = [](std::uint16_t field) {
        return with(from_client(), [&](Inner& i) { i.fragment = field; });
    };
    const std::vector<Row> rows{
        {"plain", up_of(from_client())},
        {"the same again, by the way that is known now", up_of(from_client())},
        {"by a router", up_of(to("8.8.8.8"))},
        {"DF", up_of(fragment(0x4000))},
        {"TCP", make(around_it(), tcp(from_client(), 0x10, {}))},
        {"as large as the way", make(around_it(), of_size(from_client(), mtu))},
        {"outer hop limit 1",
         make(with(around_it(), [](Outer& o) { o.hop_limit = 1; }), plain)},
        {"inner of another client", make(outer("2001:db8:1::8"), plain), Fate::dropped},
        {"outer of nobody", make(outer("2001:db8:66::1"), plain), Fate::dropped},
        {"inner of nobody", up_of(from("192.0.2.77")), Fate::dropped},
        {"both of nobody", make(outer("2001:db8:66::1"), make(from("192.0.2.77"))),
         Fate::dropped},
        {"inner of the endpoint", up_of(from("192.0.2.1")), Fate::dropped},
        {"inner loopback", up_of(from("127.0.0.1")), Fate::dropped},
        {"inner unspecified", up_of(from("0.0.0.0")), Fate::dropped},
        {"inner multicast", up_of(from("224.0.0.1")), Fate::dropped},
        {"to multicast", up_of(to("239.1.1.1")), Fate::dropped},
        {"to everybody", up_of(to("255.255.255.255")), Fate::dropped},
        {"to loopback", up_of(to("127.0.0.1")), Fate::dropped},
        {"expired", make(outer("2001:db8:1::9"), make(from("192.0.2.9"))), Fate::dropped},
        {"TTL 1", up_of(with(from_client(), [](Inner& i) { i.ttl = 1; })), Fate::layer_1},
        {"TTL 0", up_of(with(from_client(), [](Inner& i) { i.ttl = 0; })), Fate::layer_1},
        {"to the endpoint", up_of(to("192.0.2.1")), Fate::layer_1},
        {"to another client", up_of(to("192.0.2.8")), Fate::layer_1},
        {"no way", up_of(to("198.51.100.9")), Fate::layer_1},
        {"too large for the way", make(around_it(), of_size(from_client(), mtu + 1)),
         Fate::layer_1},
        {"TCP SYN", make(around_it(), tcp(from_client(), 0x02, mss_option(1460))), Fate::layer_1},
        {"first fragment", up_of(fragment(0x2000)), Fate::layer_1},
        {"last fragment", up_of(fragment(3)), Fate::layer_1},
        {"IP options", up_of(with(from_client(), [](Inner& i) { i.options = {7, 4, 4, 0}; })),
         Fate::layer_1},
        {"a wrong checksum", with_wrong_checksum(up_of(from_client()), 40), Fate::layer_1},
        {"version 6 inside", make(around_it(), make(around_it(), plain)), Fate::layer_1},
        {"only a version", make(around_it(), Packet{0x45}), Fate::layer_1},
        {"only a wrong version", make(around_it(), Packet{0x60}), Fate::layer_1},
        {"another destination option", make(next(60, {4, 0, 1, 4, 0, 0, 0, 0}), plain),
         Fate::left},
        {"outer fragment", make(next(44, {4, 0, 0, 1, 0, 0, 0, 7}), plain), Fate::left},
        {"IPv6 inside", make(next(41, {}), plain), Fate::left},
        {"to another host",
         make(with(around_it(), [](Outer& o) { o.destination = v6("2001:db8:2::2"); }), plain),
         Fate::left},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.description);
        up(row.packet, row.fate);
    }
    // By tc besides what goes straight, what layer 1 carries.
    const auto first = endpoint->entry("192.0.2.7");
    EXPECT_EQ(first.packets_up, is_xdp() ? 7u : 18u);
    EXPECT_EQ(endpoint->entry("192.0.2.8").packets_down, is_xdp() ? 0u : 1u);
    const auto limit = make(next(60, {4, 0, 4, 1, 4, 1, 1, 0}), plain);
    up(limit, is_xdp() ? Fate::layer_1 : Fate::straight);
    auto longer = make(from_client());
    longer.insert(longer.end(), {0xaa, 0xbb});
    up(make(around_it(), longer), is_xdp() ? Fate::layer_1 : Fate::straight);
}

TEST_P(ProgramStraight, DownTable) {
    const auto fragment = [](std::uint16_t field) {
        return make(with(to_client(), [&](Inner& i) { i.fragment = field; }));
    };
    const auto from = [](const char* source) {
        return make(with(to_client(), [&](Inner& i) { i.source = v4(source); }));
    };
    const auto to = [](const char* destination) {
        return make(with(to_client(), [&](Inner& i) { i.destination = v4(destination); }));
    };
    const auto poke = [](std::size_t at, std::uint8_t value) {
        auto packet = make(to_client());
        packet.at(at) = value;
        store16(packet, 10, 0);
        store16(packet, 10, internet_checksum(ConstBytes(packet).first(20)));
        return packet;
    };
    const std::vector<Row> rows{
        {"plain", make(to_client())},
        {"DSCP and ECN", make(with(to_client(), [](Inner& i) { i.tos = 0xb9; }))},
        {"DF", fragment(0x4000)},
        {"TCP", tcp(to_client(), 0x10, {})},
        {"as large as fits", of_size(to_client(), mtu - overhead)},
        {"between clients", from("192.0.2.8")},
        {"a byte larger", of_size(to_client(), mtu - overhead + 1), Fate::layer_1},
        {"expired", to("192.0.2.9"), Fate::dropped},
        {"TTL 1", make(with(to_client(), [](Inner& i) { i.ttl = 1; })), Fate::layer_1},
        {"TTL 0", make(with(to_client(), [](Inner& i) { i.ttl = 0; })), Fate::layer_1},
        {"first fragment", fragment(0x2000), Fate::layer_1},
        {"last fragment", fragment(3), Fate::layer_1},
        {"IP options", make(with(to_client(), [](Inner& i) { i.options = {7, 4, 4, 0}; })),
         Fate::layer_1},
        {"TCP SYN", tcp(to_client(), 0x12, mss_option(1460)), Fate::layer_1},
        {"of no tunnel", to("192.0.2.77"), Fate::layer_1},
        {"of no pool", to("203.0.113.9"), Fate::layer_1},
        {"from this network", from("0.1.2.3"), Fate::layer_1},
        {"from loopback", from("127.0.0.1"), Fate::layer_1},
        {"from multicast", from("224.1.1.1"), Fate::layer_1},
        {"from everybody", from("255.255.255.255"), Fate::layer_1},
        {"from the endpoint", from("192.0.2.1"), Fate::layer_1},
        {"a wrong checksum", with_wrong_checksum(make(to_client())), Fate::layer_1},
        {"version 6", poke(0, 0x65), Fate::layer_1},
        {"a header of 16 bytes", poke(0, 0x44), Fate::layer_1},
        {"total length 19", poke(3, 19), Fate::layer_1},
        {"total length beyond the packet", poke(3, 33), Fate::layer_1},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.description);
        down(row.packet, row.fate);
    }
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 6u);
    EXPECT_EQ(endpoint->entry("192.0.2.7").bytes_down, 32u * 4 + 40 + 1460);
    auto longer = make(to_client());
    longer.insert(longer.end(), {0xaa, 0xbb});
    down(longer, is_xdp() ? Fate::layer_1 : Fate::straight);
}

TEST_P(ProgramStraight, EcnAndDscpInAllCombinations) {
    for (unsigned inner = 0; inner < 4; ++inner) {
        for (unsigned outer = 0; outer < 4; ++outer) {
            SCOPED_TRACE(inner * 10 + outer);
            auto packet = from_client();
            packet.tos = static_cast<std::uint8_t>(0xb8 + inner);
            auto around = around_it();
            around.traffic_class = static_cast<std::uint8_t>(0x20 + outer);
            up(make(around, make(packet)),
               inner == 0 && outer == 3 ? Fate::dropped : Fate::straight);
            std::swap(packet.source, packet.destination);
            down(make(packet));
        }
    }
    EXPECT_EQ(expected, (Counters{{"ecn_congested", 1}}));
}

TEST_P(ProgramStraight, HairpinThatIsOffIsDroppedInTheDriverAndByTheDeviceOtherwise) {
    auto settings = Endpoint::default_settings();
    settings.hairpin = false;
    endpoint = std::move(*Endpoint::open(settings));
    set_way_out(true);
    endpoint->install("192.0.2.7", "2001:db8:1::7");
    endpoint->install("192.0.2.8", "2001:db8:1::8");
    world.hairpin = false;
    down(make({v4("192.0.2.8"), v4("192.0.2.7")}), Fate::dropped);
    EXPECT_EQ(expected, (is_xdp() ? Counters{{"hairpin_off", 1}} : Counters{}));
}

TEST_P(ProgramStraight, CutAtEveryByteIsLeftToLayerOne) {
    const auto inside = make(from_client());
    const auto whole_down = make(to_client());
    for (std::size_t size = 1; size < inside.size(); ++size) {
        SCOPED_TRACE(size);
        const auto cut = [&](const Packet& packet) {
            return Packet(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(size));
        };
        up(make(around_it(), cut(inside)), Fate::layer_1);
        // The kernel's bench wants the whole header of a socket buffer that says it is IPv4.
        if (is_xdp() || size >= 20) down(cut(whole_down), Fate::layer_1);
    }
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_up, 0u);
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 0u);
}

TEST_P(ProgramStraight, RandomPacketsFareAsInTheModel) {
    constexpr int rounds = 10'000;
    Dice dice(4713);
    int straight_up = 0;
    int straight_down = 0;
    for (int i = 0; i < rounds && !HasFailure(); ++i) {
        SCOPED_TRACE(i);
        auto packet = random_inner(dice, likely_addresses());
        mutilate(dice, packet);
        const auto outer = random_outer(dice);
        const auto whole = make(outer, packet);
        const auto of_up = fate_up(outer, packet, model::decapsulate(world, whole, now).counter);
        straight_up += of_up == Fate::straight;
        up(whole, of_up);
        if (packet.size() < 20) continue;
        const auto of_down = fate_down(packet, model::encapsulate(world, packet, now).counter);
        straight_down += of_down == Fate::straight;
        down(packet, of_down);
    }
    EXPECT_GT(straight_up, rounds / 250);
    EXPECT_GT(straight_down, rounds / 250);
}

}  // namespace
}  // namespace dstm::test
