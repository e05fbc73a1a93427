// What is known of the path to one far end: its MTU, with the news from packet-too-big messages
// forgotten again after a while. RFC 8201 s4, s5.3; RFC 2473 s7. Time is an argument.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/base/clock.hpp"

namespace dstm::dataplane {

inline constexpr std::uint32_t ipv6_mtu_min = 1280;     // RFC 8200 s5
inline constexpr std::uint32_t outer_header_size = 40;  // RFC 8200 s3, no extension header
inline constexpr Duration path_mtu_lifetime = std::chrono::minutes(10);  // RFC 8201 s5.3

class PathMtu {
public:
    explicit PathMtu(std::uint32_t link_mtu) { set_link(link_mtu); }

    // The MTU of the first hop, as the host's routing has it now.
    void set_link(std::uint32_t mtu) { link_ = std::max(mtu, ipv6_mtu_min); }

    // A packet-too-big arrived. False when it changes nothing: below the minimum of IPv6 (RFC 8201
    // s4: must be discarded) or not below what is known.
    bool lower(std::uint32_t mtu, Instant now) {
        if (mtu < ipv6_mtu_min || mtu > value(now)) return false;
        const bool is_news = mtu < value(now);
        learned_ = mtu;
        learned_at_ = now;
        return is_news;
    }

    [[nodiscard]] std::uint32_t value(Instant now) const {
        if (learned_ == 0 || now - learned_at_ >= path_mtu_lifetime) return link_;
        return std::min(learned_, link_);
    }

private:
    std::uint32_t link_ = ipv6_mtu_min;
    std::uint32_t learned_ = 0;  // 0 = nothing
    Instant learned_at_;
};

}  // namespace dstm::dataplane
