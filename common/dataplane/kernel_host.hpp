// What both roles of the kernel data plane share: the ways to the kernel, small helpers, and a
// thread that looks at the time. Internal to kernel_plane.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/dataplane/descriptor.hpp"
#include "common/dataplane/kernel_plane.hpp"
#include "common/dataplane/netlink.hpp"
#include "common/dataplane/nft_table.hpp"
#include "common/dataplane/packet_filter.hpp"
#include "common/dataplane/tunnel_links.hpp"

namespace dstm::dataplane {

struct KernelHost {
    Netlink netlink;
    TunnelLinks links;
    PacketFilter filter;

    [[nodiscard]] static Result<KernelHost> open();
};

// Nobody else in this network namespace holds it until the descriptor is closed. conflict: somebody
// does. The kernel lets go of it when the process ends, however it ends.
[[nodiscard]] Result<Descriptor> hold_device(const std::string& device);

// No router solicitations and multicast reports into tunnels that carry IPv4.
void silence_ipv6(const std::string& device);

// While it lives, forwarded TCP through the devices (nft's pattern of names) has no larger MSS than
// the routes of both directions allow. None, and a word in the log, where nftables says no.
[[nodiscard]] std::optional<NftTable> clamp_mss(const std::string& devices);

[[nodiscard]] IpPrefix host_prefix(const IpAddress& address);
[[nodiscard]] std::uint8_t host_prefix_length(const IpAddress& address);
[[nodiscard]] bool contains(const IpPrefix& prefix, const IpAddress& address);
[[nodiscard]] std::string to_string(const IpPrefix& prefix);
[[nodiscard]] bool is_usable_unicast(const IpAddress& address);

// refused: a type that the kernel has no device for. invalid: addresses of the wrong family, or
// that no host can have.
[[nodiscard]] Result<void> check_tunnel(const TunnelSpec& spec);

// What the device counted, in the words of DataPlane.
[[nodiscard]] TunnelCounters counters_of(const TunnelLink& link);

// Calls `work` several times a second from a thread of its own while the object lives.
class Housekeeper {
public:
    explicit Housekeeper(std::function<void()> work);
    ~Housekeeper();

private:
    std::function<void()> work_;
    std::mutex mutex_;
    std::condition_variable stopping_;
    bool is_stopping_ = false;
    std::thread thread_;
};

// The two roles.
[[nodiscard]] Result<std::unique_ptr<DataPlane>> make_kernel_endpoint(
    const KernelPlaneConfig& config, const Clock& clock);
[[nodiscard]] Result<std::unique_ptr<DataPlane>> make_kernel_client(const std::string& device,
                                                                    const Clock& clock);

}  // namespace dstm::dataplane
