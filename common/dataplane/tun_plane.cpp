// Puts device, socket, host and loop together behind DataPlane.
#include "common/dataplane/tun_plane.hpp"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/dataplane/link_news.hpp"
#include "common/dataplane/packet_loop.hpp"
#include "common/dataplane/tun_host.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

using Role = TunPlaneConfig::Role;

// The device of an endpoint: so large that the kernel never fragments an inner packet or refuses
// it for its size. What does not fit through a tunnel is known only once its far end is, and then
// it is the outer packet that is fragmented (RFC 2473 s7.2), or the inner one refused.
constexpr std::uint32_t endpoint_device_mtu = 65535;
constexpr std::uint32_t client_device_mtu_min =
    path_mtu_floor(TunnelType::v4v6) - overhead_of(TunnelType::v4v6);
constexpr std::uint32_t client_device_mtu_max = 65535;

Result<void> check_host(const IpAddress& address, const char* which) {
    if (is_host(address)) return {};
    return fail(ErrorCode::invalid, "the " + std::string(which) + " address " + to_string(address) +
                                        " is no address of a host");
}

// What the types with IPv6 inside need, all of it or nothing.
Result<void> check_ipv6_inside(const TunPlaneConfig& config) {
    if (!config.outer_ipv4) {
        if (!config.inner_ipv6 && config.pools_ipv6.empty() && config.udp_port == 0) return {};
        return fail(ErrorCode::invalid, "IPv6 inside needs an IPv4 address outside");
    }
    if (auto good = check_host(*config.outer_ipv4, "outer"); !good) return good;
    if (!config.inner_ipv6) return fail(ErrorCode::invalid, "IPv6 inside needs an inner address");
    return check_host(*config.inner_ipv6, "inner");
}

Result<void> check(const TunPlaneConfig& config) {
    if (config.device_mtu > 65535 ||
        (config.device_mtu != 0 && config.device_mtu < client_device_mtu_min)) {
        return fail(ErrorCode::invalid, "a device MTU is 1240 to 65535");
    }
    if (config.role == Role::client) return {};
    if (auto good = check_host(config.outer, "outer"); !good) return good;
    if (config.inner) {
        if (auto good = check_host(*config.inner, "inner"); !good) return good;
    }
    return check_ipv6_inside(config);
}

class TunPlane final : public DataPlane {
public:
    TunPlane(const TunPlaneConfig& config, const Clock& clock, TunDevice device, TunHost host)
        : config_(config),
          clock_(clock),
          device_(std::move(device)),
          host_(std::move(host)),
          shared_(config) {}

    [[nodiscard]] Result<void> start();

    [[nodiscard]] std::string_view name() const override { return "tun"; }
    [[nodiscard]] Result<void> add(const TunnelSpec& spec) override;
    [[nodiscard]] Result<void> remove(const IpAddress& inner, Generation up_to) override;
    [[nodiscard]] std::vector<InstalledTunnel> list() const override;
    [[nodiscard]] std::vector<TunnelCounters> counters(
        std::span<const IpAddress> inner) const override;
    [[nodiscard]] DropCounters drops() const override;
    [[nodiscard]] Result<void> lower_path_mtu(std::uint32_t outer_mtu) override;
    [[nodiscard]] Result<void> send_tsp(const IpEndpoint& peer, ConstBytes datagram) override;

private:
    [[nodiscard]] Result<void> start_endpoint();
    [[nodiscard]] Result<void> add_all_inside();
    [[nodiscard]] Result<void> watch_device();
    [[nodiscard]] Result<void> open_endpoint_sockets();
    [[nodiscard]] std::string gro_record_of(const IpAddress& outer) const;
    [[nodiscard]] Result<void> add_inside(const std::optional<IpAddress>& inner,
                                          const std::vector<IpPrefix>& pools);
    [[nodiscard]] Result<void> add_at_endpoint(const TunnelSpec& spec);
    [[nodiscard]] Result<void> add_at_client(const TunnelSpec& spec);
    [[nodiscard]] bool has_own_route(const IpAddress& inner) const;
    [[nodiscard]] Result<std::shared_ptr<OuterSocket>> socket_for(const TunnelSpec& spec);
    [[nodiscard]] Result<void> swap_in(const TunnelSpec& spec, std::shared_ptr<OuterSocket> socket);
    [[nodiscard]] Result<void> use(OuterSockets sockets);  // by a client; holds shared_.mutex
    std::optional<std::uint32_t> adapt_device_mtu();
    void restore_device();
    void keep_house();
    [[nodiscard]] Now now() const { return {clock_.now(), clock_.wall()}; }

