// Tunnel devices of the kernel, by libnl-3: ip6tnl for v4v6, sit for v6v4. Knows nothing of leases
// or of what is routed into a device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::dataplane {

struct TunnelLink {
    TunnelType type = TunnelType::v4v6;
    std::string name;
    IpAddress local;    // outer addresses
    IpAddress remote;   // all zeroes: whatever comes to `local` and has no device of its own
    std::string alias;  // free text that stays with the device

    // The kernel's, when it is read.
    int index = 0;
    bool is_up = false;
    std::uint64_t packets_received = 0;
    std::uint64_t bytes_received = 0;  // inner bytes
    std::uint64_t packets_sent = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t congested = 0;    // received, marked outside, and inside not capable (RFC 6040)
    std::uint64_t send_errors = 0;  // no way to the far end, or too big
};

inline constexpr std::size_t alias_size_max = 255;

class TunnelLinks {
public:
    [[nodiscard]] static Result<TunnelLinks> open();
    TunnelLinks(TunnelLinks&&) noexcept;
    TunnelLinks& operator=(TunnelLinks&&) noexcept;
    ~TunnelLinks();

    // The index of the new device, which is still down. RFC 2473 s6.3: hop limit 64, no
    // encapsulation limit, traffic class copied. conflict: the name, or the pair of outer
    // addresses, is taken. unavailable: this kernel has no such devices.
    [[nodiscard]] Result<int> add(const TunnelLink& link);
    // Gives the device `link.index` other outer addresses; its addresses and routes stay.
    [[nodiscard]] Result<void> change(const TunnelLink& link);
    [[nodiscard]] Result<void> set_alias(int index, const std::string& alias);
    [[nodiscard]] Result<void> remove(int index);
    [[nodiscard]] Result<TunnelLink> read(int index);
    // Every ip6tnl and sit device of the host, whoever made it.
    [[nodiscard]] Result<std::vector<TunnelLink>> list();

private:
    struct Impl;
    explicit TunnelLinks(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace dstm::dataplane
