// A tunnel device without a far end, closed.
#include "common/dataplane/quiet_kernel.hpp"

#include <utility>

#include "common/dataplane/kernel_host.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

// The device that every namespace has once the module is there.
const char* fallback_device(TunnelType type) {
    return type == TunnelType::v4v6 ? "ip6tnl0" : "sit0";
}

Result<void> close_and_raise(KernelHost& host, int device) {
    auto done = host.filter.close_ingress(device);
    if (done) done = host.filter.close_egress(device);
    if (done) done = host.netlink.set_interface_up(device, true);
    return done;
}

}  // namespace

Result<QuietKernel> QuietKernel::on(TunnelType type, const IpAddress& local) {
    auto host = KernelHost::open();
    if (!host) return tl::unexpected(host.error());
    const auto fallback = host->netlink.interface_index(fallback_device(type));
    if (!fallback) return QuietKernel();
    const auto links = host->links.list();
    if (!links) return tl::unexpected(links.error());
    TunnelLink link;
    link.type = type;
    link.local = local;
    link.remote = type == TunnelType::v4v6 ? IpAddress(Ipv6Address()) : IpAddress(Ipv4Address());
    for (const auto& there : *links) {
        if (there.local != local || there.remote != link.remote) continue;
        // A killed process left it; or it is somebody's, and then the kernel is quiet anyway.
        if (!there.name.starts_with("dstmq")) return QuietKernel();
        return QuietKernel(std::move(host->links), there.index);
    }
    for (int number = 0; link.name.empty(); ++number) {
        const auto name = "dstmq" + std::to_string(number);
        if (!host->netlink.interface_index(name)) link.name = name;
    }
    const auto device = host->links.add(link);
    if (!device) return tl::unexpected(device.error());
    silence_ipv6(link.name);
    const auto done = close_and_raise(*host, *device);
    QuietKernel quiet(std::move(host->links), *device);
    if (!done) return tl::unexpected(done.error());
    return quiet;
}

QuietKernel::QuietKernel(TunnelLinks links, int device)
    : links_(std::move(links)), device_(device) {}

QuietKernel::QuietKernel(QuietKernel&& other) noexcept
    : links_(std::exchange(other.links_, std::nullopt)), device_(other.device_) {}

QuietKernel& QuietKernel::operator=(QuietKernel&& other) noexcept {
    std::swap(links_, other.links_);
    std::swap(device_, other.device_);
    return *this;
}

QuietKernel::~QuietKernel() {
    if (!links_) return;
    if (const auto removed = links_->remove(device_); !removed) {
        log_warning("KERNEL_CLEANUP_FAILED", "{}", to_string(removed.error()));
    }
}

}  // namespace dstm::dataplane