    TunPlaneConfig config_;
    const Clock& clock_;

    TunDevice device_;
    std::mutex host_mutex_;  // guards the next one; taken before shared_.mutex
    TunHost host_;
    std::optional<LinkNews> link_news_;  // of an endpoint

    std::optional<std::uint32_t> path_mtu_told_;  // of the loop's thread

    mutable Shared shared_;
    std::optional<PacketLoop> loop_;
};

Result<void> TunPlane::start() {
    const std::lock_guard lock(host_mutex_);
    loop_.emplace(shared_, device_, clock_, [this] { keep_house(); });
    if (auto started = loop_->start(); !started) return started;
    if (config_.role == Role::endpoint) return start_endpoint();
    return host_.set_up();
}

Result<void> TunPlane::start_endpoint() {
    auto done = open_endpoint_sockets();
    if (done) {
        done = host_.set_mtu(config_.device_mtu != 0 ? config_.device_mtu : endpoint_device_mtu);
    }
    if (done) done = host_.set_up();
    if (!done) return done;
    done = add_all_inside();
    if (done && device_.was_kept()) done = host_.remove_others();
    if (done) done = watch_device();
    if (!config_.keep_device) return done;
    // What an earlier process left carries on, whether or not this one starts.
    if (done || device_.was_kept()) host_.leave_blackholes();
    return done ? device_.keep() : done;
}

Result<void> TunPlane::add_all_inside() {
    const std::vector<IpPrefix> pools(config_.pools.begin(), config_.pools.end());
    auto done = add_inside(config_.inner, pools);
    host_.forward(Version::ipv4);
    if (!done || !config_.inner_ipv6) return done;
    const std::vector<IpPrefix> of_ipv6(config_.pools_ipv6.begin(), config_.pools_ipv6.end());
    host_.forward(Version::ipv6);
    return add_inside(*config_.inner_ipv6, of_ipv6);
}

Result<void> TunPlane::watch_device() {
    auto news = LinkNews::open();
    if (!news) return tl::unexpected(news.error());
    link_news_.emplace(std::move(*news));
    return loop_->wake_by(link_news_->descriptor());
}

Result<void> TunPlane::open_endpoint_sockets() {
    std::vector<std::pair<TunnelType, IpEndpoint>> wanted{{TunnelType::v4v6, {config_.outer, 0}}};
    if (config_.outer_ipv4) wanted.push_back({TunnelType::v6v4, {*config_.outer_ipv4, 0}});
    if (config_.udp_port != 0) {
        wanted.push_back({TunnelType::v6udpv4, {*config_.outer_ipv4, config_.udp_port}});
    }
    OuterSockets sockets;
    for (const auto& [type, local] : wanted) {
        auto socket = OuterSocket::open(type, local);
        if (!socket) return tl::unexpected(socket.error());
        if (!config_.keep_gro && !socket->may_receive_merged()) {
            if (auto off = host_.turn_gro_off(local.address, gro_record_of(local.address)); !off) {
                return off;
            }
        }
        sockets[index_of(type)] = std::make_shared<OuterSocket>(std::move(*socket));
    }
    const std::lock_guard lock(shared_.mutex);
    return loop_->set_outer(std::move(sockets));
}

// The outer addresses may be on two interfaces, and a record speaks of one.
std::string TunPlane::gro_record_of(const IpAddress& outer) const {
    const bool is_ipv4 = std::holds_alternative<Ipv4Address>(outer);
    return config_.gro_record.empty() || !is_ipv4 ? config_.gro_record
                                                  : config_.gro_record + "-ipv4";
}

Result<void> TunPlane::add_inside(const std::optional<IpAddress>& inner,
                                  const std::vector<IpPrefix>& pools) {
    if (inner) {
        if (auto added = host_.add_address(*inner); !added) return added;
    }
    for (const auto& pool : pools) {
        if (auto routed = host_.route_pool(pool, inner); !routed) return routed;
    }
    return {};
}

Result<void> TunPlane::add(const TunnelSpec& spec) {
    return config_.role == Role::client ? add_at_client(spec) : add_at_endpoint(spec);
}

// What is led elsewhere is no client's, so the route comes first.
Result<void> TunPlane::add_at_endpoint(const TunnelSpec& spec) {
    const std::lock_guard lock(host_mutex_);
    if (has_own_route(spec.inner)) {
        {
            const std::lock_guard shared_lock(shared_.mutex);
            if (auto checked = shared_.carrier.check_add(spec); !checked) return checked;
        }
        if (auto routed = host_.route_host(spec.inner); !routed) return routed;
    }
    const std::lock_guard shared_lock(shared_.mutex);
    return shared_.carrier.add(spec);
}

