// With what a plane starts: its programs' settings, its pins, and what an earlier one left for it.
#pragma once

#include <optional>
#include <vector>

#include "common/base/result.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/left_behind.hpp"
#include "tep/bpf/pins.hpp"
#include "tep/bpf/programs.hpp"

namespace dstm::tep::bpf {

// Tunnels that were in other maps.
struct Migrated {
    std::vector<LeftTunnel> tunnels;
    std::vector<LeftIpv6Tunnel> ipv6_tunnels;

    [[nodiscard]] bool is_empty() const { return tunnels.empty() && ipv6_tunnels.empty(); }
};

[[nodiscard]] ProgramSettings settings_of(const BpfPlaneConfig& config);

// None when the plane is not to last, or they cannot be reached; then a log line says why.
[[nodiscard]] std::optional<Pins> open_pins(const BpfPlaneConfig& config);

// As find_left_behind(); nothing for a plane that is not to last.
[[nodiscard]] Result<LeftBehind> find_left(const BpfPlaneConfig& config,
                                           const std::optional<Pins>& pins);

// What must be taken out of maps that do not fit `settings`. Tunnels whose packets come to another
// outer address are none of ours any more. invalid: the maps are not what their version says.
[[nodiscard]] Result<Migrated> to_migrate(const LeftBehind& left, const ProgramSettings& settings);

}  // namespace dstm::tep::bpf
