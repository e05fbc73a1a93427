// Layer 2 for tunnels with IPv6 inside: whole frames, by XDP and by tc. What goes straight is the
// packet of the reference model, one hop later; what is not plain is layer 1's, and untouched.
#include "bpf/ipv6_endpoint.hpp"
#include "bpf/layer2.hpp"

namespace dstm::test {
namespace {

constexpr std::size_t hop_limit_at = 7;

struct Row {
    const char* description;
    Packet packet;
    Fate fate = Fate::straight;
};

Packet routed(Packet ipv6) {
    --ipv6.at(hop_limit_at);
    return ipv6;
}

bool is_plain(const Packet& ipv6) {
    const bool is_syn = ipv6[6] == 6 && (ipv6.at(40 + 13) & 2) != 0;
    return ipv6[hop_limit_at] > 1 && !is_syn;
}

class ProgramIpv6Straight : public Layer2Test<Ipv6Endpoint> {
protected:
    void expect_sent(const Outcome& outcome, std::uint16_t ethertype, const Packet& packet) {
        expect_gone(outcome, ethertype, packet);
        // By tc the kernel's neighbour table writes the addresses now and then.
        if (is_xdp() || ethertype == ethertype_ipv6) {
            EXPECT_EQ(outcome.frame.at(5), ethertype == ethertype_ipv4 ? 0xfe : 0x06);
        }
    }

    void up(const Packet& packet, Fate fate = Fate::straight) {
        const auto outcome = run(ethertype_ipv4, packet);
        const auto model = model::decapsulate(world, packet, now);
        if (fate == Fate::left || (is_xdp() && fate == Fate::layer_1)) {
            expect_untouched(outcome, packet);
        } else if (fate == Fate::straight) {
            EXPECT_EQ(model.counter, "");
            expect_sent(outcome, ethertype_ipv6, routed(model.packet));
        } else if (fate == Fate::dropped || !model.counter.empty()) {
            expect_dropped(outcome, model.counter);
        } else {
            EXPECT_EQ(outcome.verdict, TC_ACT_OK);
            EXPECT_EQ(outcome.packet, model.packet);
        }
        EXPECT_EQ(endpoint->drops(), expected);
    }

    void down(const Packet& packet, Fate fate = Fate::straight) {
        const auto outcome = run(ethertype_ipv6, packet);
        if (fate == Fate::straight) {
            const auto model = model::encapsulate(world, routed(packet), now);
            EXPECT_EQ(model.counter, "");
            expect_sent(outcome, ethertype_ipv4, with_df(model.packet));
        } else if (fate == Fate::dropped && is_xdp()) {
            expect_dropped(outcome, model::encapsulate(world, packet, now).counter);
        } else {
            expect_untouched(outcome, packet);
        }
        EXPECT_EQ(endpoint->drops(), expected);
    }

