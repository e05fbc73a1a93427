// One connection of a TSP client, by TCP or TLS: feeds bytes and time to the tsp::ServerSession,
// carries out its actions by the stream and, through the session's owner, by the authenticator and
// the tunnel service (RFC 5572 s4.4.1.1). It decides nothing about the protocol.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.hpp"
#include "common/io/byte_stream.hpp"
#include "common/tsp/server_session.hpp"
#include "dstm-server/auth/authenticator.hpp"
#include "dstm-server/net/lingering_closer.hpp"
#include "dstm-server/net/session_owner.hpp"
#include "dstm-server/net/tunnel_service.hpp"

namespace dstm::server::net {

struct OutputLimits {
    std::size_t queue_size_max = 64 * 1024;              // bytes that the peer has not taken
    Duration write_timeout = std::chrono::seconds(30);   // for one write
};

// All of it outlives the connections.
struct Surroundings {
    SessionEdges edges;
    LingeringCloser& closer;
};

class Connection : public std::enable_shared_from_this<Connection> {
public:
    using Gone = std::function<void()>;

    // `gone` is called once, when the dialogue is over, from a handler on the event thread.
    Connection(std::unique_ptr<io::ByteStream> stream, IpEndpoint peer,
               const tsp::ServerSessionConfig& config, OutputLimits limits,
               const Surroundings& around, Gone gone);

    void start();
    // Ends it now and without a word; `gone` is not called.
    void abandon();

private:
    template <class Event>
    void feed(const Event& event);
    void carry_out(tsp::Send& action);
    void carry_out(tsp::Close& action);
    template <class OwnerAction>
    void carry_out(OwnerAction& action) {
        owner_->carry_out(action);
    }

    void begin_session();
    void read();
    void write();
    void write_now();
    void arm_timer();
    void timer_fired();
    void abort(const std::string& why);
    void end_dialogue();
    void close_when_flushed();
    void hand_over();

    const std::unique_ptr<io::ByteStream> stream_;
    const IpEndpoint peer_;
    tsp::ServerSessionConfig config_;
    const OutputLimits limits_;
    Surroundings around_;
    Gone gone_;
    std::optional<tsp::ServerSession> session_;  // when the stream has begun
    std::unique_ptr<SessionOwner> owner_;
    bool closing_ = false;  // what is queued goes out, and then the connection
    bool ending_ = false;   // it has gone out
    bool over_ = false;

    asio::steady_timer timer_;
    asio::steady_timer pause_;  // before a Send that must be apart
    std::optional<Instant> timer_at_;
    std::optional<Instant> stream_deadline_;  // of what the stream does for us
    std::array<char, 4096> input_{};
    std::deque<tsp::Send> output_;  // the front one is being written
    std::size_t output_size_ = 0;
};

}  // namespace dstm::server::net
