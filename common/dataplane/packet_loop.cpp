// The thread that carries: device to socket, socket to device.
#include "common/dataplane/packet_loop.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/dataplane/transport.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

constexpr Duration housekeeping_period = std::chrono::seconds(10);
// As the kernel limits its own (net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst).
constexpr std::uint32_t answers_per_second = 1000;
constexpr std::uint32_t answers_burst = 50;

// What epoll says has happened to.
enum Source : std::uint32_t { wake_up, device, news, outer_network };  // the last: and a TunnelType

// The first half byte of a datagram of signalling (RFC 5572 s4.4.1.2); of data it is the version.
constexpr std::uint8_t nibble_of_signalling = 0xf;

// Whoever receives on this host is woken by a packet, and would take the CPU from those behind it.
// Little enough that signalling gets its part in a flood (a quarter, on one CPU).
constexpr int niceness = -5;

// Of this thread. Without the right to it the thread is one among others.
void go_before_others() {
    if (::getpriority(PRIO_PROCESS, 0) <= niceness) return;
    static_cast<void>(::setpriority(PRIO_PROCESS, 0, niceness));
}

bool watch(const Descriptor& epoll, int descriptor, std::uint32_t source) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = source;
    return ::epoll_ctl(epoll.number(), EPOLL_CTL_ADD, descriptor, &event) == 0;
}

void unwatch(const Descriptor& epoll, int descriptor) {
    ::epoll_ctl(epoll.number(), EPOLL_CTL_DEL, descriptor, nullptr);
}

// Whole packets to the destination that they name.
bool send_ipv4(const Descriptor& raw, ConstBytes packet) {
    sockaddr_in destination{};
    destination.sin_family = AF_INET;
    destination.sin_addr.s_addr = htonl(load_ipv4(packet, 16).host_order());
    return ::sendto(raw.number(), packet.data(), packet.size(), MSG_DONTWAIT,
                    reinterpret_cast<const sockaddr*>(&destination), sizeof destination) >= 0;
}

bool send_ipv6(const Descriptor& raw, ConstBytes packet) {
    sockaddr_in6 destination{};
    destination.sin6_family = AF_INET6;
    const auto bytes = load_ipv6(packet, 24).bytes();
    std::copy(bytes.begin(), bytes.end(), destination.sin6_addr.s6_addr);
    return ::sendto(raw.number(), packet.data(), packet.size(), MSG_DONTWAIT,
                    reinterpret_cast<const sockaddr*>(&destination), sizeof destination) >= 0;
}

}  // namespace

PacketLoop::PacketLoop(Shared& shared, TunDevice& device, const Clock& clock,
                       std::function<void()> housekeeping)
    : shared_(shared),
      device_(device),
      clock_(clock),
      housekeeping_(std::move(housekeeping)),
      answer_limit_(answers_per_second, answers_burst) {}

PacketLoop::~PacketLoop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    wake();
    thread_.join();
}