    // Of a packet whose form is right.
    [[nodiscard]] Fate fate_up(const Packet& ipv6, const std::string& counter) const {
        const auto destination = load_ipv6(ipv6, 24);
        const bool stays = destination == world.inner_ipv6 || is_of_a_client(destination);
        if (!is_plain(ipv6) || stays) return Fate::layer_1;
        return counter.empty() ? Fate::straight : Fate::dropped;
    }
    [[nodiscard]] static Fate fate_down(const Packet& ipv6, const std::string& counter) {
        const auto source = load_ipv6(ipv6, 8);
        const bool is_own = source == v6("2001:db8:100::1");
        if (!is_plain(ipv6) || is_own || source.bytes()[0] == 0xff) return Fate::layer_1;
        if (counter == "expired" || counter == "hairpin_off") return Fate::dropped;
        return counter.empty() ? Fate::straight : Fate::layer_1;
    }
    [[nodiscard]] bool is_of_a_client(const Ipv6Address& address) const {
        return std::ranges::any_of(world.tunnels, [&](const TunnelSpec& spec) {
            return spec.inner == IpAddress(address) ||
                   (spec.inner_prefix && spec.inner_prefix->contains(address));
        });
    }
};
INSTANTIATE_TEST_SUITE_P(By, ProgramIpv6Straight, testing::Values(Layer2::xdp, Layer2::tc),
                         name_of);

TEST_P(ProgramIpv6Straight, UpTable) {
    const Ipv4 udp{.source = "10.0.4.5", .port = client_port};
    const auto plain = make(Ipv6{});
    const auto plain_in_udp = make(Ipv6{.source = in_udp});
    const auto from = [](const char* source) { return make(Ipv6{.source = source}); };
    const auto to = [](const char* destination) { return make(Ipv6{.destination = destination}); };
    const auto syn = [](const char* source, std::uint8_t flags) {
        return make(Ipv6{.source = source, .protocol = 6, .payload = tcp(flags)});
    };
    const std::vector<Row> rows{
        {"v6v4", make(Ipv4{}, plain)},
        {"v6udpv4", make(udp, plain_in_udp)},
        {"the same again, by the way that is known now", make(udp, plain_in_udp)},
        {"from behind the client", make(Ipv4{}, from("2001:db8:200:7::9"))},
        {"from behind the other", make(udp, from("2001:db8:300:1::9"))},
        {"congestion on the way", make(Ipv4{.tos = 3}, make(Ipv6{.traffic_class = 0xb9}))},
        {"TCP", make(udp, syn(in_udp, 0x10))},
        {"congestion, and no ECN inside", make(Ipv4{.tos = 3}, plain), Fate::dropped},
        {"a prefix of nobody", make(Ipv4{}, from("2001:db8:200:100::9")), Fate::dropped},
        {"inner of the other client", make(Ipv4{}, plain_in_udp), Fate::dropped},
        {"the other encapsulation", make(Ipv4{.port = client_port}, plain), Fate::dropped},
        {"another port", make(Ipv4{.source = "10.0.4.5", .port = 9}, plain_in_udp), Fate::dropped},
        {"outer of nobody", make(Ipv4{.source = "10.0.66.1"}, plain), Fate::dropped},
        {"inner of nobody", make(Ipv4{}, from("2001:db8:100::77")), Fate::dropped},
        {"inner of the endpoint", make(Ipv4{}, from("2001:db8:100::1")), Fate::dropped},
        {"to multicast of the site", make(Ipv4{}, to("ff05::2")), Fate::dropped},
        {"to all routers of the link", make(Ipv4{}, to("ff02::2")), Fate::dropped},
        {"from a link-local address", make(Ipv4{}, from("fe80::7")), Fate::dropped},
        {"expired", make(Ipv4{.source = "10.0.9.5"}, from(ended)), Fate::dropped},
        {"hop limit 1", make(Ipv4{}, make(Ipv6{.hop_limit = 1})), Fate::layer_1},
        {"hop limit 0", make(Ipv4{}, make(Ipv6{.hop_limit = 0})), Fate::layer_1},
        {"to the endpoint", make(Ipv4{}, to("2001:db8:100::1")), Fate::layer_1},
        {"to another client", make(Ipv4{}, to(in_udp)), Fate::layer_1},
        {"to behind another client", make(Ipv4{}, to("2001:db8:300::1")), Fate::layer_1},
        {"no way", make(Ipv4{}, to("2001:db8:4::1")), Fate::layer_1},
        {"TCP SYN", make(Ipv4{}, syn(in_ipv4, 0x02)), Fate::layer_1},
        {"TCP SYN in UDP", make(udp, syn(in_udp, 0x12)), Fate::layer_1},
        {"too large for the way", make(Ipv4{}, make(Ipv6{.payload = Packet(1461)})),
         Fate::layer_1},
        {"no transport", make(Ipv4{}, make(Ipv6{.protocol = 59, .payload = {}})), Fate::layer_1},
        {"version 4 inside", make(Ipv4{}, with_byte(plain, 0, 0x45)), Fate::layer_1},
        {"length beyond the packet", make(Ipv4{}, with_byte(plain, 5, 200)), Fate::layer_1},
        {"signalling", make(udp, {0xf0, 1, 2, 3, 'V', 'E'}), Fate::left},
        {"neither data nor signalling", make(udp, {0x10, 1, 2, 3}), Fate::left},
        {"another service", make(Ipv4{.port = client_port, .to_port = 53}, plain), Fate::left},
        {"another host", make(Ipv4{.destination = "198.51.100.2"}, plain), Fate::left},
        {"first outer fragment", make(Ipv4{.fragment = 0x2000}, plain), Fate::left},
        {"last outer fragment", make(Ipv4{.fragment = 3}, plain), Fate::left},
        {"a wrong checksum", with_byte(make(Ipv4{}, plain), 10, 1), Fate::left},
        {"inner fragment", make(Ipv4{}, make(Ipv6{.protocol = 44})), Fate::left},
        {"hop-by-hop options", make(Ipv4{}, make(Ipv6{.protocol = 0})), Fate::left},
        {"destination options", make(Ipv4{}, make(Ipv6{.protocol = 60})), Fate::left},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.description);
        up(row.packet, row.fate);
    }
    if (is_xdp()) {
        auto elsewhere = frame(ethertype_ipv4, make(Ipv4{}, plain));
        elsewhere.at(5) ^= 1;
        EXPECT_EQ(host->in([&] { return endpoint->xdp(elsewhere).verdict; }), XDP_PASS);
    }
    if (is_xdp()) up(cut(make(Ipv4{}, plain), 20 + plain.size() + 3), Fate::layer_1);
    // Besides what layer 1 counts by tc: seven, the fragment of it too large included.
    const auto first = endpoint->entry_ipv6(in_ipv4);
    EXPECT_EQ(first.packets_up, is_xdp() ? 3u : 12u);
    EXPECT_EQ(endpoint->entry_ipv6(in_udp).packets_up, is_xdp() ? 4u : 5u);
}

TEST_P(ProgramIpv6Straight, DownTable) {
    const auto to = [](const char* destination) {
        return Ipv6{.source = remote, .destination = destination};
    };
    const auto of_size = [&](const char* destination, std::size_t size) {
        auto ip = to(destination);
        ip.payload.resize(size - 40);
        return make(ip);
    };
    const auto with = [&](const char* destination, auto change) {
        auto ip = to(destination);
        change(ip);
        return make(ip);
    };
    const auto of_protocol = [&](std::uint8_t protocol) {
        return with(in_ipv4, [&](Ipv6& ip) { ip.protocol = protocol; });
    };
    const auto of_tcp = [&](std::uint8_t flags) {
        return with(in_udp, [&](Ipv6& ip) {
            ip.protocol = 6;
            ip.payload = tcp(flags);
        });
    };
    const std::vector<Row> rows{
        {"v6v4", make(to(in_ipv4))},
        {"v6udpv4", make(to(in_udp))},
        {"the same again, by the way that is known now", make(to(in_udp))},
        {"to behind the client", make(to("2001:db8:200:7::9"))},
        {"to behind the other", make(to("2001:db8:300::1"))},
        {"DSCP and ECN", with(in_udp, [](Ipv6& ip) { ip.traffic_class = 0xb9; })},
        {"TCP", of_tcp(0x10)},
        {"UDP of odd size", with(in_udp,
                                 [](Ipv6& ip) {
                                     ip.protocol = 17;
                                     ip.payload = {0x12, 0x34, 0x56, 0x78, 0, 9, 0, 0, 'd'};
                                 })},
        {"as large as fits", of_size(in_ipv4, 1480)},
        {"as large as fits in UDP", of_size(in_udp, 1472)},
        {"between clients", make(Ipv6{.source = in_ipv4, .destination = in_udp})},
        {"a byte larger", of_size(in_ipv4, 1481), Fate::layer_1},
        {"a byte larger in UDP", of_size(in_udp, 1473), Fate::layer_1},
        {"expired", make(to(ended)), Fate::dropped},
        {"hop limit 1", with(in_ipv4, [](Ipv6& ip) { ip.hop_limit = 1; }), Fate::layer_1},
        {"TCP SYN", of_tcp(0x02), Fate::layer_1},
        {"of nobody", make(to("2001:db8:100::77")), Fate::layer_1},
        {"a prefix of nobody", make(to("2001:db8:200:100::9")), Fate::layer_1},
        {"to the endpoint's outer address", make(to(Endpoint::outer)), Fate::layer_1},
        {"neighbour solicitation", with("ff02::1:ff00:7",
                                        [](Ipv6& ip) {
                                            ip.source = "fe80::1";
                                            ip.hop_limit = 255;
                                            ip.payload[0] = 135;
                                        }),
         Fate::layer_1},
        {"to a link-local address", make(to("fe80::7")), Fate::layer_1},
        {"from a link-local address",
         with(in_ipv4, [](Ipv6& ip) { ip.source = "fe80::7"; }), Fate::layer_1},
        {"router solicitation", with(in_ipv4, [](Ipv6& ip) { ip.payload[0] = 133; }),
         Fate::layer_1},
        {"from multicast", with(in_ipv4, [](Ipv6& ip) { ip.source = "ff05::7"; }), Fate::layer_1},
        {"from loopback", with(in_ipv4, [](Ipv6& ip) { ip.source = "::1"; }), Fate::layer_1},
        {"from the endpoint", with(in_ipv4, [](Ipv6& ip) { ip.source = "2001:db8:100::1"; }),
         Fate::layer_1},
        {"from the endpoint's outer address",
         with(in_ipv4, [](Ipv6& ip) { ip.source = Endpoint::outer; }), Fate::layer_1},
        {"length beyond the packet", with_byte(make(to(in_ipv4)), 5, 200), Fate::layer_1},
        {"no transport",
         with(in_ipv4,
              [](Ipv6& ip) {
                  ip.protocol = 59;
                  ip.payload = {};
              }),
         Fate::layer_1},
        {"an inner fragment", of_protocol(44), Fate::layer_1},
        {"hop-by-hop options", of_protocol(0), Fate::layer_1},
        {"a routing header", of_protocol(43), Fate::layer_1},
        {"destination options", of_protocol(60), Fate::layer_1},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.description);
        down(row.packet, row.fate);
    }
    EXPECT_EQ(endpoint->entry_ipv6(in_ipv4).packets_down, 3u);
    EXPECT_EQ(endpoint->entry_ipv6(in_ipv4).bytes_down, 52u * 2 + 1480);
    EXPECT_EQ(endpoint->entry_ipv6(in_udp).packets_down, 8u);
    open(false);
    down(make(Ipv6{.source = in_ipv4, .destination = in_udp}), Fate::dropped);
    EXPECT_EQ(expected, (is_xdp() ? Counters{{"hairpin_off", 1}} : Counters{}));
}

