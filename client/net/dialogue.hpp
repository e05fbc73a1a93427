// One connection's life: from the name of a server to the end of the TCP connection. The ring of
// sockets and threads around tsp::ClientSession.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/net/tcp_signalling.hpp"
#include "common/io/asio.hpp"

namespace dstm::client {

class Dialogue : public std::enable_shared_from_this<Dialogue> {
public:
    // `blocking` runs what may block (Cyrus SASL).
    Dialogue(asio::io_context& context, asio::thread_pool& blocking, const Clock& clock,
             const TcpSignallingConfig& config, Target server, EventHandler handler);

    void start();
    void send(const tsp::TunnelMessage& message);
    // Nothing is told any more; what is unsent is sent, within a bound.
    void finish();

private:
    using Tcp = asio::ip::tcp;

    void resolved(const Tcp::resolver::results_type& found);
    void connect_next();
    void connected();
    void read_more();
    void write_more();
    void arm_timer();
    void shut();

    void run(const tsp::client::Actions& actions);
    void run_one(const tsp::client::Send& action);
    void run_one(const tsp::client::Close& action);
    void run_one(const tsp::client::ChooseMechanism& action);
    void run_one(const tsp::client::ContinueAuthentication& action);
    void run_one(const tsp::client::Authenticated& action);
    void run_one(const tsp::client::CommandAnswered& action);
    void run_one(const tsp::client::Failed& action);

    // Hands an event to the session and does what it says.
    template <class SessionEvent>
    void tell_session(const SessionEvent& event);
    void fail_locally(const std::string& text);
    void failed(SessionFailed::Cause cause, std::string text);
    void tell(const Event& event);

    asio::io_context& context_;
    asio::thread_pool& blocking_;
    const Clock& clock_;
    TcpSignallingConfig config_;
    Target server_;
    EventHandler handler_;  // empty once the dialogue is over for its owner

    Tcp::resolver resolver_;
    Tcp::socket socket_;
    asio::steady_timer timer_;
    std::deque<Tcp::endpoint> addresses_;
    std::string last_trouble_;
    bool gave_up_waiting_ = false;  // for the connection to the present address

    tsp::ClientSession session_;
    std::shared_ptr<SaslClient> sasl_;  // shared with the one piece of work on the other thread
    std::deque<std::string> outbox_;
    std::array<char, 4096> inbox_{};
    bool closing_ = false;
};

}  // namespace dstm::client