Result<void> PacketLoop::start() {
    epoll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
    wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    icmpv4_ = Descriptor(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
    icmpv6_ = Descriptor(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
    if (!epoll_.is_open() || !wake_.is_open() || !icmpv4_.is_open() || !icmpv6_.is_open() ||
        !watch(epoll_, wake_.number(), Source::wake_up) ||
        !watch(epoll_, device_.descriptor(), Source::device)) {
        return tl::unexpected(error_from_errno(errno, "prepare the packet loop"));
    }
    // Signals are for the threads of the program, not for this one.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return {};
}

void PacketLoop::wake() {
    const std::uint64_t one = 1;
    // It fails only when the counter is full, and then the thread wakes anyway.
    static_cast<void>(::write(wake_.number(), &one, sizeof one) == sizeof one);
}

Result<void> PacketLoop::wake_by(int descriptor) {
    if (watch(epoll_, descriptor, Source::news)) return {};
    return tl::unexpected(error_from_errno(errno, "watch for news"));
}

Result<void> PacketLoop::set_outer(OuterSockets outer) {
    for (std::size_t i = 0; i < outer.size(); ++i) {
        if (!outer[i] || outer[i] == shared_.outer[i]) continue;
        const auto source = static_cast<std::uint32_t>(Source::outer_network + i);
        if (watch(epoll_, outer[i]->descriptor(), source)) continue;
        const auto error = error_from_errno(errno, "watch the outer socket");
        for (std::size_t j = 0; j < i; ++j) {
            if (outer[j] && outer[j] != shared_.outer[j]) unwatch(epoll_, outer[j]->descriptor());
        }
        return tl::unexpected(error);
    }
    for (std::size_t i = 0; i < outer.size(); ++i) {
        auto& before = shared_.outer[i];
        if (before && before != outer[i]) unwatch(epoll_, before->descriptor());
        before = std::move(outer[i]);
    }
    return {};
}

void PacketLoop::run() {
    go_before_others();
    auto kept_house_at = clock_.now();
    while (!stopping_) {
        std::array<epoll_event, 8> events;
        const int count = ::epoll_wait(epoll_.number(), events.data(), events.size(),
                                       static_cast<int>(housekeeping_period.count()));
        for (int i = 0; i < count; ++i) {
            switch (events[i].data.u32) {
                case Source::wake_up: {
                    std::uint64_t times = 0;
                    housekeeping_due_ = ::read(wake_.number(), &times, sizeof times) > 0;
                    break;
                }
                case Source::device: carry_down(); break;
                case Source::news: housekeeping_due_ = true; break;
                default: {
                    const auto type =
                        static_cast<TunnelType>(events[i].data.u32 - Source::outer_network);
                    if ((events[i].events & EPOLLERR) != 0) relay_errors(type);
                    carry_up(type);
                }
            }
        }
        const auto now = clock_.now();
        if (!housekeeping_due_ && now - kept_house_at < housekeeping_period) continue;
        kept_house_at = now;
        housekeeping_due_ = false;
        housekeeping_();
    }
}

void PacketLoop::carry_up(TunnelType type) {
    const auto socket = outer(type);
    if (!socket) return;
    socket->receive(buffer_, incoming_);
    if (type == TunnelType::v6udpv4) take_out_signalling();
    const auto time = now();
    {
        const std::lock_guard lock(shared_.mutex);
        for (auto& packet : incoming_) {
            if (packet.segment_size == 0) complete_checksum(packet.payload);
            const auto verdict = shared_.carrier.up({type, packet.source}, packet.traffic_class,
                                                    packet.payload, time, packet.segment_size);
            packet.payload = packet.payload.first(verdict.size);
            if (verdict.path_mtu_changed && shared_.path_mtu_lowered) {
                shared_.path_mtu_lowered(packet.source.address, verdict.path_mtu);
            }
        }
    }
    std::size_t refused = 0;
    for (const auto& packet : incoming_) {
        if (!packet.payload.empty() && !device_.write(packet.payload, packet.segment_size))
            ++refused;
    }
    if (refused == 0) return;
    const std::lock_guard lock(shared_.mutex);
    for (; refused > 0; --refused) shared_.carrier.drops().count(Drop::device_write_failed);
}

void PacketLoop::take_out_signalling() {
    if (!shared_.tsp_datagram) return;
    std::erase_if(incoming_, [this](const IncomingPacket& packet) {
        const auto& bytes = packet.payload;
        const bool is_tsp = !bytes.empty() && load8(bytes, 0) >> 4 == nibble_of_signalling;
        if (is_tsp) shared_.tsp_datagram(packet.source, bytes);
        return is_tsp;
    });
}

void PacketLoop::carry_down() {
    segments_.clear();
    while (segments_.count() < batch_size_max) {
        const auto packet = buffer_.slot(0);
        const auto read = device_.read(packet);
        if (!read) {
            unwatch(epoll_, device_.descriptor());
            log_error("TUN_DEVICE_GONE", "the device was deleted; nothing is carried any more");
            if (shared_.device_gone) shared_.device_gone();
        }
        if (!read || read->size == 0) break;
        segments_.add(packet.first(read->size), read->segment_size);
    }
    const auto time = now();
    for (auto& packets : outgoing_) packets.clear();
    OuterSockets sockets;
    {
        const std::lock_guard lock(shared_.mutex);
        sockets = shared_.outer;
        for (const auto packet : segments_.packets()) {
            auto verdict = shared_.carrier.down(packet, time);
            if (!verdict.answer.empty()) answers_.push_back(std::move(verdict.answer));
            if (verdict.drop) continue;
            outgoing_[index_of(verdict.peer.type)].push_back(
                {verdict.peer.endpoint, verdict.traffic_class, packet.first(verdict.size),
                 verdict.path_mtu});
        }
    }
    DropTable drops;
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        if (sockets[i] && !outgoing_[i].empty()) sockets[i]->send(outgoing_[i], drops);
    }
    {
        const std::lock_guard lock(shared_.mutex);
        shared_.carrier.drops().add(drops);
    }
    send_answers();
}

void PacketLoop::relay_errors(TunnelType type) {
    const auto socket = outer(type);
    if (!socket) return;
    for (std::size_t i = 0; i < batch_size_max; ++i) {
        const auto error = socket->next_error(buffer_.slot(0));
        if (!error) break;
        std::unique_lock lock(shared_.mutex);
        auto verdict = shared_.carrier.relay(*error, now());
        lock.unlock();
        if (verdict.path_mtu_changed && shared_.path_mtu_lowered) {
            shared_.path_mtu_lowered(error->peer.endpoint.address, verdict.path_mtu);
        }
        if (!verdict.answer.empty()) answers_.push_back(std::move(verdict.answer));
        housekeeping_due_ = housekeeping_due_ || verdict.path_mtu_changed;
    }
    send_answers();
}

void PacketLoop::send_answers() {
    DropTable drops;
    for (const auto& answer : answers_) {
        if (!answer_limit_.allows_one(clock_.now())) {
            drops.count(Drop::icmp_limited);
            continue;
        }
        const auto sent = version_of(answer) == Version::ipv4 ? send_ipv4(icmpv4_, answer)
                                                              : send_ipv6(icmpv6_, answer);
        if (!sent) drops.count(Drop::send_failed);
    }
    if (answers_.empty()) return;
    answers_.clear();
    const std::lock_guard lock(shared_.mutex);
    shared_.carrier.drops().add(drops);
}

std::shared_ptr<OuterSocket> PacketLoop::outer(TunnelType type) {
    const std::lock_guard lock(shared_.mutex);
    return shared_.outer[index_of(type)];
}

Now PacketLoop::now() const { return {clock_.now(), clock_.wall()}; }

}  // namespace dstm::dataplane
