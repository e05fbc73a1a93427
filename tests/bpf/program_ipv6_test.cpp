// IPv6 in IPv4 and in UDP, packet by packet through the programs and through the reference model:
// what goes on must be the same packet, what is dropped the same counter. What a program leaves to
// the daemon is named in its row.
#include <linux/pkt_cls.h>

#include "bpf/ipv6_endpoint.hpp"

namespace dstm::test {
namespace {

class ProgramIpv6 : public Ipv6Endpoint {
protected:
    void up(const Packet& packet, bool is_left = false) {
        const auto program = host->in([&] { return endpoint->up_ipv6(packet); });
        if (is_left) {
            EXPECT_EQ(program.verdict, TC_ACT_UNSPEC);
            EXPECT_EQ(program.packet, packet);
            return;
        }
        const auto model = model::decapsulate(world, packet, now);
        EXPECT_EQ(program.verdict, model.counter.empty() ? TC_ACT_OK : TC_ACT_SHOT);
        if (model.counter.empty()) {
            EXPECT_EQ(program.packet, model.packet);
        } else {
            ++expected[model.counter];
        }
        EXPECT_EQ(endpoint->drops(), expected);
    }

    void down(const Packet& packet, bool is_left = false) {
        const auto program = host->in([&] { return endpoint->down_ipv6(packet); });
        if (is_left) {
            EXPECT_EQ(program.verdict, TC_ACT_OK);
            EXPECT_EQ(program.packet, packet);
            return;
        }
        const auto model = model::encapsulate(world, packet, now);
        EXPECT_EQ(program.verdict, model.counter.empty() ? TC_ACT_REDIRECT : TC_ACT_SHOT);
        if (model.counter.empty()) {
            EXPECT_EQ(program.packet, with_df(model.packet));
        } else {
            ++expected[model.counter];
        }
        EXPECT_EQ(endpoint->drops(), expected);
    }
};

struct Row {
    const char* description;
    Packet packet;
    bool is_left = false;  // to the daemon
};

// Signalling and what else there is in UDP; extension headers.
bool is_for_the_daemon(const Ipv4& outer, const Packet& inside) {
    if (inside.at(0) >> 4 != 6) return outer.port != 0;
    if (inside.size() < 40 || inside.size() < std::size_t{40} + load16(inside, 4)) return false;
    return inside[6] == 0 || inside[6] == 43 || inside[6] == 44 || inside[6] == 60;
}

TEST_F(ProgramIpv6, PacketTooBigToTheEndpointIsLeftToTheDaemon) {
    Ipv6 said;
    said.destination = "2001:db8:100::1";
    said.payload = {2, 0, 0, 0, 0, 0, 5, 0};
    up(make(Ipv4{}, make(said)), true);
    said.payload[0] = 128;
    up(make(Ipv4{}, make(said)));
    said.payload[0] = 2;
    said.destination = remote;
    up(make(Ipv4{}, make(said)));
}

TEST_F(ProgramIpv6, UpTable) {
    const Ipv4 udp{.source = "10.0.4.5", .port = client_port};
    const auto plain = make(Ipv6{});
    const auto plain_in_udp = make(Ipv6{.source = in_udp});
    const auto from = [](const char* source) { return make(Ipv6{.source = source}); };
    const auto to = [](const char* destination) { return make(Ipv6{.destination = destination}); };
    const Packet solicitation{133, 0, 0, 0, 0, 0, 0, 0};
    const std::vector<Row> rows{
        {"v6v4", make(Ipv4{}, plain)},
        {"v6udpv4", make(udp, plain_in_udp)},
        {"from behind the client", make(Ipv4{}, from("2001:db8:200:7::9"))},
        {"from behind the other", make(udp, from("2001:db8:300:1::9"))},
        {"a prefix of nobody", make(Ipv4{}, from("2001:db8:200:100::9"))},
        {"hop limit 1", make(Ipv4{}, make(Ipv6{.hop_limit = 1}))},
        {"inner of the other client", make(Ipv4{}, plain_in_udp)},
        {"inner prefix of the other client", make(Ipv4{}, from("2001:db8:300::9"))},
        {"the other encapsulation", make(Ipv4{.port = client_port}, plain)},
        {"another port", make(Ipv4{.source = "10.0.4.5", .port = 9}, plain_in_udp)},
        {"outer of nobody", make(Ipv4{.source = "10.0.66.1"}, plain)},
        {"inner of nobody", make(Ipv4{}, from("2001:db8:100::77"))},
        {"both of nobody", make(Ipv4{.source = "10.0.66.1"}, from("2001:db8:100::77"))},
        {"inner of the endpoint", make(Ipv4{}, from("2001:db8:100::1"))},
        {"unspecified", make(Ipv4{}, from("::"))},
        {"IPv4-compatible", make(Ipv4{}, from("::192.0.2.7"))},
        {"IPv4-mapped", make(Ipv4{}, from("::ffff:192.0.2.7"))},
        {"from multicast", make(Ipv4{}, from("ff0e::7"))},
        {"to multicast of the site", make(Ipv4{}, to("ff05::2"))},
        {"to the loopback address", make(Ipv4{}, to("::1"))},
        {"to all routers of the link", make(Ipv4{}, to("ff02::2"))},
        {"from a link-local address", make(Ipv4{}, from("fe80::7"))},
        {"to a link-local address", make(Ipv4{}, to("febf::7"))},
        {"router solicitation",
         make(Ipv4{}, make(Ipv6{.source = "fe80::7", .payload = solicitation}))},
        {"expired", make(Ipv4{.source = "10.0.9.5"}, from(ended))},
        {"expired, and of another", make(Ipv4{}, from(ended))},
        {"version 4 inside", make(Ipv4{}, with_byte(plain, 0, 0x45))},
        {"no transport", make(Ipv4{}, make(Ipv6{.protocol = 59, .payload = {}}))},
        {"bytes behind the packet", make(Ipv4{}, cut(plain, plain.size() + 3))},
        {"length beyond the packet", make(Ipv4{}, with_byte(plain, 5, 200))},
        {"TCP SYN", make(Ipv4{}, make(Ipv6{.protocol = 6, .payload = tcp_syn()}))},
        {"TCP SYN in UDP",
         make(udp, make(Ipv6{.source = in_udp, .protocol = 6, .payload = tcp_syn()}))},
        {"signalling", make(udp, {0xf0, 1, 2, 3, 'V', 'E'}), true},
        {"neither data nor signalling", make(udp, {0x10, 1, 2, 3}), true},
        {"an empty datagram", make(udp, {}), true},
        {"another service", make(Ipv4{.port = client_port, .to_port = 53}, plain), true},
        {"another host", make(Ipv4{.destination = "198.51.100.2"}, plain), true},
        {"first outer fragment", make(Ipv4{.fragment = 0x2000}, plain), true},
        {"last outer fragment", make(Ipv4{.fragment = 3}, plain), true},
        {"IPv4 header with a wrong checksum", with_byte(make(Ipv4{}, plain), 10, 1), true},
        {"inner fragment", make(Ipv4{}, make(Ipv6{.protocol = 44})), true},
        {"hop-by-hop options", make(Ipv4{}, make(Ipv6{.protocol = 0})), true},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.description);
        up(row.packet, row.is_left);
    }
}

TEST_F(ProgramIpv6, DownTable) {
    const auto to = [](const char* destination) {
        return Ipv6{.source = remote, .destination = destination};
    };
    const auto of_size = [&](const char* destination, std::size_t size) {
        auto ip = to(destination);
        ip.payload.resize(size - 40);
        return make(ip);
    };
    auto syn = to(in_udp);
    syn.protocol = 6;
    syn.payload = tcp_syn();
    auto udp = to(in_udp);
    udp.protocol = 17;
    udp.payload = {0x12, 0x34, 0x56, 0x78, 0, 9, 0, 0, 'd'};
    auto solicitation = to(in_ipv4);
    solicitation.payload = {133, 0, 0, 0, 0, 0, 0, 0};
    auto fragment = to(in_ipv4);
    fragment.protocol = 44;
    const std::vector<Row> rows{
        {"v6v4", make(to(in_ipv4))},
        {"v6udpv4", make(to(in_udp))},
        {"the same again, by the way that is known now", make(to(in_udp))},
        {"to behind the client", make(to("2001:db8:200:7::9"))},
        {"to behind the other", make(to("2001:db8:300::1"))},
        {"UDP in UDP, of odd size", make(udp)},
        {"TCP SYN", make(syn)},
        {"as large as fits", of_size(in_ipv4, 1480)},
        {"a byte larger", of_size(in_ipv4, 1481), true},
        {"as large as fits in UDP", of_size(in_udp, 1472)},
        {"a byte larger in UDP", of_size(in_udp, 1473), true},
        {"of nobody", make(to("2001:db8:100::77"))},
        {"a prefix of nobody", make(to("2001:db8:200:100::9"))},
        {"expired", make(to(ended))},
        {"link-local", make(to("fe80::7"))},
        {"router solicitation", make(solicitation)},
        {"between clients", make(Ipv6{.source = in_ipv4, .destination = in_udp})},
        {"bytes behind the packet", cut(make(to(in_ipv4)), 60)},
        {"length beyond the packet", with_byte(make(to(in_ipv4)), 5, 200)},
        {"an inner fragment", make(fragment), true},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.description);
        down(row.packet, row.is_left);
    }
    open(false);
    down(make(Ipv6{.source = in_ipv4, .destination = in_udp}));
    EXPECT_EQ(expected, (Counters{{"hairpin_off", 1}}));
}