TEST_P(ProgramIpv6Straight, OnlyXdpMindsAnInterfaceThatTakesNoFrames) {
    set_way_out(false);
    const auto fate = is_xdp() ? Fate::layer_1 : Fate::straight;
    up(make(Ipv4{}, make(Ipv6{})), fate);
    down(make(Ipv6{.source = remote, .destination = in_udp}), fate);
}

// RFC 9868: their bytes are not in the inner checksum. RFC 768: without one, the field is empty.
TEST_P(ProgramIpv6Straight, UdpOptionsInsideLeaveTheOuterChecksumOut) {
    for (const std::uint8_t size : std::vector<std::uint8_t>{9, 12}) {
        SCOPED_TRACE(size);
        Ipv6 ip{.source = remote, .destination = in_udp, .protocol = 17};
        ip.payload = {0x12, 0x34, 0x56, 0x78, 0, size, 0, 0, 'd', 's', 't', 'm'};
        const auto outcome = run(ethertype_ipv6, make(ip));
        EXPECT_EQ(outcome.verdict, is_xdp() ? int{XDP_REDIRECT} : TC_ACT_REDIRECT);
        EXPECT_EQ(load16(outcome.packet, 20 + 6) != 0, size == 12);
    }
}

TEST_P(ProgramIpv6Straight, EcnAndDscpInAllCombinations) {
    for (unsigned inner = 0; inner < 4; ++inner) {
        for (unsigned outer = 0; outer < 4; ++outer) {
            SCOPED_TRACE(inner * 10 + outer);
            const auto marked = static_cast<std::uint8_t>(0xb8 + inner);
            const auto tos = static_cast<std::uint8_t>(0x20 + outer);
            up(make(Ipv4{.tos = tos}, make(Ipv6{.traffic_class = marked})),
               inner == 0 && outer == 3 ? Fate::dropped : Fate::straight);
            down(make(
                Ipv6{.source = remote, .destination = in_udp, .traffic_class = marked}));
        }
    }
}

