// What is known of the path to one far end: its MTU, with the news from packet-too-big messages
// forgotten again after a while. RFC 8201 s4, s5.3; RFC 2473 s7; RFC 4213 s3.2.2. Time is an
// argument.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/base/clock.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::dataplane {

inline constexpr std::uint32_t ipv6_mtu_min = 1280;                      // RFC 8200 s5
inline constexpr Duration path_mtu_lifetime = std::chrono::minutes(10);  // RFC 8201 s5.3

// What a type puts before the inner packet: the outer header without options, and UDP's.
[[nodiscard]] constexpr std::uint32_t overhead_of(TunnelType type) {
    switch (type) {
        case TunnelType::v4v6: return 40;
        case TunnelType::v6v4: return 20;
        case TunnelType::v6udpv4: return 28;
    }
    return 0;
}

// No path is taken to be narrower than this. IPv6 outside never is; an IPv4 path may be, and then
// the outer packets that carry IPv6's minimum are fragmented (RFC 4213 s3.2.2).
[[nodiscard]] constexpr std::uint32_t path_mtu_floor(TunnelType type) {
    return type == TunnelType::v4v6 ? ipv6_mtu_min : ipv6_mtu_min + overhead_of(type);
}

class PathMtu {
public:
    explicit PathMtu(std::uint32_t link_mtu, std::uint32_t floor = ipv6_mtu_min) : floor_(floor) {
        set_link(link_mtu);
    }

    // The MTU of the first hop, as the host's routing has it now.
    void set_link(std::uint32_t mtu) { link_ = std::max(mtu, floor_); }

    // A packet-too-big arrived. False when it changes nothing: below the floor (for IPv6 outside
    // RFC 8201 s4: must be discarded), above what is known, or told not long ago. It is news also
    // when the kernel heard it first, and its routing says so already; and once in a while when it
    // is heard again, for those who remember it besides.
    bool lower(std::uint32_t mtu, Instant now) {
        if (mtu < floor_ || mtu > value(now)) return false;
        const bool is_news =
            !has_learned(now) || learned_ != mtu || now - told_at_ >= path_mtu_lifetime / 10;
        learned_ = mtu;
        learned_at_ = now;
        if (is_news) told_at_ = now;
        return is_news;
    }

    [[nodiscard]] std::uint32_t value(Instant now) const {
        return has_learned(now) ? std::min(learned_, link_) : link_;
    }

private:
    [[nodiscard]] bool has_learned(Instant now) const {
        return learned_ != 0 && now - learned_at_ < path_mtu_lifetime;
    }

    std::uint32_t floor_;
    std::uint32_t link_ = ipv6_mtu_min;
    std::uint32_t learned_ = 0;  // 0 = nothing
    Instant learned_at_;
    Instant told_at_;
};

}  // namespace dstm::dataplane
