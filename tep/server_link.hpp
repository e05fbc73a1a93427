// The endpoint's side of one link: dials a server, says hello, does what the server asks, and dials
// again when the link is lost. What is installed does not depend on the link.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/io/peer_link.hpp"
#include "tep/back_off.hpp"
#include "tep/config.hpp"
#include "tep/relay.hpp"
#include "tep/tunnel_table.hpp"

namespace dstm::tep {

class ServerLink : public std::enable_shared_from_this<ServerLink> {
public:
    // What all links of the daemon share; must outlive them.
    struct Services {
        asio::io_context& context;
        const Clock& clock;
        TunnelTable& table;
        dataplane::DataPlane& plane;
        Relay& relay;
        std::function<teplink::Hello()> hello;
        io::LinkOptions options;
    };

    ServerLink(Services& services, ServerAddress address);

    void start();
    // Says `down` and closes; `done` runs once the link is gone (at once when there is none).
    void stop(std::function<void()> done);
    // Nothing happens when the link is not up.
    void notify(const teplink::Notification& notification);
    // False: the link is not up, or has more than enough to do.
    [[nodiscard]] bool relay(const teplink::Datagram& datagram);

    [[nodiscard]] bool is_up() const { return !server_.empty(); }
    // The name the server gave itself; empty when the link is not up.
    [[nodiscard]] const std::string& server() const { return server_; }
    [[nodiscard]] const ServerAddress& address() const { return address_; }

private:
    void dial();
    void dial_later();
    void on_connected(Result<io::LinkPtr> link);
    void on_hello_answered(const Result<teplink::Answer>& answer);
    void on_gone(const Error& why);
    void log_failure(std::string_view id, const Error& why);
    void on_notification(const teplink::Notification& notification);
    Result<teplink::Answer> serve(const teplink::Request& request);
    Result<teplink::Answer> install(const teplink::Install& request);
    Result<teplink::Answer> remove(const teplink::Remove& request);

    Services& services_;
    ServerAddress address_;
    BackOff back_off_;
    io::Timer retry_;
    std::shared_ptr<io::PeerLink> peer_;
    std::string server_;
    Instant up_since_;
    SyncProgress sync_;
    std::string last_failure_;  // logged once, not at every try
    std::function<void()> stopped_;
    bool is_stopping_ = false;
};

}  // namespace dstm::tep