TEST_P(ProgramIpv6Straight, CutAtEveryByteIsLeftToLayerOne) {
    const auto in = make(Ipv6{});
    const auto whole_down = make(Ipv6{.source = remote, .destination = in_udp});
    for (std::size_t size = 1; size < in.size(); ++size) {
        SCOPED_TRACE(size);
        up(make(Ipv4{}, cut(in, size)), Fate::layer_1);
        // The kernel's bench wants the whole header of a socket buffer that says it is IPv6.
        if (is_xdp() || size >= 40) down(cut(whole_down, size), Fate::layer_1);
    }
}

TEST_P(ProgramIpv6Straight, RandomPacketsFareAsInTheModel) {
    Dice dice(4712);
    int straight = 0;
    for (int i = 0; i < 4000 && !HasFailure(); ++i) {
        SCOPED_TRACE(i);
        auto ip = random_ipv6(dice);
        if (dice.one_in(4)) ip.destination = remote;
        ip.hop_limit = static_cast<std::uint8_t>(dice.below(4));
        const auto outer = random_ipv4(dice);
        const auto packet = make(ip);
        const auto wrapped = make(outer, packet);
        const auto of_up = fate_up(packet, model::decapsulate(world, wrapped, now).counter);
        straight += of_up == Fate::straight;
        up(wrapped, of_up);
        down(packet, fate_down(packet, model::encapsulate(world, packet, now).counter));
    }
    EXPECT_GT(straight, 50);
}

}  // namespace
}  // namespace dstm::test
