// Packets with IPv6 inside, and an endpoint for them beside the reference model: in a namespace
// with a way to every address but those of 2001:db8:4::/64.
#pragma once

#include <algorithm>
#include <memory>

#include <net/if.h>

#include "bpf/random_packets.hpp"
#include "bpf/test_run.hpp"
#include "common/base/bytes.hpp"
#include "common/tunnel/reference_model.hpp"
#include "tests/unit/dataplane/namespaces.hpp"

namespace dstm::test {

using dataplane::testing::Namespace;

inline constexpr std::uint16_t endpoint_port = 3653;
inline constexpr std::uint16_t client_port = 40000;
inline constexpr std::uint8_t icmpv6 = 58;
// Inner addresses, by their encapsulation.
inline constexpr const char* in_ipv4 = "2001:db8:100::7";
inline constexpr const char* in_udp = "2001:db8:100::8";
inline constexpr const char* ended = "2001:db8:100::9";
inline constexpr const char* remote = "2001:db8:3::80";

struct Ipv6 {
    const char* source = in_ipv4;
    const char* destination = remote;
    std::uint8_t traffic_class = 0;
    std::uint8_t hop_limit = 64;
    std::uint8_t protocol = icmpv6;
    Packet payload = {128, 0, 0, 0, 0, 1, 0, 1, 'd', 's', 't', 'm'};
};

// The checksum of the transport at this place of its header; none of a protocol without.
inline std::size_t checksum_at(std::uint8_t protocol) {
    if (protocol == 6) return 16;
    return protocol == icmpv6 ? 2 : protocol == 17 ? 6 : 0;
}

inline Packet make(const Ipv6& ip) {
    Packet out(40);
    out[0] = static_cast<std::uint8_t>(0x60 | ip.traffic_class >> 4);
    out[1] = static_cast<std::uint8_t>(ip.traffic_class << 4);
    store16(out, 4, static_cast<std::uint16_t>(ip.payload.size()));
    out[6] = ip.protocol;
    out[7] = ip.hop_limit;
    store_ipv6(out, 8, v6(ip.source));
    store_ipv6(out, 24, v6(ip.destination));
    out.insert(out.end(), ip.payload.begin(), ip.payload.end());
    const auto at = checksum_at(ip.protocol);
    if (at == 0 || ip.payload.size() < at + 2) return out;
    Packet covered(out.begin() + 8, out.end());
    covered.insert(covered.end(), {0, 0, out[4], out[5], 0, 0, 0, ip.protocol});
    if (ip.payload.size() % 2 != 0) covered.insert(covered.end() - 8, 0);
    store16(out, 40 + at, internet_checksum(covered));
    return out;
}

struct Ipv4 {
    const char* source = "10.0.1.5";
    std::uint16_t port = 0;  // 0: protocol 41
    std::uint8_t tos = 0;
    std::uint16_t fragment = 0;
    const char* destination = "198.51.100.1";
    std::uint16_t to_port = endpoint_port;
};

inline Packet make(const Ipv4& outer, const Packet& inside) {
    Inner ip{v4(outer.source), v4(outer.destination)};
    ip.tos = outer.tos;
    ip.fragment = outer.fragment;
    ip.protocol = outer.port == 0 ? 41 : 17;
    ip.payload = inside;
    if (outer.port == 0) return make(ip);
    Packet udp(8);
    store16(udp, 0, outer.port);
    store16(udp, 2, outer.to_port);
    store16(udp, 4, static_cast<std::uint16_t>(8 + inside.size()));
    udp.insert(udp.end(), inside.begin(), inside.end());
    ip.payload = udp;
    return make(ip);
}

inline Packet with_byte(Packet packet, std::size_t at, std::uint8_t value) {
    packet.at(at) = value;
    return packet;
}

inline Packet cut(Packet packet, std::size_t size) {
    packet.resize(size);
    return packet;
}

// With an MSS.
inline Packet tcp(std::uint8_t flags) {
    Packet out(24);
    store16(out, 0, 40000);
    store16(out, 2, 80);
    out[12] = 0x60;
    out[13] = flags;
    out[20] = 2;
    out[21] = 4;
    store16(out, 22, 1440);
    return out;
}

inline Packet tcp_syn() { return tcp(0x02); }

// From and to tunnels of either encapsulation, an ended one, prefixes, the endpoint, the other
// side, nobody, and the link. Its form and its checksum are right.
inline Ipv6 random_ipv6(Dice& dice) {
    static const std::vector<const char*> addresses{
        in_ipv4, in_udp,    ended,     "2001:db8:200::5", remote, "2001:db8:300:5::5",
        "fe80::1", "2001:db8:100::1", "ff05::1", "2001:db8:100::66"};
    Ipv6 ip{.source = dice.of(addresses), .destination = dice.of(addresses)};
    ip.traffic_class = dice.byte();
    ip.hop_limit = dice.byte();
    ip.protocol = dice.of<std::uint8_t>({6, 17, icmpv6});
    ip.payload = dice.bytes(20 + dice.below(60));
    store16(ip.payload, checksum_at(ip.protocol), 0);  // computed without what stood there
    if (ip.protocol == 17) store16(ip.payload, 4, static_cast<std::uint16_t>(ip.payload.size()));
    return ip;
}

// From the far ends of the tunnels, and from the right address without the right port.
inline Ipv4 random_ipv4(Dice& dice) {
    auto outer = dice.of<Ipv4>({{},
                                {.source = "10.0.4.5", .port = client_port},
                                {.source = "10.0.9.5"},
                                {.source = "10.0.4.5"}});
    outer.tos = dice.byte();
    return outer;
}

class Ipv6Endpoint : public testing::Test {
protected:
    void SetUp() override {
        if (const auto why = dataplane::testing::why_no_namespaces(); !why.empty()) {
            GTEST_SKIP() << why;
        }
        host = std::make_unique<Namespace>("6");
        host->sysctl("net/ipv4/ip_forward", "1");
        host->ip("link add eth0 type veth peer name nobody");
        host->ip("link set eth0 up");
        host->ip("link set nobody up");
        host->ip("addr add 198.51.100.1/24 dev eth0");
        host->ip("neigh add 198.51.100.254 lladdr 02:00:00:00:00:fe dev eth0 nud permanent");
        host->ip("route add default via 198.51.100.254");
        host->sysctl("net/ipv6/conf/all/forwarding", "1");
        host->ip("addr add 2001:db8:9::1/64 dev eth0 nodad");
        host->ip("-6 neigh add 2001:db8:9::fe lladdr 02:00:00:00:00:06 dev eth0 nud permanent");
        host->ip("-6 route add default via 2001:db8:9::fe");
        host->ip("-6 route add unreachable 2001:db8:4::/64");
        open(true);
    }

