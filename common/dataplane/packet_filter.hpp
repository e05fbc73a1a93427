// What a device lets through, by the kernel's traffic control: rules on what comes in (clsact,
// u32), all or nothing on what goes out. By libnl-3; knows addresses, not tunnels.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "common/base/result.hpp"
#include "common/dataplane/netlink.hpp"

namespace dstm::dataplane {

// Of the rules of one device the one with the lowest priority number that matches decides. Each
// has a priority of its own.
struct IngressRule {
    std::uint16_t priority = 0;
    std::optional<IpPrefix> source;  // of the same family as the destination
    std::optional<IpPrefix> destination;
    bool passes = false;  // else the packet is dropped, silently
};

class PacketFilter {
public:
    [[nodiscard]] static Result<PacketFilter> open();
    PacketFilter(PacketFilter&&) noexcept;
    PacketFilter& operator=(PacketFilter&&) noexcept;
    ~PacketFilter();

    // From here on nothing comes in that no rule lets pass. unavailable: this kernel lacks clsact,
    // u32 or gact.
    [[nodiscard]] Result<void> close_ingress(int device);
    [[nodiscard]] bool is_ingress_closed(int device);
    // A rule of the same priority must not be there.
    [[nodiscard]] Result<void> add(int device, const IngressRule& rule);
    [[nodiscard]] Result<void> remove(int device, const IngressRule& rule);
    // How many packets the rules have dropped; 0 without any.
    [[nodiscard]] std::uint64_t dropped_in(int device);

    // Nothing goes out; counted.
    [[nodiscard]] Result<void> close_egress(int device);
    [[nodiscard]] Result<void> open_egress(int device);
    [[nodiscard]] std::uint64_t dropped_out(int device);

private:
    struct Impl;
    explicit PacketFilter(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace dstm::dataplane
