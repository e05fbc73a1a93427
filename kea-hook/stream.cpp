// See the header.
#include "kea-hook/stream.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kea-hook/log.hpp"

namespace dstm::kea {

namespace {

// Keys of what is no connection; connections count from 1.
constexpr std::uint64_t key_listener = ~std::uint64_t{0};
constexpr std::uint64_t key_wake = key_listener - 1;

constexpr std::size_t read_size = 64 * 1024;
// A peer whose requests wait in such numbers is not read from.
constexpr std::size_t input_pause = line_size_max;

}  // namespace

struct Stream::Peer {
    Peer(ConnectionId number, int descriptor) : id(number), fd(descriptor) {}
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;
    ~Peer() { ::close(fd); }

    ConnectionId id;
    int fd;
    LineBuffer in;
    OutputBuffer out;
    std::unique_ptr<Work> work;
    std::uint32_t interest = EPOLLIN;
    bool ended = false;     // the peer will send nothing more
    std::string close_why;  // not empty: to be closed
    bool dropped = false;   // a limit was broken
};

Result<std::unique_ptr<Stream>> Stream::open(const std::string& path, mode_t mode,
                                             Handlers handlers, StreamLimits limits) {
    auto listener = UnixListener::open(path, mode);
    if (!listener) return tl::unexpected(listener.error());
    std::unique_ptr<Stream> stream(new Stream(*std::move(listener), std::move(handlers), limits));
    if (auto ready = stream->set_up(); !ready) return tl::unexpected(ready.error());
    return stream;
}

Stream::Stream(UnixListener listener, Handlers handlers, StreamLimits limits)
    : listener_(std::move(listener)), handlers_(std::move(handlers)), limits_(limits) {}

Stream::~Stream() {
    peers_.clear();
    for (const int fd : {outer_, inner_, wake_, rest_timer_, spare_}) {
        if (fd >= 0) ::close(fd);
    }
}

Result<void> Stream::set_up() {
    outer_ = ::epoll_create1(EPOLL_CLOEXEC);
    inner_ = ::epoll_create1(EPOLL_CLOEXEC);
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rest_timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    spare_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const bool ready = outer_ >= 0 && inner_ >= 0 && wake_ >= 0 && rest_timer_ >= 0 &&
                       watch(inner_, listener_.fd(), key_listener) &&
                       watch(inner_, wake_, key_wake) && watch(outer_, inner_, 0) &&
                       watch(outer_, rest_timer_, 0);
    if (!ready) return tl::unexpected(error_from_errno(errno, "prepare the socket"));
    return {};
}

bool Stream::watch(int epoll, int fd, std::uint64_t key) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = key;
    return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Stream::on_ready() {
    const auto deadline = Clock::now() + limits_.work_budget;
    end_rest();
    std::array<epoll_event, 128> events;
    const int count = ::epoll_wait(inner_, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        if (event.data.u64 == key_listener) {
            accept_all();
        } else if (event.data.u64 == key_wake) {
            std::uint64_t ignored = 0;
            [[maybe_unused]] const auto drained = ::read(wake_, &ignored, sizeof(ignored));
            handlers_.woken();
        } else if (const auto found = peers_.find(event.data.u64); found != peers_.end()) {
            Peer& peer = *found->second;
            if ((event.events & EPOLLOUT) != 0) flush(peer);
            if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(peer);
        }
    }
    work(deadline);
    settle();
}

void Stream::accept_all() {
    while (true) {
        const int fd = ::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno == EAGAIN || !refuse_for_lack(errno)) return;
            continue;
        }
        const ConnectionId id = ++last_id_;
        auto peer = std::make_unique<Peer>(id, fd);
        if (peers_.size() >= limits_.connections) {
            LOG_WARN(hook_logger, DSTM_CONNECTION_REFUSED).arg(peers_.size());
            continue;
        }
        if (!watch(inner_, fd, id)) continue;
        peers_.emplace(id, std::move(peer));
        LOG_INFO(hook_logger, DSTM_CONNECTION_OPENED).arg(id).arg(peers_.size());
        send(id, handlers_.greet(id));
    }
}

// The waiting peer must go, or the listener stays readable and Kea spins. False: it could not.
bool Stream::refuse_for_lack(int reason) {
    LOG_ERROR(hook_logger, DSTM_ACCEPT_FAILED).arg(std::strerror(reason));
    if (reason != EMFILE || spare_ < 0) {
        take_a_rest();
        return false;
    }
    ::close(spare_);
    const int refused = ::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
    if (refused >= 0) ::close(refused);
    spare_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return true;
}

void Stream::receive(Peer& peer) {
    static thread_local std::array<char, read_size> chunk;
    if (!peer.close_why.empty() || peer.ended) return;
    const ssize_t count = ::recv(peer.fd, chunk.data(), chunk.size(), 0);
    if (count > 0) {
        peer.in.append(std::string_view(chunk.data(), static_cast<std::size_t>(count)));
    } else if (count == 0) {
        peer.ended = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        peer.close_why = std::strerror(errno);
    }
}

bool Stream::can_work(Peer& peer) const {
    if (!peer.close_why.empty() || peer.out.size() >= limits_.output_pause) return false;
    return peer.work || peer.in.has_line() || peer.in.too_long();
}

