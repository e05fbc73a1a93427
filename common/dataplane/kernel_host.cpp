// Helpers of the kernel data plane.
#include "common/dataplane/kernel_host.hpp"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>

#include "common/dataplane/host_changes.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

// The end of a lease is a whole second: no packet should be carried much after it.
constexpr auto housekeeping_period = std::chrono::milliseconds(100);

}  // namespace

Result<KernelHost> KernelHost::open() {
    auto netlink = Netlink::open();
    if (!netlink) return tl::unexpected(netlink.error());
    auto links = TunnelLinks::open();
    if (!links) return tl::unexpected(links.error());
    auto filter = PacketFilter::open();
    if (!filter) return tl::unexpected(filter.error());
    return KernelHost{std::move(*netlink), std::move(*links), std::move(*filter)};
}

Result<Descriptor> hold_device(const std::string& device) {
    Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // An abstract name, which begins with a zero byte, belongs to the network namespace.
    const auto name = "dstm-kernel-plane/" + device;
    if (name.size() + 1 > sizeof address.sun_path) return fail(ErrorCode::invalid, "long: " + name);
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto size = static_cast<socklen_t>(sizeof address.sun_family + 1 + name.size());
    if (socket.is_open() &&
        ::bind(socket.number(), reinterpret_cast<sockaddr*>(&address), size) == 0) {
        return socket;
    }
    if (errno == EADDRINUSE) {
        return fail(ErrorCode::conflict, "another program holds the device " + device);
    }
    return tl::unexpected(error_from_errno(errno, "hold the device " + device));
}

void silence_ipv6(const std::string& device) {
    const auto off = write_sysctl("net/ipv6/conf/" + device + "/disable_ipv6", "1");
    if (!off) log_warning("KERNEL_SYSCTL_FAILED", "{}", to_string(off.error()));
}

std::optional<NftTable> clamp_mss(const std::string& devices) {
    std::string rules = " chain forward {\n  type filter hook forward priority mangle\n";
    for (const auto* way : {"iifname", "oifname"}) {
        rules += std::string("  ") + way + " \"" + devices +
                 "\" tcp flags syn tcp option maxseg size set rt mtu\n";
    }
    auto table = NftTable::add("inet", "dstm-mss", rules + " }\n");
    if (table) return std::move(*table);
    log_warning("KERNEL_MSS_NOT_CLAMPED", "{}", to_string(table.error()));
    return std::nullopt;
}

std::uint8_t host_prefix_length(const IpAddress& address) {
    return std::holds_alternative<Ipv4Address>(address) ? 32 : 128;
}

IpPrefix host_prefix(const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) return Ipv4Prefix{*v4, 32};
    return Ipv6Prefix{std::get<Ipv6Address>(address), 128};
}

bool contains(const IpPrefix& prefix, const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Prefix>(&prefix)) {
        const auto* candidate = std::get_if<Ipv4Address>(&address);
        return candidate != nullptr && v4->contains(*candidate);
    }
    const auto* candidate = std::get_if<Ipv6Address>(&address);
    return candidate != nullptr && std::get<Ipv6Prefix>(prefix).contains(*candidate);
}

std::string to_string(const IpPrefix& prefix) {
    return std::visit([](const auto& family) { return family.to_string(); }, prefix);
}

bool is_usable_unicast(const IpAddress& address) {
    return std::visit([](const auto& family) { return family.is_usable_unicast(); }, address);
}

Result<void> check_tunnel(const TunnelSpec& spec) {
    if (spec.type == TunnelType::v6udpv4) {
        return fail(ErrorCode::refused,
                    "the kernel data plane does not carry v6udpv4: the kernel has no device that "
                    "tells UDP ports apart");
    }
    const bool inner_is_v4 = spec.type == TunnelType::v4v6;
    const auto is_v4 = [](const IpAddress& address) {
        return std::holds_alternative<Ipv4Address>(address);
    };
    const auto& client = spec.outer_client.address;
    if (is_v4(spec.inner) != inner_is_v4 || is_v4(client) == inner_is_v4 ||
        is_v4(spec.outer_server) == inner_is_v4 || (inner_is_v4 && spec.inner_prefix)) {
        return fail(ErrorCode::invalid, inner_is_v4
                                            ? "v4v6 has an IPv4 address inside and IPv6 outside"
                                            : "v6v4 has an IPv6 address inside and IPv4 outside");
    }
    if (!is_usable_unicast(spec.inner)) {
        return fail(ErrorCode::invalid, to_string(spec.inner) + " is no host's address");
    }
    if (!is_usable_unicast(client) || !is_usable_unicast(spec.outer_server) ||
        client == spec.outer_server) {
        return fail(ErrorCode::invalid, "no tunnel can go from " + to_string(client) + " to " +
                                            to_string(spec.outer_server));
    }
    return {};
}

TunnelCounters counters_of(const TunnelLink& link) {
    return {link.packets_received, link.bytes_received, link.packets_sent, link.bytes_sent, {}, {}};
}

Housekeeper::Housekeeper(std::function<void()> work)
    : work_(std::move(work)), thread_([this] {
          std::unique_lock lock(mutex_);
          while (!stopping_.wait_for(lock, housekeeping_period, [this] { return is_stopping_; })) {
              work_();
          }
      }) {}

Housekeeper::~Housekeeper() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    stopping_.notify_one();
    thread_.join();
}

}  // namespace dstm::dataplane
