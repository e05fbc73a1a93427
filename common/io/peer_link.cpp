// Runs the peer's actions on a link, and the link's events through the peer.
#include "common/io/peer_link.hpp"

#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::io {
namespace {

// Of the link's queue, for datagrams: some tens of milliseconds on a slow link.
constexpr std::size_t relay_queue_max = std::size_t{128} << 10;

}  // namespace

LinkOptions endpoint_link_options() {
    LinkOptions options;
    options.target = teplink::link_target;
    options.subprotocol = teplink::link_subprotocol;
    options.frame_size_max = teplink::frame_size_max;
    return options;
}

PeerLink::PeerLink(asio::io_context& context, const Clock& clock, LinkPtr link)
    : context_(context), clock_(clock), link_(std::move(link)), timer_(context) {}

PeerLink::~PeerLink() { link_->close("not wanted any more"); }

void PeerLink::start(Handlers handlers) {
    handlers_ = std::move(handlers);
    const auto weak = weak_from_this();
    link_->start(
        [weak](const std::string& frame) {
            if (const auto self = weak.lock()) self->run(self->peer_.receive(frame));
        },
        [weak](Error why) {
            if (const auto self = weak.lock()) self->on_closed(std::move(why));
        });
}

void PeerLink::call(const teplink::Request& request, Duration wait, OnAnswer done) {
    auto call = peer_.call(request, clock_.now() + wait);
    if (!call) {
        asio::post(context_, [done = std::move(done), why = call.error().context] {
            done(fail(ErrorCode::unavailable, why));
        });
        return;
    }
    waiting_.emplace(call->id, std::move(done));
    if (auto sent = link_->send(std::move(call->frame.text)); !sent) {
        // Ends like any call whose link has gone; a link this full is of no use to anyone.
        link_->close(sent.error().context);
    }
    arm();
}

void PeerLink::notify(const teplink::Notification& notification) {
    run(teplink::Peer::notify(notification));
}

bool PeerLink::relay(const teplink::Datagram& datagram) {
    if (link_->queued() >= relay_queue_max) return false;
    notify(datagram);
    return true;
}

void PeerLink::close(std::string why) {
    if (std::exchange(is_closing_, true)) return;
    asio::post(context_, [weak = weak_from_this(), why] {
        if (const auto self = weak.lock()) self->run(self->peer_.gone(why));
    });
    link_->close(std::move(why));
}

void PeerLink::run(std::vector<teplink::Action> actions) {
    const auto keep = shared_from_this();
    for (auto& action : actions) run(std::move(action));
    arm();
}

void PeerLink::run(teplink::Action action) {
    if (auto* frame = std::get_if<teplink::SendFrame>(&action)) {
        if (auto sent = link_->send(std::move(frame->text)); !sent) {
            link_->close(sent.error().context);
        }
    } else if (auto* request = std::get_if<teplink::RequestReceived>(&action)) {
        serve(std::move(*request));
    } else if (auto* note = std::get_if<teplink::NotificationReceived>(&action)) {
        if (!is_closing_) handlers_.on_notification(std::move(note->notification));
    } else if (auto* ended = std::get_if<teplink::CallEnded>(&action)) {
        end_call(std::move(*ended));
    } else if (auto* rejected = std::get_if<teplink::FrameRejected>(&action)) {
        log_debug("LINK_FRAME_REJECTED", "peer={} why={}", peer_address(),
                  log::quoted(rejected->why));
    }
}

void PeerLink::serve(teplink::RequestReceived received) {
    if (is_closing_) return;
    const auto answer = handlers_.on_request(std::move(received.request));
    run(answer ? teplink::Peer::answer(received.id, *answer)
               : teplink::Peer::refuse(received.id, answer.error()));
}

void PeerLink::end_call(teplink::CallEnded ended) {
    auto waiting = waiting_.extract(ended.id);
    if (!waiting.empty()) waiting.mapped()(std::move(ended.outcome));
}

void PeerLink::on_closed(Error why) {
    const auto keep = shared_from_this();
    timer_.cancel();
    run(peer_.gone(why.context));
    if (const auto on_gone = std::exchange(handlers_, {}).on_gone) on_gone(std::move(why));
}

void PeerLink::arm() {
    const auto deadline = peer_.next_deadline();
    if (!deadline) return timer_.cancel();
    timer_.after(*deadline - clock_.now(), [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->run(self->peer_.tick(self->clock_.now()));
    });
}

}  // namespace dstm::io
