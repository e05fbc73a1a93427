// One endpoint's link as the server sees it: waits for hello, then carries installs, removals and
// syncs to it. Does not know the other endpoints, nor what a tunnel is for.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/io/peer_link.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

struct EndpointTimes {
    // From the link to its hello, and from its `down` to the end of the link.
    Duration hello_wait = std::chrono::seconds(5);
    Duration call_wait = std::chrono::seconds(5);
    // For each part of a sync: the last one may take down a whole table.
    Duration sync_part_wait = std::chrono::seconds(30);
};

class EndpointSession : public std::enable_shared_from_this<EndpointSession> {
public:
    struct Handlers {
        // Its hello has been answered: now the endpoint can be spoken to.
        std::function<void()> on_up;
        std::function<void(const std::vector<IpAddress>&)> on_idle;
        std::function<void(const teplink::Datagram&)> on_datagram;
        // Runs once, after every call that waited has ended.
        std::function<void()> on_gone;
    };

    EndpointSession(asio::io_context& context, const Clock& clock, io::LinkPtr link,
                    std::string server_name, EndpointTimes times);

    // Once. The handlers are kept until the link is gone: they hold their owner weakly.
    void start(Handlers handlers);
    void install(const TunnelSpec& spec, Done<void> done);
    void remove(const IpAddress& inner, Generation up_to, Done<void> done);
    // One at a time: a later sync ends the one under way with conflict.
    void sync(std::vector<TunnelSpec> tunnels, Generation as_of, Done<SyncOutcome> done);
    [[nodiscard]] bool relay(const teplink::Datagram& datagram) { return peer_->relay(datagram); }
    void close(std::string why);

    // What it said in hello; empty name before.
    [[nodiscard]] const EndpointInfo& info() const { return info_; }
    [[nodiscard]] const std::string& peer_address() const { return peer_->peer_address(); }

private:
    struct RunningSync {
        std::uint64_t session = 0;
        std::vector<TunnelSpec> tunnels;
        std::size_t sent = 0;
        Generation as_of = 0;
        Done<SyncOutcome> done;
    };

    Result<teplink::Answer> on_request(const teplink::Request& request);
    void on_notification(const teplink::Notification& notification);
    void on_gone(const Error& why);
    void send_part(const std::shared_ptr<RunningSync>& sync);
    void on_part_answered(const std::shared_ptr<RunningSync>& sync, bool was_last,
                          const Result<teplink::Answer>& answer);
    void end_sync(const std::shared_ptr<RunningSync>& sync, Result<SyncOutcome> outcome);

    asio::io_context& context_;
    std::shared_ptr<io::PeerLink> peer_;
    std::string server_name_;
    EndpointTimes times_;
    io::Timer patience_;  // for its hello, and after its `down`
    Handlers handlers_;
    EndpointInfo info_;
    std::uint64_t last_sync_ = 0;
    std::shared_ptr<RunningSync> sync_;
};

}  // namespace dstm::server
