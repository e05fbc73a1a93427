// One TCP connection of a TSP client: feeds bytes and time to the tsp::ServerSession, carries out
// its actions by the authenticator, the tunnel service and the socket (RFC 5572 s4.4.1.1). It
// decides nothing about the protocol.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.hpp"
#include "common/io/asio.hpp"
#include "common/tsp/server_session.hpp"
#include "dstm-server/auth/authenticator.hpp"
#include "dstm-server/net/lingering_closer.hpp"
#include "dstm-server/net/tunnel_service.hpp"

namespace dstm::server::net {

struct OutputLimits {
    std::size_t queue_size_max = 64 * 1024;              // bytes that the peer has not taken
    Duration write_timeout = std::chrono::seconds(30);   // for one write
};

// All of them outlive the connections.
struct Surroundings {
    asio::io_context& events;
    const Clock& clock;
    Authenticator& authenticator;
    TunnelService& tunnels;
    LingeringCloser& closer;
};

class Connection : public std::enable_shared_from_this<Connection> {
public:
    using Socket = asio::ip::tcp::socket;
    using Gone = std::function<void()>;

    // `gone` is called once, when the dialogue is over, from a handler on the event thread.
    Connection(Socket socket, IpEndpoint peer, const tsp::ServerSessionConfig& config,
               OutputLimits limits, const Surroundings& around, Gone gone);

    void start();
    // Ends it now and without a word; `gone` is not called.
    void abandon();

private:
    template <class Event>
    void feed(const Event& event);
    void carry_out(tsp::Send& action);
    void carry_out(tsp::Close& action);
    void carry_out(tsp::StartAuthentication& action);
    void carry_out(tsp::ContinueAuthentication& action);
    void carry_out(tsp::RequestTunnel& action);
    void carry_out(tsp::ConfirmTunnel& action);
    void carry_out(tsp::DeclineTunnel& action);
    void carry_out(tsp::ReportViolation& action);

    void authentication_done(AuthenticationStep step);
    void read();
    void write();
    void arm_timer();
    void timer_fired();
    void abort(const std::string& why);
    void end_dialogue();
    void close_when_flushed();

    Socket socket_;
    const IpEndpoint peer_;
    const OutputLimits limits_;
    Surroundings around_;
    Gone gone_;
    tsp::ServerSession session_;
    std::uint64_t id_ = 0;
    std::unique_ptr<Conversation> conversation_;
    bool closing_ = false;           // what is queued goes out, and then the connection
    bool over_ = false;

    asio::steady_timer timer_;
    std::optional<Instant> timer_at_;
    std::optional<Instant> write_deadline_;
    std::array<char, 4096> input_{};
    std::deque<std::string> output_;  // the front one is being written
    std::size_t output_size_ = 0;
};

}  // namespace dstm::server::net
