// A TUN device, a table of nftables that goes with its owner, and a raw socket.
#include "client/host/demand_watch.hpp"

#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/host/kept_routes.hpp"
#include "common/dataplane/descriptor.hpp"
#include "common/dataplane/host_changes.hpp"
#include "common/dataplane/nft_table.hpp"
#include "common/io/asio.hpp"

namespace dstm::client {
namespace {

using dataplane::Descriptor;
using dataplane::NftTable;

// RFC 7335: 192.0.0.0/29 is for such ends of tunnels. The first is the usual one of others.
constexpr Ipv4Address placeholder_first(0xc0000002);
constexpr Ipv4Address placeholder_last(0xc0000006);
// What any tunnel carries unfragmented: 1280 of IPv6 less its header.
constexpr std::uint32_t device_mtu = 1240;
constexpr const char* use_counter = "uses";

Result<Descriptor> make_device(const std::string& name) {
    Descriptor file(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!file.is_open()) return tl::unexpected(error_from_errno(errno, "open /dev/net/tun"));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (::ioctl(file.number(), TUNSETIFF, &request) != 0) {
        return tl::unexpected(error_from_errno(errno, "make device " + name));
    }
    return file;
}

// Not one that another translator on this host, or another client, has.
Result<Ipv4Address> choose_placeholder(dataplane::Netlink& netlink) {
    for (auto next = placeholder_first.host_order(); next <= placeholder_last.host_order();
         ++next) {
        const auto holder = netlink.interface_of_address(Ipv4Address(next));
        if (holder) continue;
        if (holder.error().code != ErrorCode::not_found) return tl::unexpected(holder.error());
        return Ipv4Address(next);
    }
    return fail(ErrorCode::exhausted, "192.0.0.2 to 192.0.0.6 are all in use on this host");
}

// A connection that began before the lease keeps the placeholder in its sockets; outside it has the
// leased address. What the watch takes must not be known to connection tracking as sent already.
// What counts as use is what read_demand() lets pass, but for data in a connection's last segment.
Result<NftTable> add_rules(const std::string& watch, const std::string& tunnel,
                           Ipv4Address placeholder) {
    std::string nowhere;
    for (const auto& prefix : nowhere_to_go) {
        nowhere += (nowhere.empty() ? "" : ", ") + prefix.to_string();
    }
    return NftTable::add(
        "ip", "dstm-" + tunnel,
        std::string(" counter ") + use_counter + " { }\n"
            " chain taken {\n  type filter hook output priority -300\n"
            "  oifname \"" + watch + "\" notrack\n }\n"
            " chain placeholder {\n  type nat hook postrouting priority 100\n"
            "  ip saddr " + placeholder.to_string() + " oifname \"" + tunnel + "\" masquerade\n }\n"
            " chain use {\n  type filter hook postrouting priority 200\n"
            "  oifname != \"" + tunnel + "\" return\n"
            "  ip daddr { " + nowhere + " } return\n"
            "  tcp flags & (fin | rst) != 0 return\n"
            "  icmp type != { echo-request, timestamp-request } return\n"
            "  counter name \"" + use_counter + "\"\n }\n");
}

}  // namespace

struct DemandWatch::State : std::enable_shared_from_this<DemandWatch::State> {
    State(asio::io_context& context, dataplane::Netlink host, const Clock& time,
          Descriptor device_file, Descriptor raw_socket, NftTable rules,
          const DemandConfig& settings, std::function<void()> handler)
        : config(settings),
          netlink(std::move(host)),
          clock(time),
          nft(std::move(rules)),
          device(context, ::fcntl(device_file.number(), F_DUPFD_CLOEXEC, 0)),
          seen(std::move(handler)),
          raw(std::move(raw_socket)),
          routes(netlink),
          queue(settings.limits) {}

    DemandConfig config;
    dataplane::Netlink netlink;
    const Clock& clock;
    NftTable nft;
    asio::posix::stream_descriptor device;
    int device_index = 0;
    std::function<void()> seen;
    Descriptor raw;
    KeptRoutes routes;
    Ipv4Address placeholder;
    std::optional<Ipv4Address> stands_in_for;
    DemandQueue queue;
    std::array<char, 65536> buffer{};

    [[nodiscard]] std::string name() const { return config.tunnel_device + "-w"; }

    Result<void> set_up() {
        // No router solicitations: they would look like a demand.
        (void)dataplane::write_sysctl("net/ipv6/conf/" + name() + "/disable_ipv6", "1");
        auto done = netlink.set_interface_mtu(device_index, device_mtu);
        if (done) done = netlink.add_address(device_index, placeholder, 32);
        if (done) done = netlink.set_interface_up(device_index, true);
        std::vector<dataplane::Route> wanted;
        for (const auto& destination : config.routes) {
            auto& route = wanted.emplace_back();
            route.destination = destination;
            route.interface_index = device_index;
            route.source = placeholder;
            route.metric = config.route_metric + 1;
        }
        return done ? routes.set(wanted) : done;
    }

