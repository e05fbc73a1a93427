// Attaching and detaching as interfaces come and go; what the kernel cannot do is a log line.
#include "tep/bpf/entrances.hpp"

#include <utility>

#include "common/log/log.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr int loopback_index = 1;

}  // namespace

Result<std::set<int>> Entrances::wanted() {
    std::set<int> wanted;
    if (!config_.interfaces.empty()) {
        for (const auto& name : config_.interfaces) {
            const auto index = netlink_.interface_index(name);
            if (index)
                wanted.insert(*index);
            else if (index.error().code != ErrorCode::not_found)
                return tl::unexpected(index.error());
        }
        return wanted;
    }
    // The address may stand on the loopback interface, when the host has several links.
    const auto holder = netlink_.interface_of_address(config_.outer);
    if (!holder) return tl::unexpected(holder.error());
    if (*holder != loopback_index) wanted.insert(*holder);
    const auto routes = netlink_.routes_v6();
    if (!routes) return tl::unexpected(routes.error());
    for (const auto& route : *routes) {
        if (route.gateway && route.interface_index > loopback_index) {
            wanted.insert(route.interface_index);
        }
    }
    if (config_.shortcut == Shortcut::none) return wanted;
    const auto routes_v4 = netlink_.routes_v4();
    if (!routes_v4) return tl::unexpected(routes_v4.error());
    for (const auto& route : *routes_v4) {
        if (route.interface_index > loopback_index) wanted.insert(route.interface_index);
    }
    return wanted;
}

// An interface may vanish and come back under its name, with another index.
Result<void> Entrances::guard() {
    const auto wanted = this->wanted();
    if (!wanted) return tl::unexpected(wanted.error());
    std::erase_if(entrances_, [&](const auto& entry) { return !wanted->contains(entry.first); });
    for (const int index : *wanted) {
        if (entrances_.contains(index)) continue;
        const auto interface = netlink_.interface_name(index);
        const auto link = network_.link(index);
        if (!interface || !link) continue;  // gone again
        if (index == device_) continue;
        if (!link->address) {
            log_info("BPF_NO_ETHERNET", "interface={} takes the slow path", *interface);
            continue;
        }
        auto hook = TcHook::attach(index, TcDirection::ingress, programs_.up());
        if (!hook) return tl::unexpected(hook.error());
        auto xdp = try_xdp(index, *interface);
        log_info("BPF_ATTACHED", "interface={} by={}", *interface, xdp ? "xdp,tc" : "tc");
        entrances_.emplace(index,
                           Entrance{std::move(*hook), std::move(xdp), SourceFilterOff(*interface)});
    }
    if (entrances_.empty()) {
        log_warning("BPF_NO_INTERFACE", "no interface to carry from; packets take the slow path");
    }
    return {};
}

std::optional<XdpHook> Entrances::try_xdp(int index, const std::string& interface) {
    if (config_.shortcut != Shortcut::xdp) return std::nullopt;
    auto hook = XdpHook::attach(index, programs_.xdp());
    if (hook) return std::move(*hook);
    log_warning("BPF_NO_XDP", "interface={} {}", interface, to_string(hook.error()));
    return std::nullopt;
}

}  // namespace dstm::tep::bpf
