// Every reason for which a packet is not carried, and its counter (docs/counters.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/dataplane/data_plane.hpp"

namespace dstm::dataplane {

enum class Drop : std::uint8_t {
    // The inner packet cannot be one.
    inner_truncated,
    inner_bad_version,
    inner_bad_header_length,
    inner_bad_total_length,
    // Addresses that no host can have, or not this one; what belongs to one link.
    bad_source,
    bad_destination,
    link_local,
    router_solicitation,
    // The source check.
    unknown_outer,
    unknown_inner,
    spoofed_inner,
    spoofed_outer,
    // Rules of carrying.
    expired,
    ecn_congested,
    no_tunnel,
    hairpin_off,
    redirect,
    too_big,
    // The host did not take it.
    send_queue_full,
    send_failed,
    device_write_failed,
    // ICMP that is not sent or not heard.
    icmp_limited,
    icmp_ignored,
};

inline constexpr std::size_t drop_count = static_cast<std::size_t>(Drop::icmp_ignored) + 1;

[[nodiscard]] std::string_view to_string(Drop drop);

class DropTable {
public:
    void count(Drop drop, std::size_t packets = 1) {
        counts_[static_cast<std::size_t>(drop)] += packets;
    }
    [[nodiscard]] std::uint64_t of(Drop drop) const {
        return counts_[static_cast<std::size_t>(drop)];
    }
    void add(const DropTable& other) {
        for (std::size_t i = 0; i < drop_count; ++i) counts_[i] += other.counts_[i];
    }
    bool operator==(const DropTable&) const = default;
    // All of them, also those that are zero: a counter that appears only when it counts cannot be
    // watched.
    [[nodiscard]] DropCounters by_name() const;

private:
    std::array<std::uint64_t, drop_count> counts_{};
};

}  // namespace dstm::dataplane
