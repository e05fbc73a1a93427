// The names of the drop counters (docs/counters.md).
#include "common/dataplane/drop.hpp"

namespace dstm::dataplane {

std::string_view to_string(Drop drop) {
    switch (drop) {
        case Drop::inner_truncated: return "inner_truncated";
        case Drop::inner_bad_version: return "inner_bad_version";
        case Drop::inner_bad_header_length: return "inner_bad_header_length";
        case Drop::inner_bad_total_length: return "inner_bad_total_length";
        case Drop::bad_source: return "bad_source";
        case Drop::bad_destination: return "bad_destination";
        case Drop::link_local: return "link_local";
        case Drop::router_solicitation: return "router_solicitation";
        case Drop::unknown_outer: return "unknown_outer";
        case Drop::unknown_inner: return "unknown_inner";
        case Drop::spoofed_inner: return "spoofed_inner";
        case Drop::spoofed_outer: return "spoofed_outer";
        case Drop::expired: return "expired";
        case Drop::ecn_congested: return "ecn_congested";
        case Drop::no_tunnel: return "no_tunnel";
        case Drop::hairpin_off: return "hairpin_off";
        case Drop::redirect: return "redirect";
        case Drop::too_big: return "too_big";
        case Drop::send_queue_full: return "send_queue_full";
        case Drop::send_failed: return "send_failed";
        case Drop::device_write_failed: return "device_write_failed";
        case Drop::icmp_limited: return "icmp_limited";
        case Drop::icmp_ignored: return "icmp_ignored";
    }
    return "unknown";
}

DropCounters DropTable::by_name() const {
    DropCounters out;
    for (std::size_t i = 0; i < drop_count; ++i) {
        out.emplace(to_string(static_cast<Drop>(i)), counts_[i]);
    }
    return out;
}

}  // namespace dstm::dataplane
