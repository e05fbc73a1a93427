// Puts device, socket, host and loop together behind DataPlane.
#include "common/dataplane/tun_plane.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/dataplane/host_changes.hpp"
#include "common/dataplane/netlink.hpp"
#include "common/dataplane/packet_loop.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

using Role = TunPlaneConfig::Role;

// The device of an endpoint: so large that the kernel never fragments an inner packet or refuses
// it for its size. What does not fit through a tunnel is known only once its far end is, and then
// it is the outer packet that is fragmented (RFC 2473 s7.2).
constexpr std::uint32_t endpoint_device_mtu = 65535;
constexpr std::uint32_t client_device_mtu_min = ipv6_mtu_min - outer_header_size;
constexpr std::uint32_t client_device_mtu_max = 65535;
constexpr std::uint8_t host_prefix_length = 32;

Result<void> check(const TunPlaneConfig& config) {
    if (config.device_mtu > 65535 ||
        (config.device_mtu != 0 && config.device_mtu < client_device_mtu_min)) {
        return fail(ErrorCode::invalid, "a device MTU is 1240 to 65535");
    }
    if (config.role == Role::client) return {};
    if (!config.outer.is_usable_unicast()) {
        return fail(ErrorCode::invalid,
                    "the outer address " + config.outer.to_string() + " is no address of a host");
    }
    if (config.inner && !config.inner->is_usable_unicast()) {
        return fail(ErrorCode::invalid,
                    "the inner address " + config.inner->to_string() + " is no address of a host");
    }
    return {};
}

class TunPlane final : public DataPlane {
public:
    TunPlane(const TunPlaneConfig& config, const Clock& clock, Netlink netlink, TunDevice device)
        : config_(config),
          clock_(clock),
          netlink_(std::move(netlink)),
          device_(std::move(device)),
          shared_(config) {}
    ~TunPlane() override;

    [[nodiscard]] Result<void> start();

    [[nodiscard]] std::string_view name() const override { return "tun"; }
    [[nodiscard]] Result<void> add(const TunnelSpec& spec) override;
    [[nodiscard]] Result<void> remove(const IpAddress& inner, Generation up_to) override;
    [[nodiscard]] std::vector<InstalledTunnel> list() const override;
    [[nodiscard]] DropCounters drops() const override;

private:
    [[nodiscard]] Result<void> start_endpoint();
    [[nodiscard]] Result<void> route_pool(const Ipv4Prefix& pool);
    [[nodiscard]] Result<void> add_at_client(const TunnelSpec& spec);
    [[nodiscard]] Result<void> swap_in(const TunnelSpec& spec, std::shared_ptr<OuterSocket> socket);
    [[nodiscard]] Result<void> turn_gro_off(const Ipv6Address& outer);
    std::optional<std::uint32_t> adapt_device_mtu();
    void keep_house();
    [[nodiscard]] Now now() const { return {clock_.now(), clock_.wall()}; }

    TunPlaneConfig config_;
    const Clock& clock_;

    std::mutex host_mutex_;  // guards the next five; taken before shared_.mutex
    Netlink netlink_;
    int device_index_ = 0;
    std::uint32_t device_mtu_ = 0;
    GroOff gro_;
    std::vector<Route> blackholes_;

    std::optional<std::uint32_t> path_mtu_told_;  // of the loop's thread

    TunDevice device_;
    mutable Shared shared_;
    std::optional<PacketLoop> loop_;
};

TunPlane::~TunPlane() {
    loop_.reset();
    if (config_.keep_device) return;
    for (const auto& route : blackholes_) {
        if (const auto removed = netlink_.remove_route(route); !removed) {
            log_warning("TUN_BLACKHOLE_LEFT", "{}", to_string(removed.error()));
        }
    }
}

Result<void> TunPlane::start() {
    const std::lock_guard lock(host_mutex_);
    const auto index = netlink_.interface_index(config_.device);
    if (!index) return tl::unexpected(index.error());
    device_index_ = *index;
    // No router solicitations and multicast reports into the tunnels.
    if (const auto off = write_sysctl("net/ipv6/conf/" + config_.device + "/disable_ipv6", "1");
        !off) {
        log_warning("TUN_SYSCTL_FAILED", "{}", to_string(off.error()));
    }
    loop_.emplace(shared_, device_, clock_, [this] { keep_house(); });
    if (auto started = loop_->start(); !started) return started;
    if (config_.role == Role::endpoint) return start_endpoint();
    return netlink_.set_interface_up(device_index_, true);
}

