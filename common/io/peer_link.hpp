// A link and the JSON-RPC machine over it: what both ends of the endpoint link do alike. Turns
// frames into requests and notifications, and calls into completions with a deadline.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "common/io/timer.hpp"
#include "common/io/web_socket_link.hpp"
#include "common/teplink/peer.hpp"

namespace dstm::io {

// The link's options for the endpoint link (docs/wire/endpoint-link.md).
[[nodiscard]] LinkOptions endpoint_link_options();

class PeerLink : public std::enable_shared_from_this<PeerLink> {
public:
    using OnAnswer = std::function<void(Result<teplink::Answer>)>;

    struct Handlers {
        // Its result is the answer that is sent.
        std::function<Result<teplink::Answer>(teplink::Request)> on_request;
        std::function<void(teplink::Notification)> on_notification;
        // Runs once, after every call that waited has ended.
        std::function<void(Error)> on_gone;
    };

    // `clock` must outlive the link.
    PeerLink(asio::io_context& context, const Clock& clock, LinkPtr link);
    // Closes the link; calls that wait are dropped.
    ~PeerLink();
    PeerLink(const PeerLink&) = delete;
    PeerLink& operator=(const PeerLink&) = delete;

    // Once. Needs to be owned by a shared_ptr. The handlers are kept until the link is gone: they
    // hold their owner weakly.
    void start(Handlers handlers);
    // `done` runs once, never from inside call(): with the answer, the other side's refusal,
    // timed_out, or unavailable when the link goes or is too full.
    void call(const teplink::Request& request, Duration wait, OnAnswer done);
    void notify(const teplink::Notification& notification);
    // False, and nothing is sent, while so much waits to be sent that an install would have to wait
    // for this.
    [[nodiscard]] bool relay(const teplink::Datagram& datagram);
    // Calls that wait end soon, as unavailable. No handler but on_gone runs after this.
    void close(std::string why);

    [[nodiscard]] const std::string& peer_name() const { return link_->peer_name(); }
    [[nodiscard]] const std::string& peer_address() const { return link_->peer_address(); }

private:
    void run(std::vector<teplink::Action> actions);
    void run(teplink::Action action);
    void serve(teplink::RequestReceived received);
    void end_call(teplink::CallEnded ended);
    void on_closed(Error why);
    void arm();

    asio::io_context& context_;
    const Clock& clock_;
    LinkPtr link_;
    Timer timer_;
    teplink::Peer peer_;
    Handlers handlers_;
    bool is_closing_ = false;
    std::unordered_map<teplink::CallId, OnAnswer> waiting_;
};

}  // namespace dstm::io
