// Who is connected under which name. Sessions are owned here and nowhere else.
#include "dstm-server/tep/link_registry.hpp"

#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::server {
namespace {

void log_rejected(const std::string& peer, const Error& error) {
    log_warning("TEP_CONNECTION_REJECTED", "peer={} error={}", peer, log::quoted(to_string(error)));
}

}  // namespace

LinkRegistry::LinkRegistry(asio::io_context& context, const Clock& clock, std::string server_name,
                           io::LinkOptions options, EndpointTimes times)
    : context_(context),
      clock_(clock),
      server_name_(std::move(server_name)),
      options_(std::move(options)),
      times_(times) {}

LinkRegistry::~LinkRegistry() {
    *alive_ = false;
    acceptors_.clear();
    for (const auto& session : sessions_) session->close("the server stops");
}

Result<void> LinkRegistry::listen_unix(const std::string& path) {
    auto acceptor = io::listen_unix(
        context_, path, options_, [this](io::LinkPtr link) { take(std::move(link)); },
        log_rejected);
    if (!acceptor) return tl::unexpected<Error>(acceptor.error());
    acceptors_.push_back(std::move(*acceptor));
    return {};
}

Result<std::uint16_t> LinkRegistry::listen_tls(const IpEndpoint& address, const io::TlsFiles& tls) {
    auto acceptor = io::listen_tls(
        context_, address, tls, options_, [this](io::LinkPtr link) { take(std::move(link)); },
        log_rejected);
    if (!acceptor) return tl::unexpected<Error>(acceptor.error());
    const auto port = (*acceptor)->port();
    acceptors_.push_back(std::move(*acceptor));
    return port;
}

void LinkRegistry::install(const std::string& endpoint, const TunnelSpec& spec, Done<void> done) {
    const auto session = find(endpoint);
    if (!session) return fail_later(endpoint, std::move(done));
    session->install(spec, while_alive(std::move(done)));
}

void LinkRegistry::remove(const std::string& endpoint, const IpAddress& inner, Generation up_to,
                          Done<void> done) {
    const auto session = find(endpoint);
    if (!session) return fail_later(endpoint, std::move(done));
    session->remove(inner, up_to, while_alive(std::move(done)));
}

void LinkRegistry::sync(const std::string& endpoint, std::vector<TunnelSpec> tunnels,
                        Generation as_of, Done<SyncOutcome> done) {
    const auto session = find(endpoint);
    if (!session) return fail_later(endpoint, std::move(done));
    session->sync(std::move(tunnels), as_of, while_alive(std::move(done)));
}

bool LinkRegistry::relay(const std::string& endpoint, const IpEndpoint& peer,
                         std::string_view datagram) {
    const auto session = find(endpoint);
    return session && session->relay({peer, std::string(datagram)});
}

std::vector<EndpointInfo> LinkRegistry::endpoints() const {
    std::vector<EndpointInfo> infos;
    for (const auto& [name, session] : by_name_) infos.push_back(session->info());
    return infos;
}

void LinkRegistry::take(io::LinkPtr link) {
    if (sessions_.size() >= links_max) {
        log_warning("TEP_LINKS_FULL", "peer={} links={}", link->peer_address(), sessions_.size());
        return;  // the link closes with its last owner
    }
    auto session =
        std::make_shared<EndpointSession>(context_, clock_, std::move(link), server_name_, times_);
    sessions_.insert(session);
    const std::weak_ptr<EndpointSession> weak = session;
    const auto alive = alive_;
    session->start({
        .on_up =
            [this, alive, weak] {
                if (const auto up = weak.lock(); up && *alive) on_up(up);
            },
        .on_idle =
            [this, alive, weak](const std::vector<IpAddress>& inner) {
                const auto from = weak.lock();
                if (!*alive || !is_present(from) || listener_ == nullptr) return;
                listener_->on_tunnels_idle(from->info().name, inner);
            },
        .on_datagram =
            [this, alive, weak](const teplink::Datagram& datagram) {
                const auto from = weak.lock();
                if (!*alive || !is_present(from) || relay_listener_ == nullptr) return;
                relay_listener_->on_datagram(from->info().name, datagram.peer, datagram.data);
            },
        .on_gone =
            [this, alive, weak] {
                if (const auto gone = weak.lock(); gone && *alive) on_gone(gone);
            },
    });
}

void LinkRegistry::on_up(const SessionPtr& session) {
    // A copy: the listener may do what ends the session.
    const EndpointInfo info = session->info();
    const auto older = std::exchange(by_name_[info.name], session);
    log_info("TEP_ENDPOINT_UP", "endpoint={} group={} peer={} data-plane={} tunnels={}", info.name,
             info.group, session->peer_address(), info.data_plane, info.tunnels);
    if (older) {
        log_warning("TEP_ENDPOINT_TAKEN_OVER", "endpoint={} old={} new={}", info.name,
                    older->peer_address(), session->peer_address());
        older->close("a newer link took the name over");
        tell_gone(info.name);
    }
    if (listener_ != nullptr) listener_->on_endpoint_up(info);
}

void LinkRegistry::on_gone(const SessionPtr& session) {
    sessions_.erase(session);
    if (!is_present(session)) return;
    const auto name = session->info().name;
    by_name_.erase(name);
    log_warning("TEP_ENDPOINT_GONE", "endpoint={}", name);
    tell_gone(name);
}

void LinkRegistry::tell_gone(const std::string& name) {
    if (relay_listener_ != nullptr) relay_listener_->on_relay_gone(name);
    if (listener_ != nullptr) listener_->on_endpoint_gone(name);
}

LinkRegistry::SessionPtr LinkRegistry::find(const std::string& endpoint) const {
    const auto at = by_name_.find(endpoint);
    return at == by_name_.end() ? nullptr : at->second;
}

bool LinkRegistry::is_present(const SessionPtr& session) const {
    return session && find(session->info().name) == session;
}

template <class T>
Done<T> LinkRegistry::while_alive(Done<T> done) const {
    return [alive = alive_, done = std::move(done)](Result<T> result) {
        if (*alive) done(std::move(result));
    };
}

template <class T>
void LinkRegistry::fail_later(const std::string& endpoint, Done<T> done) {
    asio::post(context_, [done = while_alive(std::move(done)), endpoint] {
        done(fail(ErrorCode::unavailable, "no link to endpoint " + endpoint));
    });
}

}  // namespace dstm::server