Result<void> TunPlane::start_endpoint() {
    if (!config_.keep_gro) {
        if (auto off = turn_gro_off(config_.outer); !off) return off;
    }
    auto socket = OuterSocket::open(config_.outer);
    if (!socket) return tl::unexpected(socket.error());
    {
        const std::lock_guard lock(shared_.mutex);
        auto set = loop_->set_outer(std::make_shared<OuterSocket>(std::move(*socket)));
        if (!set) return set;
    }
    device_mtu_ = config_.device_mtu != 0 ? config_.device_mtu : endpoint_device_mtu;
    auto done = netlink_.set_interface_mtu(device_index_, device_mtu_);
    if (done && config_.inner) {
        done = netlink_.add_address(device_index_, *config_.inner, host_prefix_length);
    }
    if (done) done = netlink_.set_interface_up(device_index_, true);
    for (const auto& pool : config_.pools) {
        if (done) done = route_pool(pool);
    }
    if (!done) return done;
    // Of the device only; the interfaces on the other side are the operator's.
    if (const auto on = write_sysctl("net/ipv4/conf/" + config_.device + "/forwarding", "1"); !on) {
        log_warning("TUN_SYSCTL_FAILED", "{}", to_string(on.error()));
    }
    if (read_sysctl("net/ipv4/ip_forward") == "0") {
        log_warning("TUN_FORWARDING_OFF",
                    "net.ipv4.ip_forward is 0: packets from IPv4 may not reach the tunnels");
    }
    if (config_.keep_device) return device_.keep();
    return {};
}

Result<void> TunPlane::route_pool(const Ipv4Prefix& pool) {
    Route blackhole;
    blackhole.destination = pool;
    blackhole.kind = Route::Kind::blackhole;
    blackhole.metric = blackhole_metric;
    // One that a killed process left is the same, and is ours from here on.
    if (auto added = netlink_.add_route(blackhole); !added) return added;
    blackholes_.push_back(blackhole);
    Route route;
    route.destination = pool;
    route.interface_index = device_index_;
    route.source = config_.inner;
    return netlink_.add_route(route);
}

Result<void> TunPlane::add(const TunnelSpec& spec) {
    if (config_.role == Role::client) return add_at_client(spec);
    const std::lock_guard lock(shared_.mutex);
    return shared_.carrier.add(spec, now());
}

Result<void> TunPlane::add_at_client(const TunnelSpec& spec) {
    const std::lock_guard lock(host_mutex_);
    std::shared_ptr<OuterSocket> socket;
    bool is_new = true;
    {
        const std::lock_guard shared_lock(shared_.mutex);
        if (auto checked = shared_.carrier.check_add(spec); !checked) return checked;
        const auto installed = shared_.carrier.tunnels().list();
        is_new = installed.empty();
        // Two sockets on one address would each receive every packet.
        const bool stays = !is_new && installed[0].spec.outer_client == spec.outer_client;
        if (stays) socket = shared_.outer;
    }
    const auto& outer = std::get<Ipv6Address>(spec.outer_client.address);
    if (!socket) {
        if (auto off = turn_gro_off(outer); !off) return off;
        auto opened = OuterSocket::open(outer);
        if (!opened) return tl::unexpected(opened.error());
        socket = std::make_shared<OuterSocket>(std::move(*opened));
    }
    auto done = netlink_.add_address(device_index_, spec.inner, host_prefix_length);
    if (!done) return done;
    done = swap_in(spec, std::move(socket));
    if (!done && is_new) {
        static_cast<void>(netlink_.remove_address(device_index_, spec.inner, host_prefix_length));
    }
    if (!done) return done;
    adapt_device_mtu();
    loop_->wake();
    return {};
}

Result<void> TunPlane::swap_in(const TunnelSpec& spec, std::shared_ptr<OuterSocket> socket) {
    const std::lock_guard lock(shared_.mutex);
    if (socket != shared_.outer) {
        if (auto set = loop_->set_outer(std::move(socket)); !set) return set;
    }
    return shared_.carrier.add(spec, now());
}

