// The hook's own socket: accepts, reads lines, has them worked on, writes answers and events. One
// descriptor for Kea's select(), whatever the number of connections; about a millisecond of work
// each time Kea calls, then Kea gets a turn at its DHCP sockets.
//
// Knows no command and no lease: a line goes to the `start` it was given, which returns the work.
// Kea's main thread only, but for wake().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "kea-hook/connection.hpp"
#include "kea-hook/ending_queue.hpp"
#include "kea-hook/unix_listener.hpp"

namespace dstm::kea {

struct StreamLimits {
    std::size_t connections = 64;
    // A peer that has this much to read gets no more answers until it reads.
    std::size_t output_pause = std::size_t{1} << 20;
    // A peer that has this much to read is dropped.
    std::size_t output_max = std::size_t{8} << 20;
    // For one call from Kea, and how long Kea then has for itself.
    std::chrono::microseconds work_budget{1000};
    std::chrono::microseconds rest{250};
};

class Stream {
public:
    // One request; step() does a part of it and returns true when it appended the answer to `out`.
    class Work {
    public:
        virtual ~Work() = default;
        [[nodiscard]] virtual bool step(std::string& out) = 0;
    };

    struct Handlers {
        // First line of a connection, without LF.
        std::function<std::string(ConnectionId)> greet;
        std::function<std::unique_ptr<Work>(ConnectionId, std::string line)> start;
        std::function<void(ConnectionId)> closed;
        // wake() was called.
        std::function<void()> woken;
        // What must be held while requests are worked on; let go at the end of the turn.
        std::function<std::shared_ptr<void>()> hold;
    };

    [[nodiscard]] static Result<std::unique_ptr<Stream>> open(const std::string& path, mode_t mode,
                                                              Handlers handlers,
                                                              StreamLimits limits = {});
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    // To be watched for reading; on_ready() when it is readable. Never blocks.
    [[nodiscard]] int fd() const { return outer_; }
    void on_ready();

    // From any thread.
    void wake();
    // Lines without LF. They leave with the next on_ready().
    void send(ConnectionId id, std::string_view line);

    [[nodiscard]] std::size_t connections() const { return peers_.size(); }
    // Calls back with the id of each connection.
    void for_each(const std::function<void(ConnectionId)>& visit) const;

private:
    struct Peer;
    using Clock = std::chrono::steady_clock;

    Stream(UnixListener listener, Handlers handlers, StreamLimits limits);
    [[nodiscard]] Result<void> set_up();
    [[nodiscard]] bool watch(int epoll, int fd, std::uint64_t key);
    void accept_all();
    [[nodiscard]] bool refuse_for_lack(int reason);
    void receive(Peer& peer);
    void work(Clock::time_point deadline);
    void work_once(Peer& peer);
    [[nodiscard]] bool can_work(Peer& peer) const;
    void flush(Peer& peer);
    void update_interest(Peer& peer);
    void settle();
    void take_a_rest();
    void end_rest();

    UnixListener listener_;
    Handlers handlers_;
    StreamLimits limits_;
    int outer_ = -1;  // what Kea watches: inner_ and rest_timer_
    int inner_ = -1;  // listener, wake_, connections
    int wake_ = -1;
    int rest_timer_ = -1;
    int spare_ = -1;  // given up for a moment to refuse a peer when descriptors are short
    bool resting_ = false;
    ConnectionId last_id_ = no_connection;
    ConnectionId last_served_ = no_connection;
    std::map<ConnectionId, std::unique_ptr<Peer>> peers_;
};

}  // namespace dstm::kea