bool TunPlane::has_own_route(const IpAddress& inner) const {
    const auto holds = [&](const auto& pool) {
        return pool.contains(std::get<decltype(pool.address)>(inner));
    };
    const bool is_ipv4 = std::holds_alternative<Ipv4Address>(inner);
    return config_.outside_pools && !(is_ipv4 ? std::ranges::any_of(config_.pools, holds)
                                              : std::ranges::any_of(config_.pools_ipv6, holds));
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
        // Two raw sockets on one address would each receive every packet.
        const bool stays = !is_new && spec.type != TunnelType::v6udpv4 &&
                           installed[0].spec.type == spec.type &&
                           installed[0].spec.outer_client == spec.outer_client;
        if (stays) socket = shared_.outer[index_of(spec.type)];
    }
    if (!socket) {
        auto opened = socket_for(spec);
        if (!opened) return tl::unexpected(opened.error());
        socket = std::move(*opened);
    }
    if (spec.type != TunnelType::v4v6) host_.enable_ipv6();
    auto done = host_.add_address(spec.inner);
    if (done) done = swap_in(spec, std::move(socket));
    if (!done && is_new) static_cast<void>(host_.remove_address(spec.inner));
    if (!done) return done;
    adapt_device_mtu();
    loop_->wake();
    return {};
}

Result<std::shared_ptr<OuterSocket>> TunPlane::socket_for(const TunnelSpec& spec) {
    const bool is_udp = spec.type == TunnelType::v6udpv4;
    auto opened = is_udp ? config_.udp_socket(spec).and_then(OuterSocket::adopt_udp)
                         : OuterSocket::open(spec.type, {spec.outer_client.address, 0});
    if (!opened) return tl::unexpected(opened.error());
    host_.restore_gro();
    if (!opened->may_receive_merged()) {
        const auto& outer = spec.outer_client.address;
        if (auto off = host_.turn_gro_off(outer, config_.gro_record); !off) {
            return tl::unexpected(off.error());
        }
    }
    return std::make_shared<OuterSocket>(std::move(*opened));
}

Result<void> TunPlane::swap_in(const TunnelSpec& spec, std::shared_ptr<OuterSocket> socket) {
    const std::lock_guard lock(shared_.mutex);
    OuterSockets sockets;
    sockets[index_of(spec.type)] = std::move(socket);
    if (auto used = use(std::move(sockets)); !used) return used;
    return shared_.carrier.add(spec);
}

Result<void> TunPlane::use(OuterSockets sockets) {
    constexpr auto udp = index_of(TunnelType::v6udpv4);
    const auto before = shared_.outer[udp];
    const bool stays_udp = sockets[udp] != nullptr;  // perhaps another duplicate of the same socket
    auto set = loop_->set_outer(std::move(sockets));
    if (set && before && !stays_udp) before->ignore_errors();
    return set;
}

Result<void> TunPlane::remove(const IpAddress& inner, Generation up_to) {
    const std::lock_guard lock(host_mutex_);
    {
        const std::lock_guard shared_lock(shared_.mutex);
        auto removed = shared_.carrier.remove(inner, up_to);
        if (!removed) return removed;
        if (config_.role == Role::client) static_cast<void>(use({}));
    }
    if (config_.role == Role::endpoint) {
        return has_own_route(inner) ? host_.remove_host_route(inner) : Result<void>{};
    }
    host_.restore_gro();
    auto removed = host_.remove_address(inner);
    host_.disable_ipv6();
    return removed;
}

Result<void> TunPlane::send_tsp(const IpEndpoint& peer, ConstBytes datagram) {
    std::shared_ptr<OuterSocket> socket;
    {
        const std::lock_guard lock(shared_.mutex);
        socket = shared_.outer[index_of(TunnelType::v6udpv4)];
    }
    if (!socket) return fail(ErrorCode::unavailable, "there is no UDP port");
    if (!std::holds_alternative<Ipv4Address>(peer.address) || peer.port == 0) {
        return fail(ErrorCode::invalid, to_string(peer) + " cannot have asked by UDP over IPv4");
    }
    const OutgoingPacket packet{peer, 0, datagram};
    DropTable drops;
    socket->send({&packet, 1}, drops);
    if (drops == DropTable()) return {};
    return fail(ErrorCode::unavailable, "the datagram to " + to_string(peer) + " was not sent");
}

std::vector<InstalledTunnel> TunPlane::list() const {
    const std::lock_guard lock(shared_.mutex);
    return shared_.carrier.tunnels().list();
}