Result<void> TunPlane::remove(const IpAddress& inner, Generation up_to) {
    const std::lock_guard lock(host_mutex_);
    {
        const std::lock_guard shared_lock(shared_.mutex);
        auto removed = shared_.carrier.remove(inner, up_to);
        if (!removed || config_.role == Role::endpoint) return removed;
        static_cast<void>(loop_->set_outer(nullptr));
    }
    gro_ = GroOff();
    return netlink_.remove_address(device_index_, inner, host_prefix_length);
}

std::vector<InstalledTunnel> TunPlane::list() const {
    const std::lock_guard lock(shared_.mutex);
    return shared_.carrier.tunnels().list();
}

DropCounters TunPlane::drops() const {
    const std::lock_guard lock(shared_.mutex);
    return shared_.carrier.drops().by_name();
}

Result<void> TunPlane::turn_gro_off(const Ipv6Address& outer) {
    const auto index = netlink_.interface_of_address(outer);
    if (!index && index.error().code == ErrorCode::not_found) {
        return fail(ErrorCode::unavailable, index.error().context);
    }
    if (!index) return tl::unexpected(index.error());
    const auto interface = netlink_.interface_name(*index);
    if (!interface) return tl::unexpected(interface.error());
    if (*interface == gro_.interface()) return {};
    auto off = GroOff::on(*interface, config_.gro_record);
    if (off)
        gro_ = std::move(*off);
    else
        log_warning("TUN_GRO_UNKNOWN", "{}", to_string(off.error()));
    return {};
}

// Holds host_mutex_. The path MTU, when there is a tunnel.
std::optional<std::uint32_t> TunPlane::adapt_device_mtu() {
    std::optional<std::uint32_t> path_mtu;
    {
        const std::lock_guard lock(shared_.mutex);
        path_mtu = shared_.carrier.client_path_mtu(now());
    }
    if (!path_mtu) return std::nullopt;
    const auto limit = config_.device_mtu != 0 ? config_.device_mtu : client_device_mtu_max;
    const auto wanted = std::clamp(*path_mtu - outer_header_size, client_device_mtu_min, limit);
    if (wanted == device_mtu_) return path_mtu;
    if (const auto set = netlink_.set_interface_mtu(device_index_, wanted); !set) {
        log_warning("TUN_MTU_NOT_SET", "{}", to_string(set.error()));
        return path_mtu;
    }
    log_info("TUN_MTU", "device={} mtu={} path-mtu={}", config_.device, wanted, *path_mtu);
    device_mtu_ = wanted;
    return path_mtu;
}

void TunPlane::keep_house() {
    if (config_.role == Role::endpoint) return;
    std::optional<std::uint32_t> path_mtu;
    {
        const std::lock_guard lock(host_mutex_);
        path_mtu = adapt_device_mtu();
    }
    if (!path_mtu || path_mtu == path_mtu_told_) return;
    path_mtu_told_ = path_mtu;
    if (config_.path_mtu_changed) config_.path_mtu_changed(*path_mtu);
}

}  // namespace

Result<std::unique_ptr<DataPlane>> make_tun_plane(const TunPlaneConfig& config,
                                                  const Clock& clock) {
    if (const auto checked = check(config); !checked) return tl::unexpected(checked.error());
    auto netlink = Netlink::open();
    if (!netlink) return tl::unexpected(netlink.error());
    auto device = TunDevice::create(config.device, config.keep_device);
    if (!device) return tl::unexpected(device.error());
    auto plane = std::make_unique<TunPlane>(config, clock, std::move(*netlink), std::move(*device));
    if (const auto started = plane->start(); !started) return tl::unexpected(started.error());
    return plane;
}

Result<std::string> probe_tun_plane() {
    const Descriptor device(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    if (!device.is_open()) return tl::unexpected(error_from_errno(errno, "opening /dev/net/tun"));
    const Descriptor socket(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_IPIP));
    if (!socket.is_open()) return tl::unexpected(error_from_errno(errno, "opening a raw socket"));
    return "in user space";
}

}  // namespace dstm::dataplane
