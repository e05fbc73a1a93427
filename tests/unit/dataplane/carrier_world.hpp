// One endpoint or client twice: the fast carrier and the reference model, given the same packets.
#pragma once

#include <algorithm>

#include <gtest/gtest.h>

#include "common/dataplane/carrier.hpp"
#include "common/tunnel/reference_model.hpp"
#include "tests/support/packets.hpp"

namespace dstm::dataplane::testing {

using packets::Packet;
using packets::v4;
using packets::v6;

inline const auto endpoint_outer = v6("2001:db8:2::1");
inline const auto endpoint_outer_ipv4 = v4("198.51.100.1");
inline constexpr std::uint16_t endpoint_port = 3653;
inline const auto start = Now{Instant(std::chrono::hours(1)), from_unix(1'800'000'000)};

inline TunnelSpec make_spec(const std::string& inner, const std::string& outer_client,
                            Generation generation = 1) {
    TunnelSpec spec;
    spec.inner = v4(inner);
    spec.outer_client = {v6(outer_client), 0};
    spec.outer_server = endpoint_outer;
    spec.generation = generation;
    spec.expires_at = start.wall + std::chrono::hours(1);
    return spec;
}

// IPv6 inside; in UDP when the client has a port.
inline TunnelSpec make_v6_spec(const std::string& inner, const std::string& outer_client,
                               std::uint16_t port = 0, Generation generation = 1) {
    auto spec = make_spec("192.0.2.7", "2001:db8:1::5", generation);
    spec.type = port == 0 ? TunnelType::v6v4 : TunnelType::v6udpv4;
    spec.inner = v6(inner);
    spec.outer_client = {v4(outer_client), port};
    spec.outer_server = endpoint_outer_ipv4;
    return spec;
}

inline TunPlaneConfig endpoint_config() {
    TunPlaneConfig config;
    config.outer = endpoint_outer;
    config.inner = v4("192.0.2.1");
    config.pools = {Ipv4Prefix::parse("192.0.2.0/24").value()};
    config.outer_ipv4 = endpoint_outer_ipv4;
    config.inner_ipv6 = v6("2001:db8:100::1");
    config.pools_ipv6 = {Ipv6Prefix::parse("2001:db8:100::/48").value(),
                         Ipv6Prefix::parse("2001:db8:200::/40").value()};
    config.udp_port = endpoint_port;
    return config;
}

inline TunPlaneConfig client_config() {
    TunPlaneConfig config;
    config.role = TunPlaneConfig::Role::client;
    config.udp_socket = [](const auto&) { return fail(ErrorCode::unavailable, "not asked here"); };
    return config;
}

// An outer packet taken apart as the kernel does it for the sockets.
struct Opened {
    Peer source;
    Peer destination;
    std::uint8_t traffic_class = 0;
    Packet payload;
};

inline Opened open_outer(const Packet& outer) {
    const auto behind = [&](std::size_t at) {
        return Packet(outer.begin() + static_cast<std::ptrdiff_t>(at), outer.end());
    };
    if (load8(outer, 0) >> 4 == 6) {
        return {{TunnelType::v4v6, {load_ipv6(outer, 8), 0}},
                {TunnelType::v4v6, {load_ipv6(outer, 24), 0}},
                static_cast<std::uint8_t>(load16(outer, 0) >> 4),
                behind(40)};
    }
    const bool udp = load8(outer, 9) == 17;
    const auto type = udp ? TunnelType::v6udpv4 : TunnelType::v6v4;
    const auto port = [&](std::size_t at) { return udp ? load16(outer, at) : std::uint16_t{0}; };
    return {{type, {load_ipv4(outer, 12), port(20)}},
            {type, {load_ipv4(outer, 16), port(22)}},
            load8(outer, 1),
            behind(udp ? 28 : 20)};
}

inline Packet make_outer(TunnelType type, const IpEndpoint& source, const IpEndpoint& destination,
                         std::uint8_t traffic_class, const Packet& payload) {
    if (type == TunnelType::v4v6) {
        return packets::make_ipv6(std::get<Ipv6Address>(source.address),
                                  std::get<Ipv6Address>(destination.address), traffic_class, 4,
                                  payload);
    }
    if (type == TunnelType::v6udpv4) {
        return packets::make_outer_udp(source, destination, traffic_class, payload);
    }
    return packets::make_outer_ipv4(std::get<Ipv4Address>(source.address),
                                    std::get<Ipv4Address>(destination.address), traffic_class, 41,
                                    payload);
}

// What a plane did, in the words of the model, with the counters that moved.
struct Outcome {
    model::Verdict verdict;
    DropCounters moved;
};

class CarrierWorld {
public:
    explicit CarrierWorld(const TunPlaneConfig& config, std::uint32_t link_mtu = 1500)
        : carrier_(config, [this](const Peer&) { return model_.link_mtu; }) {
        const bool client = config.role == TunPlaneConfig::Role::client;
        model_.role = client ? model::World::Role::client : model::World::Role::endpoint;
        model_.inner = config.inner;
        model_.inner_ipv6 = config.inner_ipv6;
        model_.udp_port = endpoint_port;
        model_.hairpin = config.hairpin;
        model_.mss_clamp = config.mss_clamp;
        model_.link_mtu = link_mtu;
    }

    void add(const TunnelSpec& spec) {
        ASSERT_TRUE(carrier_.add(spec));
        std::erase_if(model_.tunnels, [&](const auto& old) { return old.inner == spec.inner; });
        model_.tunnels.push_back(spec);
    }

    // A whole outer packet.
    Outcome up(const Packet& outer, Now now = start) {
        const DropTable before = carrier_.drops();
        auto opened = open_outer(outer);
        const auto verdict = carrier_.up(opened.source, opened.traffic_class, opened.payload, now);
        model::Verdict out;
        if (verdict.drop) out.counter = to_string(*verdict.drop);
        opened.payload.resize(verdict.size);
        out.packet = opened.payload;
        return {out, moved_since(before)};
    }

    Outcome down(const Packet& inner, Now now = start) {
        const DropTable before = carrier_.drops();
        Packet packet = inner;
        const auto verdict = carrier_.down(packet, now);
        model::Verdict out;
        out.answer = verdict.answer;
        if (verdict.drop) {
            out.counter = to_string(*verdict.drop);
        } else {
            packet.resize(verdict.size);
            out.packet = make_outer(verdict.peer.type, own_end(verdict.peer.type),
                                    verdict.peer.endpoint, verdict.traffic_class, packet);
        }
        return {out, moved_since(before)};
    }

    // An ICMP error about a whole outer packet that was sent down, which it may quote in part.
    Outcome relay(std::uint8_t type, std::uint8_t code, std::uint32_t info, const Packet& about,
                  Now now = start) {
        const DropTable before = carrier_.drops();
        const auto opened = open_outer(about);
        PathError error;
        const auto tunnel_type = opened.destination.type;
        error.kind = tunnel_type == TunnelType::v4v6 ? kind_of_icmpv6(type, code)
                                                     : kind_of_icmpv4(type, code, tunnel_type);
        error.mtu = info;
        error.peer = opened.destination;
        error.quoted = opened.payload;
        const auto verdict = carrier_.relay(error, now);
        model::Verdict out;
        if (verdict.drop) out.counter = to_string(*verdict.drop);
        out.answer = verdict.answer;
        return {out, moved_since(before)};
    }

    model::Verdict model_up(const Packet& outer, Now now = start) const {
        return model::decapsulate(model_, outer, now.wall);
    }
    model::Verdict model_down(const Packet& inner, Now now = start) const {
        return model::encapsulate(model_, inner, now.wall);
    }
    model::Verdict model_relay(std::uint8_t type, std::uint8_t code, std::uint32_t info,
                               const Packet& about, Now now = start) {
        Packet message{type, code, 0, 0, 0, 0, 0, 0};
        // ICMPv6 has 32 bits for the MTU; ICMP has 16 bits in the same place's second half.
        store32(message, 4, info);
        message.insert(message.end(), about.begin(), about.end());
        return model::relay(model_, message, now.wall);
    }

    [[nodiscard]] Carrier& carrier() { return carrier_; }
    [[nodiscard]] model::World& world() { return model_; }

private:
    // From where a packet of this plane goes out.
    [[nodiscard]] IpEndpoint own_end(TunnelType type) const {
        if (model_.role == model::World::Role::client) return model_.tunnels.at(0).outer_client;
        if (type == TunnelType::v4v6) return {endpoint_outer, 0};
        return {endpoint_outer_ipv4,
                type == TunnelType::v6udpv4 ? endpoint_port : std::uint16_t{0}};
    }

    [[nodiscard]] DropCounters moved_since(const DropTable& before) {
        DropCounters moved;
        for (std::size_t i = 0; i < drop_count; ++i) {
            const auto drop = static_cast<Drop>(i);
            const auto count = carrier_.drops().of(drop) - before.of(drop);
            if (count != 0) moved.emplace(to_string(drop), count);
        }
        return moved;
    }

    model::World model_;
    Carrier carrier_;
};

// What must have moved when a packet met this verdict: its counter by one, or nothing.
inline DropCounters counters_of(const model::Verdict& verdict) {
    if (verdict.counter.empty()) return {};
    return {{verdict.counter, 1}};
}

}  // namespace dstm::dataplane::testing