TEST_F(ProgramIpv6, EcnAndDscpInAllCombinations) {
    for (unsigned inner = 0; inner < 4; ++inner) {
        for (unsigned outer = 0; outer < 4; ++outer) {
            SCOPED_TRACE(inner * 10 + outer);
            const auto marked = static_cast<std::uint8_t>(0xb8 + inner);
            const auto tos = static_cast<std::uint8_t>(0x20 + outer);
            up(make(Ipv4{.tos = tos}, make(Ipv6{.traffic_class = marked})));
            down(make(
                Ipv6{.source = remote, .destination = in_udp, .traffic_class = marked}));
        }
    }
}

TEST_F(ProgramIpv6, CutAtEveryByte) {
    const auto packet = make(Ipv6{});
    for (std::size_t size = 1; size < packet.size(); ++size) {
        SCOPED_TRACE(size);
        up(make(Ipv4{}, cut(packet, size)));
    }
}

TEST_F(ProgramIpv6, RandomPacketsFareAsInTheModel) {
    Dice dice(4711);
    int carried = 0;
    for (int i = 0; i < 4000 && !HasFailure(); ++i) {
        SCOPED_TRACE(i);
        const auto ip = random_ipv6(dice);
        const auto outer = random_ipv4(dice);
        auto inside = make(ip);
        down(inside);
        mutilate(dice, inside);
        const auto packet = make(outer, inside);
        carried += model::decapsulate(world, packet, now).counter.empty();
        up(packet, is_for_the_daemon(outer, inside));
    }
    EXPECT_GT(carried, 100);
}

