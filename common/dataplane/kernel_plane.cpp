// Checks, the probe, and the factories of the kernel data plane.
#include "common/dataplane/kernel_plane.hpp"

#include <unistd.h>

#include "common/dataplane/kernel_alias.hpp"
#include "common/dataplane/kernel_endpoint.hpp"
#include "common/dataplane/kernel_host.hpp"

namespace dstm::dataplane {
namespace {

using Role = KernelPlaneConfig::Role;

constexpr std::size_t device_name_max = 15;    // IFNAMSIZ - 1
constexpr std::size_t device_name_suffix = 6;  // "-99999"

Result<void> check(const KernelPlaneConfig& config) {
    const bool is_client = config.role == Role::client;
    const auto longest = is_client ? device_name_max : device_name_max - device_name_suffix;
    if (config.device.empty() || config.device.size() > longest) {
        return fail(ErrorCode::invalid, "a device name is 1 to " + std::to_string(longest) +
                                            " characters long here: " + config.device);
    }
    if (is_client) return {};
    if (!config.outer && !config.outer_ipv4) {
        return fail(ErrorCode::invalid, "an endpoint has an outer address");
    }
    const auto is_good = [](const auto& address) {
        return !address || address->is_usable_unicast();
    };
    if (!is_good(config.outer) || !is_good(config.inner) || !is_good(config.outer_ipv4) ||
        !is_good(config.inner_ipv6)) {
        return fail(ErrorCode::invalid, "an address of the endpoint is no address of a host");
    }
    return {};
}

Result<std::unique_ptr<KernelEndpoint>> open_endpoint(const KernelPlaneConfig& config,
                                                      const Clock& clock) {
    auto held = hold_device(config.device);
    if (!held) return tl::unexpected(held.error());
    auto host = KernelHost::open();
    if (!host) return tl::unexpected(host.error());
    return std::make_unique<KernelEndpoint>(config, clock, std::move(*host), std::move(*held));
}

}  // namespace

Result<void> probe_kernel_plane(TunnelType type) {
    if (type == TunnelType::v6udpv4) {
        return fail(ErrorCode::refused, "the kernel has no device for v6udpv4");
    }
    auto host = KernelHost::open();
    if (!host) return tl::unexpected(host.error());
    TunnelLink link;
    link.type = type;
    link.name = "dstmp" + std::to_string(::getpid());
    // Addresses that are no host's: the pair cannot be taken (RFC 6666, RFC 5737).
    if (type == TunnelType::v4v6) {
        link.local = *Ipv6Address::parse("100::1");
        link.remote = *Ipv6Address::parse("100::2");
    } else {
        link.local = *Ipv4Address::parse("192.0.2.1");
        link.remote = *Ipv4Address::parse("192.0.2.2");
    }
    const auto device = host->links.add(link);
    if (!device) return tl::unexpected(device.error());
    const auto filtered = host->filter.close_ingress(*device);
    const auto removed = host->links.remove(*device);
    return filtered ? removed : filtered;
}

Result<std::unique_ptr<DataPlane>> make_kernel_plane(const KernelPlaneConfig& config,
                                                     const Clock& clock) {
    if (const auto checked = check(config); !checked) return tl::unexpected(checked.error());
    if (config.role == Role::client) return make_kernel_client(config.device, clock);
    auto plane = open_endpoint(config, clock);
    if (!plane) return tl::unexpected(plane.error());
    if (const auto started = (*plane)->start(); !started) {
        // Tunnels that an earlier daemon left are not to suffer from it; without any, nothing
        // stays.
        if ((*plane)->list().empty()) static_cast<void>((*plane)->take_down());
        return tl::unexpected(started.error());
    }
    return std::unique_ptr<DataPlane>(std::move(*plane));
}

Result<std::vector<std::string>> detach_kernel_plane(const KernelPlaneConfig& config) {
    struct NoClock final : Clock {
        [[nodiscard]] Instant now() const override { return {}; }
        [[nodiscard]] WallTime wall() const override { return {}; }
    };
    const NoClock clock;  // nothing is decided by the time here
    auto plane = open_endpoint(config, clock);
    return plane ? (*plane)->take_down() : tl::unexpected(plane.error());
}

Result<bool> remove_kernel_client(const std::string& device) {
    auto links = TunnelLinks::open();
    if (!links) return tl::unexpected(links.error());
    const auto there = links->list();
    if (!there) return tl::unexpected(there.error());
    for (const auto& link : *there) {
        if (link.name != device || !read_alias(link.alias)) continue;
        return links->remove(link.index).map([] { return true; });
    }
    return false;
}

}  // namespace dstm::dataplane
