// Configuration and leftovers, read before anything is attached.
#include "tep/bpf/plane_start.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/log/log.hpp"

namespace dstm::tep::bpf {

ProgramSettings settings_of(const BpfPlaneConfig& config) {
    ProgramSettings settings;
    settings.outer = config.outer;
    settings.inner = config.inner;
    settings.pools = config.pools;
    settings.outer_ipv4 = config.outer_ipv4;
    settings.inner_ipv6 = config.inner_ipv6;
    settings.udp_port = config.udp_port;
    const auto most = std::min<std::size_t>(config.tunnels_max, DSTM_IPV6_TUNNELS_MAX);
    settings.ipv6_tunnels_max = static_cast<std::uint32_t>(most);
    settings.hairpin = config.hairpin;
    settings.mss_clamp = config.mss_clamp;
    return settings;
}

std::optional<Pins> open_pins(const BpfPlaneConfig& config) {
    if (!config.lasting) return std::nullopt;
    auto pins = Pins::open(config.device);
    if (pins) return std::move(*pins);
    log_warning("BPF_NOT_PINNED", "device={} {}", config.device, to_string(pins.error()));
    return std::nullopt;
}

Result<LeftBehind> find_left(const BpfPlaneConfig& config, const std::optional<Pins>& pins) {
    if (!config.lasting) return LeftBehind{};
    return find_left_behind(pins ? &*pins : nullptr, config.device);
}

Result<Migrated> to_migrate(const LeftBehind& left, const ProgramSettings& settings) {
    Migrated out;
    if (left.meta.version == 0 || left.is_usable_for(settings)) return out;
    const auto wanted = meta_of(settings);
    if (std::memcmp(left.meta.outer, wanted.outer, sizeof wanted.outer) == 0) {
        auto tunnels = left.tunnels();
        if (!tunnels) return tl::unexpected(tunnels.error());
        out.tunnels = std::move(*tunnels);
    } else {
        log_warning("BPF_LEFT_DROPPED", "the outer address has changed; tunnels start anew");
    }
    if (wanted.outer_ipv4 == 0 || left.meta.outer_ipv4 != wanted.outer_ipv4) return out;
    auto ipv6_tunnels = left.ipv6_tunnels();
    if (!ipv6_tunnels) return tl::unexpected(ipv6_tunnels.error());
    out.ipv6_tunnels = std::move(*ipv6_tunnels);
    return out;
}

}  // namespace dstm::tep::bpf
