// The text that a tunnel device carries as its alias: what a daemon that starts must know of the
// device and the kernel does not say. `ip link` shows it to the operator.
//
//   dstm 0=192.0.2.7,1763887506000000,1763891106
//   dstm 1=2001:db8:8::7,1763887506000000,1763891106,2001:db8:200::/56
//
// For each tunnel of the device: slot (tells its packet filters apart), inner address, generation,
// end of the lease, delegated prefix. The outer addresses and the type are those of the device.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/tunnel/spec.hpp"

namespace dstm::dataplane {

using Slot = std::uint16_t;
inline constexpr Slot slots_max = 16;

// May be longer than a device can carry (alias_size_max).
[[nodiscard]] std::string write_alias(const std::map<Slot, TunnelSpec>& tunnels);
// nullopt for what write_alias does not write.
[[nodiscard]] std::optional<std::map<Slot, TunnelSpec>> read_alias(std::string_view text);

}  // namespace dstm::dataplane
