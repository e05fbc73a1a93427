// What an earlier daemon, perhaps of another version, left in the kernel for this device: either
// this one goes on with those maps, or it takes the tunnels out of them into maps of its own.
#pragma once

#include <optional>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "tep/bpf/layout.h"
#include "tep/bpf/pins.hpp"
#include "tep/bpf/programs.hpp"

namespace dstm::tep::bpf {

// In today's layout.
struct LeftTunnel {
    Ipv4Address inner;
    dstm_entry entry;
    dstm_record record;
};

struct LeftIpv6Tunnel {
    dstm_entry entry;
    dstm_ipv6_record record;
};

struct LeftBehind {
    Maps maps;
    dstm_meta meta{};  // version 0: no tunnels are there

    // Where its maps fit `settings` as they are.
    [[nodiscard]] bool is_usable_for(const ProgramSettings& settings) const;
    // Of its maps only what it has changed on interfaces, which is the same in all layouts, and
    // what it counted of drops, where that is.
    void keep_hooks_and_drops();
    // The tunnels in all of them. invalid: the maps are not what their version says.
    [[nodiscard]] Result<std::vector<LeftTunnel>> tunnels() const;
    [[nodiscard]] Result<std::vector<LeftIpv6Tunnel>> ipv6_tunnels() const;
};

// Looks at the pins, then at the hook of the device. conflict: maps of a newer layout, or of
// somebody else.
[[nodiscard]] Result<LeftBehind> find_left_behind(const Pins* pins, const std::string& device);

// What the maps say of themselves.
[[nodiscard]] std::optional<dstm_meta> meta_in(const Maps& maps);

// Says in the maps whose they are. When all tunnels are written, so that half of a table is not
// adopted.
[[nodiscard]] Result<void> write_meta(const Programs& programs);
[[nodiscard]] dstm_meta meta_of(const ProgramSettings& settings);

}  // namespace dstm::tep::bpf
