// Hello first, then calls; a sync goes part by part, each after the answer to the one before, so
// that a million tunnels never wait in a queue.
#include "dstm-server/tep/endpoint_session.hpp"

#include <algorithm>

#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::server {
namespace {

EndpointInfo info_of(const teplink::Hello& hello) {
    EndpointInfo info;
    info.name = hello.name;
    info.group = hello.group;
    info.types = hello.types;
    info.outer_ipv6 = hello.outer_ipv6;
    info.outer_ipv4 = hello.outer_ipv4;
    info.inner_ipv4 = hello.inner_ipv4;
    info.pools = hello.pools;
    info.inner_ipv6 = hello.inner_ipv6;
    info.pools_ipv6 = hello.pools_ipv6;
    info.data_plane = hello.data_plane;
    info.tunnels = hello.tunnels;
    return info;
}

// The outcome of a batch of one.
Result<void> single(const Result<teplink::Answer>& answer) {
    if (!answer) return tl::unexpected<Error>(answer.error());
    const auto& results = std::get<teplink::BatchAnswer>(*answer).results;
    if (results.size() != 1) {
        return fail(ErrorCode::internal, "the endpoint answered for another number of tunnels");
    }
    return results.front();
}

}  // namespace

EndpointSession::EndpointSession(asio::io_context& context, const Clock& clock, io::LinkPtr link,
                                 std::string server_name, EndpointTimes times)
    : context_(context),
      peer_(std::make_shared<io::PeerLink>(context, clock, std::move(link))),
      server_name_(std::move(server_name)),
      times_(times),
      patience_(context) {}

void EndpointSession::start(Handlers handlers) {
    handlers_ = std::move(handlers);
    patience_.after(times_.hello_wait, [this] { close("no hello"); });
    const auto weak = weak_from_this();
    peer_->start({
        .on_request = [weak](const teplink::Request& request) -> Result<teplink::Answer> {
            if (const auto self = weak.lock()) return self->on_request(request);
            return fail(ErrorCode::unavailable, "the server stops");
        },
        .on_notification =
            [weak](const teplink::Notification& each) {
                if (const auto self = weak.lock()) self->on_notification(each);
            },
        .on_gone =
            [weak](const Error& why) {
                if (const auto self = weak.lock()) self->on_gone(why);
            },
    });
}

void EndpointSession::install(const TunnelSpec& spec, Done<void> done) {
    peer_->call(
        teplink::Install{{spec}}, times_.call_wait,
        [done = std::move(done)](const Result<teplink::Answer>& answer) { done(single(answer)); });
}

void EndpointSession::remove(const IpAddress& inner, Generation up_to, Done<void> done) {
    peer_->call(
        teplink::Remove{{{inner, up_to}}}, times_.call_wait,
        [done = std::move(done)](const Result<teplink::Answer>& answer) { done(single(answer)); });
}

void EndpointSession::sync(std::vector<TunnelSpec> tunnels, Generation as_of,
                           Done<SyncOutcome> done) {
    const auto earlier = std::exchange(
        sync_,
        std::make_shared<RunningSync>(++last_sync_, std::move(tunnels), 0, as_of, std::move(done)));
    send_part(sync_);
    if (!earlier) return;
    asio::post(context_, [self = shared_from_this(), earlier] {
        self->end_sync(earlier, fail(ErrorCode::conflict, "a later sync took its place"));
    });
}

void EndpointSession::close(std::string why) { peer_->close(std::move(why)); }

Result<teplink::Answer> EndpointSession::on_request(const teplink::Request& request) {
    const auto* hello = std::get_if<teplink::Hello>(&request);
    if (hello == nullptr) return fail(ErrorCode::refused, "an endpoint may only say hello");
    if (!info_.name.empty()) return fail(ErrorCode::refused, "hello was said already");
    if (hello->protocol != teplink::protocol_version) {
        return fail(ErrorCode::refused, "this server speaks protocol 1");
    }
    const auto& certified = peer_->peer_name();
    if (!certified.empty() && certified != hello->name) {
        log_warning("TEP_NAME_REFUSED", "peer={} name={} certificate={}", peer_address(),
                    hello->name, log::quoted(certified));
        return fail(ErrorCode::refused, "the certificate is for another name");
    }
    patience_.cancel();
    info_ = info_of(*hello);
    // After the answer: the endpoint must know that it is welcome before it is told anything.
    asio::post(context_, [self = shared_from_this()] {
        if (self->handlers_.on_up) self->handlers_.on_up();
    });
    return teplink::HelloAnswer{server_name_};
}

void EndpointSession::on_notification(const teplink::Notification& notification) {
    if (info_.name.empty()) return;
    if (const auto* idle = std::get_if<teplink::Idle>(&notification)) {
        handlers_.on_idle(idle->inner);
    } else if (const auto* datagram = std::get_if<teplink::Datagram>(&notification)) {
        handlers_.on_datagram(*datagram);
    } else {
        log_info("TEP_ENDPOINT_STOPS", "endpoint={}", info_.name);
        // It closes the link itself, right behind this; two closes that cross would take longer.
        patience_.after(times_.hello_wait, [this] { close("bye"); });
    }
}

void EndpointSession::on_gone(const Error& why) {
    patience_.cancel();
    log_debug("TEP_SESSION_GONE", "peer={} endpoint={} why={}", peer_address(), info_.name,
              log::quoted(to_string(why)));
    if (const auto on_gone = std::exchange(handlers_, {}).on_gone) on_gone();
}

void EndpointSession::send_part(const std::shared_ptr<RunningSync>& sync) {
    const auto begin = sync->tunnels.begin() + static_cast<std::ptrdiff_t>(sync->sent);
    const auto count =
        std::min(sync->tunnels.size() - sync->sent, teplink::tunnels_per_message_max);
    teplink::Sync part;
    part.session = sync->session;
    part.first = sync->sent == 0;
    part.last = sync->sent + count == sync->tunnels.size();
    part.as_of = sync->as_of;
    part.tunnels.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
    sync->sent += count;
    peer_->call(part, times_.sync_part_wait,
                [weak = weak_from_this(), sync,
                 was_last = part.last](const Result<teplink::Answer>& answer) {
                    if (const auto self = weak.lock()) {
                        self->on_part_answered(sync, was_last, answer);
                    }
                });
}

void EndpointSession::on_part_answered(const std::shared_ptr<RunningSync>& sync, bool was_last,
                                       const Result<teplink::Answer>& answer) {
    if (!sync->done) return;  // a later sync took its place
    if (!answer) return end_sync(sync, tl::unexpected<Error>(answer.error()));
    if (!was_last) return send_part(sync);
    const auto& totals = std::get<teplink::SyncAnswer>(*answer).totals;
    if (!totals) return end_sync(sync, fail(ErrorCode::internal, "a sync without its totals"));
    end_sync(sync, SyncOutcome{totals->installed, totals->unchanged, totals->removed});
}

void EndpointSession::end_sync(const std::shared_ptr<RunningSync>& sync,
                               Result<SyncOutcome> outcome) {
    if (sync_ == sync) sync_.reset();
    if (const auto done = std::exchange(sync->done, nullptr)) done(std::move(outcome));
}

}  // namespace dstm::server
