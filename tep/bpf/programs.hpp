// The programs and maps in the kernel: loaded here, attached elsewhere. The only place that knows
// the skeleton.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "tep/bpf/layout.h"
#include "tep/bpf/pins.hpp"

namespace dstm::tep::bpf {

struct ProgramSettings {
    Ipv6Address outer;
    std::optional<Ipv4Address> inner;
    std::vector<Ipv4Prefix> pools;
    // Without outer_ipv4 nothing with IPv6 inside is carried.
    std::optional<Ipv4Address> outer_ipv4;
    std::optional<Ipv6Address> inner_ipv6;
    std::uint16_t udp_port = 0;
    std::uint32_t ipv6_tunnels_max = DSTM_IPV6_TUNNELS_MAX;
    bool hairpin = true;
    bool mss_clamp = true;
    // Of the packets that the down program sees: 0 on a TUN device, 14 on Ethernet (tests).
    std::uint32_t device_header = 0;
};

// How many tunnels with IPv6 inside the maps have room for; the least that a map can have where
// none is carried.
[[nodiscard]] std::uint32_t ipv6_slots_of(const ProgramSettings& settings);

class Programs {
public:
    // With the maps of `adopted` in place of new ones where it has them. invalid: pools that
    // overlap, are too many or too large. refused: the kernel's verifier said no, and its reason is
    // in the context. unavailable: no right to load, or no BPF here. conflict: an adopted map is
    // not what its name says.
    [[nodiscard]] static Result<Programs> load(const ProgramSettings& settings,
                                               const Maps& adopted = {});
    Programs(Programs&&) noexcept;
    Programs& operator=(Programs&&) noexcept;
    ~Programs();

    [[nodiscard]] const ProgramSettings& settings() const;

    // Descriptors, owned by this object.
    [[nodiscard]] int down() const;
    [[nodiscard]] int up() const;           // past the kernel's routing when set_straight says so
    [[nodiscard]] int up_routed() const;    // never
    [[nodiscard]] int up_straight() const;  // always
    [[nodiscard]] int xdp() const;
    [[nodiscard]] int pool_entries(std::size_t pool) const;
    [[nodiscard]] int pool_records(std::size_t pool) const;
    [[nodiscard]] int outside_slots() const;
    [[nodiscard]] int outside_entries() const;
    [[nodiscard]] int outside_records() const;
    [[nodiscard]] int ipv6_slots() const;
    [[nodiscard]] int ipv6_entries() const;
    [[nodiscard]] int ipv6_records() const;
    [[nodiscard]] int meta() const;
    [[nodiscard]] int hooks() const;
    [[nodiscard]] int next_hops() const;
    [[nodiscard]] int drops() const;
    [[nodiscard]] int refused() const;

    // Keeps all maps for the next daemon: as long as a program stands on a hook, and under their
    // names in `pins`.
    [[nodiscard]] Result<void> bind_maps() const;
    [[nodiscard]] Result<void> pin(const Pins& pins) const;

    // As dstm_port in layout.h: into the place of `interface`, which may be another's.
    void set_port(int interface, const dstm_port& port);
    void set_outside_count(std::uint32_t count);
    // As prefix_lengths in programs/tables.bpf.h.
    void set_prefix_lengths(const std::array<std::uint64_t, 2>& lengths);
    // Layer 2 in the tc programs: which inner packets go from interface to interface, past the
    // kernel's routing; a set of DSTM_STRAIGHT_*.
    void set_straight(std::uint32_t families);
    void set_tunnel_device(int interface);
    // Packets that leave a tunnel appear on this interface; 0, from the start: on that which they
    // came in on, which is faster.
    void deliver_to(int interface);

private:
    struct Impl;
    explicit Programs(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// The line of a verifier's log that says why, with the instruction it is about; the whole log when
// it cannot be found. Exposed for its test.
[[nodiscard]] std::string verifier_reason(const std::string& log);

}  // namespace dstm::tep::bpf