TEST_F(ProgramIpv6, PrefixThatChangesOrGoesIsNoLongerCarried) {
    auto& spec = world.tunnels[0];
    const auto behind = make(Ipv6{.source = "2001:db8:200:7::9"});
    up(make(Ipv4{}, behind));
    spec.inner_prefix = Ipv6Prefix::parse("2001:db8:400::/60").value();
    spec.generation = 2;
    endpoint->install_ipv6(spec);
    up(make(Ipv4{}, behind));
    up(make(Ipv4{}, make(Ipv6{.source = "2001:db8:400::9"})));
    spec.inner_prefix.reset();
    spec.generation = 3;
    endpoint->install_ipv6(spec);
    up(make(Ipv4{}, make(Ipv6{.source = "2001:db8:400::9"})));
    up(make(Ipv4{}, make(Ipv6{})));
    endpoint->ipv6_table().for_each([&](const tep::bpf::Ipv6TunnelView& view) {
        if (IpAddress(view.inner) == spec.inner) {
            EXPECT_EQ(view.entry.packets_up, 3u);
        }
    });
    EXPECT_EQ(endpoint->ipv6_table().remove(v6(in_ipv4), 2).error().code, ErrorCode::conflict);
    ASSERT_TRUE(endpoint->ipv6_table().remove(v6(in_ipv4), 3));
    world.tunnels.erase(world.tunnels.begin());
    up(make(Ipv4{}, make(Ipv6{})));
    EXPECT_EQ(endpoint->ipv6_table().size(), 2u);
}

}  // namespace
}  // namespace dstm::test
