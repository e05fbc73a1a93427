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

inline TunPlaneConfig endpoint_config() {
    TunPlaneConfig config;
    config.outer = endpoint_outer;
    config.inner = v4("192.0.2.1");
    config.pools = {Ipv4Prefix::parse("192.0.2.0/24").value()};
    return config;
}

inline TunPlaneConfig client_config() {
    TunPlaneConfig config;
    config.role = TunPlaneConfig::Role::client;
    return config;
}

// What a plane did, in the words of the model, with the counters that moved.
struct Outcome {
    model::Verdict verdict;
    DropCounters moved;
};

class CarrierWorld {
public:
    explicit CarrierWorld(const TunPlaneConfig& config, std::uint32_t link_mtu = 1500)
        : carrier_(config, [this](const Ipv6Address&) { return model_.link_mtu; }) {
        const bool client = config.role == TunPlaneConfig::Role::client;
        model_.role = client ? model::World::Role::client : model::World::Role::endpoint;
        model_.inner = config.inner;
        model_.hairpin = config.hairpin;
        model_.mss_clamp = config.mss_clamp;
        model_.link_mtu = link_mtu;
    }

    void add(const TunnelSpec& spec) {
        ASSERT_TRUE(carrier_.add(spec, start));
        std::erase_if(model_.tunnels, [&](const auto& old) { return old.inner == spec.inner; });
        model_.tunnels.push_back(spec);
    }

    // A whole IPv6 packet, as the kernel would hand it to the raw socket.
    Outcome up(const Packet& outer, Now now = start) {
        const DropTable before = carrier_.drops();
        Packet payload(outer.begin() + 40, outer.end());
        const auto traffic_class = static_cast<std::uint8_t>(load16(outer, 0) >> 4);
        const auto verdict = carrier_.up(load_ipv6(outer, 8), traffic_class, payload, now);
        model::Verdict out;
        if (verdict.drop) out.counter = to_string(*verdict.drop);
        payload.resize(verdict.size);
        out.packet = payload;
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
            const bool client = model_.role == model::World::Role::client;
            const auto source =
                client ? std::get<Ipv6Address>(model_.tunnels.at(0).outer_client.address)
                       : endpoint_outer;
            out.packet =
                packets::make_ipv6(source, verdict.destination, verdict.traffic_class, 4, packet);
        }
        return {out, moved_since(before)};
    }

    // An ICMPv6 error about a whole IPv6 packet that was sent down.
    Outcome relay(std::uint8_t type, std::uint8_t code, std::uint32_t info, const Packet& about,
                  Now now = start) {
        const DropTable before = carrier_.drops();
        const auto verdict = carrier_.relay(
            {type, code, info, load_ipv6(about, 24), ConstBytes(about).subspan(40)}, now);
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
        store32(message, 4, info);
        message.insert(message.end(), about.begin(), about.end());
        return model::relay(model_, message, now.wall);
    }

    [[nodiscard]] Carrier& carrier() { return carrier_; }
    [[nodiscard]] model::World& world() { return model_; }

private:
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
