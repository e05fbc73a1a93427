// One dialogue's life, whatever carries it: it begins with an address of the server, the session's
// wishes are carried out, SASL runs on another thread, and what comes of it is told. The transports
// derive from it (tcp_dialogue.hpp, udp_dialogue.hpp).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "client/net/errands.hpp"
#include "client/net/server_addresses.hpp"
#include "client/net/signalling.hpp"
#include "common/io/asio.hpp"
#include "common/io/timer.hpp"

namespace dstm::client {

class UdpPort;

// Cyrus SASL asks the DNS for this host's own name when an exchange is made. One that is made in
// advance keeps no dialogue waiting.
struct PreparedSasl {
    std::string server;
    std::shared_ptr<SaslClient> client;  // of the next exchange with it; nullptr: none yet
};

class Dialogue : public std::enable_shared_from_this<Dialogue> {
public:
    // What is around a dialogue. `blocking` runs what may block (Cyrus SASL).
    struct Surroundings {
        asio::io_context& context;
        Errands& blocking;
        PreparedSasl& prepared;
        const Clock& clock;
    };

    // Takes addresses from the list, which the dialogues before and after it share.
    Dialogue(const Surroundings& around, const SignallingConfig& config,
             std::shared_ptr<ServerAddresses> addresses, EventHandler handler);
    virtual ~Dialogue() = default;
    Dialogue(const Dialogue&) = delete;
    Dialogue& operator=(const Dialogue&) = delete;

    void start();
    void send(const tsp::TunnelMessage& message);
    // Nothing is told any more; what is unsent is sent, within a bound.
    void finish();
    // The socket below it, if that is one of UDP.
    [[nodiscard]] virtual std::shared_ptr<UdpPort> udp_port() const { return nullptr; }

protected:
    using SessionEvent =
        std::variant<tsp::client::Connected, tsp::client::BytesReceived,
                     tsp::client::MechanismChosen, tsp::client::AuthenticationStepDone,
                     tsp::client::CommandChosen, tsp::client::PeerClosed, tsp::client::TimePassed>;
    // Both ends of the connection.
    struct Ends {
        asio::ip::address local;
        std::uint16_t local_port = 0;
        asio::ip::address peer;
        std::uint16_t peer_port = 0;
    };

    // --- the transport's part --------------------------------------------------------------------

    // The session, behind whatever the transport puts around it.
    [[nodiscard]] virtual tsp::client::Actions feed(const SessionEvent& event, Instant now) = 0;
    [[nodiscard]] virtual std::optional<Instant> deadline() const = 0;
    // At the beginning, and when the look-up has ended: takes one of addresses(), unless it is
    // busy with one; with none left, no_connection().
    virtual void try_addresses() = 0;
    virtual void transmit(std::string bytes) = 0;
    [[nodiscard]] virtual std::optional<Ends> ends() const = 0;
    // Something is still to be said when the dialogue is finished: flush() says it within
    // flush_timeout, and then calls shut().
    [[nodiscard]] virtual bool is_flushed() const = 0;
    virtual void flush() = 0;
    virtual void close_socket() = 0;
    // The session failed before the server said anything: what its owner hears of it.
    [[nodiscard]] virtual std::optional<std::string> silence() const { return std::nullopt; }

    // --- what the transports use -----------------------------------------------------------------

    // Hands an event to the session and does what it says.
    void tell_session(const SessionEvent& event);
    void arm_timer();
    void no_connection();
    // `is_here_alone`: another address of the server may do better.
    void failed(SessionFailed::Cause cause, std::string text, bool is_here_alone);
    // After finish(), when the last of it was sent.
    void shut();

    [[nodiscard]] const Surroundings& around() const { return around_; }
    [[nodiscard]] const SignallingConfig& config() const { return config_; }
    [[nodiscard]] bool is_closing() const { return closing_; }
    [[nodiscard]] ServerAddresses& addresses() { return *addresses_; }
    [[nodiscard]] const ServerAddresses& addresses() const { return *addresses_; }
    [[nodiscard]] std::uint16_t port() const { return addresses_->server().port; }
    [[nodiscard]] const std::string& server_name() const { return addresses_->server().host; }
    io::Timer timer_;

private:
    void run(const tsp::client::Actions& actions);
    void run_one(const tsp::client::Send& action);
    void run_one(const tsp::client::Close& action);
    void run_one(const tsp::client::ChooseMechanism& action);
    void run_one(const tsp::client::ContinueAuthentication& action);
    void run_one(const tsp::client::Authenticated& action);
    void run_one(const tsp::client::CommandAnswered& action);
    void run_one(const tsp::client::Failed& action);
    void fail_locally(const std::string& text);
    void fail_for_now(const std::string& text);
    void fail_with(SessionFailed event, bool is_here_alone);
    void tell(const Event& event);

    Surroundings around_;
    SignallingConfig config_;
    std::shared_ptr<ServerAddresses> addresses_;
    EventHandler handler_;  // empty once the dialogue is over for its owner
    std::shared_ptr<SaslClient> sasl_;  // shared with the one piece of work on the other thread
    bool closing_ = false;
};

}  // namespace dstm::client