    void read() {
        device.async_read_some(asio::buffer(buffer), [self = shared_from_this()](
                                                         const ErrorCodeOfAsio& error,
                                                         std::size_t size) {
            if (error || !self->seen) return;
            self->take({self->buffer.data(), size});
            if (self->device.is_open()) self->read();
        });
    }

    void take(std::string_view bytes) {
        auto packet = read_demand(bytes);
        if (!packet) return;
        // The tunnel carries no other source, so this packet needs no tunnel.
        if (packet->source != placeholder && packet->source != stands_in_for) return;
        queue.push(std::move(*packet), clock.now());
        seen();
    }

    // By the routes alone what was taken might come back here, over and over.
    [[nodiscard]] bool is_bound_to_tunnel() const {
        const auto& tunnel = config.tunnel_device;
        return ::setsockopt(raw.number(), SOL_SOCKET, SO_BINDTODEVICE, tunnel.c_str(),
                            static_cast<socklen_t>(tunnel.size())) == 0;
    }

    void release(Ipv4Address leased) {
        if (is_bound_to_tunnel()) send_what_waits(leased);
        if (!stands_in_for) return;
        (void)netlink.remove_address(device_index, *stands_in_for, 32);
        stands_in_for.reset();
    }

    void send_what_waits(Ipv4Address leased) {
        for (const auto& packet : queue.take(clock.now())) {
            // Of a lease before this one: the endpoint would have to take it for forged.
            if (packet.source != placeholder && packet.source != leased) continue;
            sockaddr_in to{};
            to.sin_family = AF_INET;
            to.sin_addr.s_addr = htonl(packet.destination.host_order());
            (void)::sendto(raw.number(), packet.bytes.data(), packet.bytes.size(), MSG_DONTWAIT,
                           reinterpret_cast<const sockaddr*>(&to), sizeof(to));
        }
    }
};

Result<DemandWatch> DemandWatch::start(asio::io_context& context, const Clock& clock,
                                       const DemandConfig& config, std::function<void()> seen) {
    const auto name = config.tunnel_device + "-w";
    auto device = make_device(name);
    if (!device) return tl::unexpected(device.error());
    auto netlink = dataplane::Netlink::open();
    if (!netlink) return tl::unexpected(netlink.error());
    const auto index = netlink->interface_index(name);
    if (!index) return tl::unexpected(index.error());
    const auto placeholder = choose_placeholder(*netlink);
    if (!placeholder) return tl::unexpected(placeholder.error());
    auto rules = add_rules(name, config.tunnel_device, *placeholder);
    if (!rules) return tl::unexpected(rules.error());
    Descriptor raw(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
    if (!raw.is_open()) return tl::unexpected(error_from_errno(errno, "raw IPv4 socket"));
    auto state = std::make_shared<State>(context, std::move(*netlink), clock, std::move(*device),
                                         std::move(raw), std::move(*rules), config,
                                         std::move(seen));
    state->device_index = *index;
    state->placeholder = *placeholder;
    if (auto done = state->set_up(); !done) return tl::unexpected(done.error());
    state->read();
    return DemandWatch(std::move(state));
}

DemandWatch::DemandWatch(std::shared_ptr<State> state) : state_(std::move(state)) {}
DemandWatch::DemandWatch(DemandWatch&&) noexcept = default;

DemandWatch::~DemandWatch() {
    if (!state_) return;
    state_->seen = nullptr;
    ErrorCodeOfAsio ignored;
    state_->device.close(ignored);
}

bool DemandWatch::has_demand() const { return !state_->queue.is_empty(state_->clock.now()); }

void DemandWatch::release(Ipv4Address leased) { state_->release(leased); }

void DemandWatch::stand_in_for(Ipv4Address leased) {
    if (state_->netlink.add_address(state_->device_index, leased, 32)) {
        state_->stands_in_for = leased;
    }
}

std::uint64_t DemandWatch::uses() const { return state_->nft.packets(use_counter); }

bool DemandWatch::is_intact() const {
    const auto index = state_->netlink.interface_index(state_->name());
    return index && *index == state_->device_index;
}

bool DemandWatch::restore_routes() {
    // Its addresses may be gone as well; without them there are no routes from them.
    (void)state_->netlink.add_address(state_->device_index, state_->placeholder, 32);
    return state_->routes.restore();
}

}  // namespace dstm::client