std::vector<TunnelCounters> TunPlane::counters(std::span<const IpAddress> inner) const {
    std::vector<TunnelCounters> out(inner.size());
    const std::lock_guard lock(shared_.mutex);
    for (std::size_t i = 0; i < inner.size(); ++i) {
        if (const auto* tunnel = shared_.carrier.tunnels().find(inner[i])) {
            out[i] = tunnel->counters;
        }
    }
    return out;
}

DropCounters TunPlane::drops() const {
    DropCounters out;
    OuterSockets sockets;
    {
        const std::lock_guard lock(shared_.mutex);
        out = shared_.carrier.drops().by_name();
        sockets = shared_.outer;
    }
    auto& withheld = out["kernel_answer"];
    for (const auto& socket : sockets) {
        if (socket) withheld += socket->answers_withheld();
    }
    return out;
}

// Holds host_mutex_. The path MTU, when there is a tunnel.
std::optional<std::uint32_t> TunPlane::adapt_device_mtu() {
    std::optional<ClientPath> path;
    {
        const std::lock_guard lock(shared_.mutex);
        path = shared_.carrier.client_path(now());
    }
    if (!path) return std::nullopt;
    const auto limit = config_.device_mtu != 0 ? config_.device_mtu : client_device_mtu_max;
    const auto wanted = std::max(std::min(path->inner_mtu, limit), path->inner_mtu_min);
    if (wanted == host_.mtu()) return path->mtu;
    if (const auto set = host_.set_mtu(wanted); !set) {
        log_warning("TUN_MTU_NOT_SET", "{}", to_string(set.error()));
    } else {
        log_info("TUN_MTU", "device={} mtu={} path-mtu={}", config_.device, wanted, path->mtu);
    }
    return path->mtu;
}

Result<void> TunPlane::lower_path_mtu(std::uint32_t outer_mtu) {
    const std::lock_guard lock(host_mutex_);
    {
        const std::lock_guard shared_lock(shared_.mutex);
        shared_.carrier.lower_client_path(outer_mtu, now());
    }
    adapt_device_mtu();
    return {};
}

void TunPlane::restore_device() {
    const std::lock_guard lock(host_mutex_);
    if (!link_news_) return;
    const auto changed = link_news_->take();
    if (changed && !changed->contains(host_.device_index())) return;
    const auto restored = host_.restore();
    if (!restored) {
        log_warning("TUN_DEVICE_NOT_RESTORED", "device={} {}", config_.device,
                    to_string(restored.error()));
    } else if (*restored) {
        log_info("TUN_DEVICE_RESTORED", "device={}", config_.device);
    }
}

void TunPlane::keep_house() {
    if (config_.role == Role::endpoint) return restore_device();
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
    auto device = TunDevice::create(config.device, config.keep_device);
    if (!device) return tl::unexpected(device.error());
    return make_tun_plane_on(std::move(*device), config, clock);
}

Result<std::unique_ptr<DataPlane>> make_tun_plane_on(TunDevice device,
                                                     const TunPlaneConfig& config,
                                                     const Clock& clock) {
    if (const auto checked = check(config); !checked) return tl::unexpected(checked.error());
    auto host = TunHost::open(config.device);
    if (!host) return tl::unexpected(host.error());
    // What an earlier process set is left as it is: its IPv6 carries on.
    config.inner_ipv6 ? host->enable_ipv6() : host->disable_ipv6();
    auto plane = std::make_unique<TunPlane>(config, clock, std::move(device), std::move(*host));
    if (const auto started = plane->start(); !started) return tl::unexpected(started.error());
    return plane;
}

namespace {

Result<void> try_raw_socket(int family, int protocol) {
    const Descriptor socket(::socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol));
    if (socket.is_open()) return {};
    return tl::unexpected(error_from_errno(errno, "open a raw socket"));
}

}  // namespace

// An open /dev/net/tun is not yet a device: the right to make one, and whether the rules of a
// container allow it, show only when it is made.
Result<std::string> probe_tun_plane() {
    if (const auto device = TunDevice::create_any(); !device) {
        return tl::unexpected(device.error());
    }
    if (const auto raw = try_raw_socket(AF_INET6, IPPROTO_IPIP); !raw) {
        return tl::unexpected(raw.error());
    }
    const auto v6v4 = try_raw_socket(AF_INET, IPPROTO_IPV6);
    return "in user space" + (v6v4 ? std::string() : "; no v6v4: " + v6v4.error().context);
}

}  // namespace dstm::dataplane