    void open(bool hairpin) {
        auto settings = Endpoint::default_settings();
        settings.outer_ipv4 = v4("198.51.100.1");
        settings.inner_ipv6 = v6("2001:db8:100::1");
        settings.udp_port = endpoint_port;
        settings.hairpin = hairpin;
        auto opened = Endpoint::open(settings);
        if (!opened && opened.error().code == ErrorCode::unavailable) {
            GTEST_SKIP() << to_string(opened.error());
        }
        ASSERT_TRUE(opened) << to_string(opened.error());
        endpoint = std::move(*opened);
        set_way_out(true);
        world = {};
        world.inner_ipv6 = settings.inner_ipv6;
        world.hairpin = hairpin;
        now = RealClock().wall();
        tunnel(in_ipv4, {v4("10.0.1.5"), 0}, std::chrono::hours(1), "2001:db8:200::/56");
        tunnel(in_udp, {v4("10.0.4.5"), client_port}, std::chrono::hours(1), "2001:db8:300::/48");
        tunnel(ended, {v4("10.0.9.5"), 0}, std::chrono::seconds(0), nullptr);
        expected.clear();
    }

    void set_way_out(bool takes_frames) {
        const auto interface = host->in([] { return if_nametoindex("eth0"); });
        endpoint->set_port(static_cast<int>(interface), takes_frames);
    }

    void tunnel(const char* inner, const IpEndpoint& client, std::chrono::seconds lifetime,
                const char* prefix) {
        TunnelSpec spec;
        spec.type = client.port == 0 ? TunnelType::v6v4 : TunnelType::v6udpv4;
        spec.inner = v6(inner);
        if (prefix != nullptr) spec.inner_prefix = Ipv6Prefix::parse(prefix).value();
        spec.outer_client = client;
        spec.outer_server = v4("198.51.100.1");
        spec.generation = 1;
        spec.expires_at = now + lifetime;
        world.tunnels.push_back(spec);
        endpoint->install_ipv6(spec);
    }

    // Identification is empty and DF set by the program; the model leaves both to a kernel.
    static Packet with_df(Packet outer) {
        if (outer.size() < 20) return outer;
        store16(outer, 6, 0x4000);
        store16(outer, 10, 0);
        store16(outer, 10, internet_checksum(Packet(outer.begin(), outer.begin() + 20)));
        return outer;
    }

    std::unique_ptr<Namespace> host;
    std::unique_ptr<Endpoint> endpoint;
    model::World world;
    WallTime now;
    Counters expected;
};

}  // namespace dstm::test
