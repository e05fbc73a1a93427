// A TUN device, a table of nftables that goes with its owner, and a raw socket.
#include "client/host/demand_watch.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/dataplane/descriptor.hpp"
#include "common/dataplane/host_changes.hpp"
#include "common/dataplane/nft_table.hpp"
#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::client {
namespace {

using dataplane::Descriptor;
using dataplane::NftTable;

constexpr Ipv4Address placeholder(0xc0000002);  // 192.0.0.2, RFC 7335: for such an end of a tunnel
constexpr std::size_t ipv4_header_size = 20;
constexpr std::size_t destination_at = 16;
// What any tunnel carries unfragmented: 1280 of IPv6 less its header.
constexpr std::uint32_t device_mtu = 1240;

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

// A connection that began before the lease keeps the placeholder in its sockets; outside it has the
// leased address. What the watch takes must not be known to connection tracking as sent already.
Result<NftTable> translate(const std::string& watch, const std::string& tunnel) {
    return NftTable::add("ip", "dstm-" + tunnel,
                         " chain taken {\n  type filter hook output priority -300\n  oifname \"" +
                             watch + "\" notrack\n }\n"
                             " chain placeholder {\n  type nat hook postrouting priority 100\n"
                             "  ip saddr " + placeholder.to_string() + " oifname \"" + tunnel +
                             "\" masquerade\n }\n");
}

}  // namespace

struct DemandWatch::State : std::enable_shared_from_this<DemandWatch::State> {
    State(asio::io_context& context, Descriptor device_file, NftTable rules,
          const DemandConfig& settings, std::function<void()> handler)
        : config(settings),
          nft(std::move(rules)),
          device(context, ::fcntl(device_file.number(), F_DUPFD_CLOEXEC, 0)),
          seen(std::move(handler)),
          raw(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW)) {}

    DemandConfig config;
    NftTable nft;
    asio::posix::stream_descriptor device;
    std::function<void()> seen;
    Descriptor raw;
    std::deque<std::string> waiting;
    std::size_t waiting_bytes = 0;
    std::array<char, 65536> buffer{};

    void read() {
        device.async_read_some(asio::buffer(buffer), [self = shared_from_this()](
                                                         const ErrorCodeOfAsio& error,
                                                         std::size_t size) {
            if (error || !self->seen) return;
            self->take({self->buffer.data(), size});
            if (self->device.is_open()) self->read();
        });
    }

    // The oldest gives way: whoever sent it sends again.
    void take(std::string packet) {
        const bool is_ipv4 = packet.size() >= ipv4_header_size && packet[0] >> 4 == 4;
        if (!is_ipv4) return;
        waiting_bytes += packet.size();
        waiting.push_back(std::move(packet));
        while (waiting.size() > config.packets_max || waiting_bytes > config.bytes_max) {
            waiting_bytes -= waiting.front().size();
            waiting.pop_front();
        }
        seen();
    }

    void release() {
        waiting_bytes = 0;
        for (const auto& packet : std::exchange(waiting, {})) {
            sockaddr_in to{};
            to.sin_family = AF_INET;
            std::copy_n(packet.data() + destination_at, sizeof(to.sin_addr),
                        reinterpret_cast<char*>(&to.sin_addr));
            (void)::sendto(raw.number(), packet.data(), packet.size(), MSG_DONTWAIT,
                           reinterpret_cast<const sockaddr*>(&to), sizeof(to));
        }
    }
};

Result<DemandWatch> DemandWatch::start(asio::io_context& context, dataplane::Netlink& netlink,
                                       const DemandConfig& config, std::function<void()> seen) {
    const auto name = config.tunnel_device + "-w";
    auto device = make_device(name);
    if (!device) return tl::unexpected(device.error());
    auto rules = translate(name, config.tunnel_device);
    if (!rules) return tl::unexpected(rules.error());
    // No router solicitations: they would look like a demand.
    (void)dataplane::write_sysctl("net/ipv6/conf/" + name + "/disable_ipv6", "1");
    const auto index = netlink.interface_index(name);
    if (!index) return tl::unexpected(index.error());
    auto done = netlink.set_interface_mtu(*index, device_mtu);
    if (done) done = netlink.add_address(*index, placeholder, 32);
    if (done) done = netlink.set_interface_up(*index, true);
    for (const auto& destination : config.routes) {
        dataplane::Route route;
        route.destination = destination;
        route.interface_index = *index;
        route.source = placeholder;
        route.metric = config.route_metric + 1;
        if (done) done = netlink.add_route(route);
    }
    if (!done) return tl::unexpected(done.error());
    auto state = std::make_shared<State>(context, std::move(*device), std::move(*rules), config,
                                         std::move(seen));
    if (!state->raw.is_open()) {
        return tl::unexpected(error_from_errno(errno, "raw IPv4 socket"));
    }
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

void DemandWatch::release() { state_->release(); }

}  // namespace dstm::client