void Stream::work_once(Peer& peer) {
    if (!peer.work) {
        if (peer.in.too_long()) {
            peer.close_why = "a line is longer than " + std::to_string(line_size_max) + " bytes";
            peer.dropped = true;
            return;
        }
        peer.work = handlers_.start(peer.id, *peer.in.take());
    }
    std::string answer;
    if (!peer.work->step(answer)) return;
    peer.work.reset();
    answer.push_back('\n');
    peer.out.append(answer);
}

// One step for each connection in turn, beginning after the one that was served last.
void Stream::work(Clock::time_point deadline) {
    std::shared_ptr<void> held;
    bool busy = true;
    while (busy) {
        busy = false;
        std::vector<ConnectionId> turn;
        for (auto i = peers_.upper_bound(last_served_); i != peers_.end(); ++i) {
            turn.push_back(i->first);
        }
        for (auto i = peers_.begin(); i != peers_.upper_bound(last_served_); ++i) {
            turn.push_back(i->first);
        }
        for (const ConnectionId id : turn) {
            Peer& peer = *peers_.at(id);
            if (!can_work(peer)) continue;
            if (!held) held = handlers_.hold();
            work_once(peer);
            busy = true;
            last_served_ = id;
            if (Clock::now() >= deadline) {
                take_a_rest();
                return;
            }
        }
    }
}

void Stream::flush(Peer& peer) {
    while (peer.out.size() > 0 && peer.close_why.empty()) {
        const auto waiting = peer.out.waiting();
        // kea-dhcp4 does not ignore SIGPIPE: a write to a dead peer must not raise it.
        const ssize_t count = ::send(peer.fd, waiting.data(), waiting.size(), MSG_NOSIGNAL);
        if (count >= 0) {
            peer.out.sent(static_cast<std::size_t>(count));
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            peer.close_why = std::strerror(errno);
        }
    }
}

void Stream::update_interest(Peer& peer) {
    const bool reads =
        !peer.ended && peer.in.size() < input_pause && peer.out.size() < limits_.output_pause;
    const std::uint32_t wanted = (reads ? std::uint32_t{EPOLLIN} : 0U) |
                                 (peer.out.size() > 0 ? std::uint32_t{EPOLLOUT} : 0U);
    if (wanted == peer.interest) return;
    peer.interest = wanted;
    epoll_event event{};
    event.events = wanted;
    event.data.u64 = peer.id;
    ::epoll_ctl(inner_, EPOLL_CTL_MOD, peer.fd, &event);
}

// What was produced leaves; connections that are at their end go.
void Stream::settle() {
    bool unblocked = false;
    for (auto next = peers_.begin(); next != peers_.end();) {
        const auto here = next++;
        Peer& peer = *here->second;
        const bool was_blocked = peer.out.size() >= limits_.output_pause;
        flush(peer);
        if (peer.out.size() > limits_.output_max) {
            peer.close_why = "it does not read";
            peer.dropped = true;
        }
        const bool idle = !peer.work && !peer.in.has_line() && peer.out.size() == 0;
        if (peer.close_why.empty() && peer.ended && idle) peer.close_why = "closed by the peer";
        if (peer.close_why.empty()) {
            unblocked = unblocked || (was_blocked && can_work(peer));
            update_interest(peer);
            continue;
        }
        const auto& message = peer.dropped ? DSTM_CONNECTION_DROPPED : DSTM_CONNECTION_CLOSED;
        if (peer.dropped) {
            LOG_WARN(hook_logger, message).arg(peer.id).arg(peer.close_why);
        } else {
            LOG_INFO(hook_logger, message).arg(peer.id).arg(peer.close_why);
        }
        const ConnectionId id = peer.id;
        peers_.erase(here);
        handlers_.closed(id);
    }
    // Its requests are here already: no descriptor would report them.
    if (unblocked && !resting_) wake();
}

// Kea serves outside descriptors before its DHCP sockets: with work left, ours are silent for a
// while.
void Stream::take_a_rest() {
    itimerspec when{};
    when.it_value.tv_nsec =
        std::chrono::duration_cast<std::chrono::nanoseconds>(limits_.rest).count();
    epoll_event silent{};
    if (::timerfd_settime(rest_timer_, 0, &when, nullptr) != 0) return;
    ::epoll_ctl(outer_, EPOLL_CTL_MOD, inner_, &silent);
    resting_ = true;
}

void Stream::end_rest() {
    if (!resting_) return;
    std::uint64_t ignored = 0;
    [[maybe_unused]] const auto drained = ::read(rest_timer_, &ignored, sizeof(ignored));
    epoll_event event{};
    event.events = EPOLLIN;
    ::epoll_ctl(outer_, EPOLL_CTL_MOD, inner_, &event);
    resting_ = false;
}

void Stream::wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof(one));
}

void Stream::send(ConnectionId id, std::string_view line) {
    const auto found = peers_.find(id);
    if (found == peers_.end()) return;
    // Past the limit nothing is added: settle() drops the connection.
    if (found->second->out.size() > limits_.output_max) return;
    found->second->out.append(line);
    found->second->out.append("\n");
    wake();
}

void Stream::for_each(const std::function<void(ConnectionId)>& visit) const {
    for (const auto& [id, peer] : peers_) visit(id);
}

}  // namespace dstm::kea
