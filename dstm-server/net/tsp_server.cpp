// Accepting, counting and refusing connections.
#include "dstm-server/net/tsp_server.hpp"

#include <algorithm>
#include <unordered_map>

#include "common/io/asio.hpp"
#include "common/log/log.hpp"
#include "dstm-server/net/connection.hpp"
#include "dstm-server/net/lingering_closer.hpp"
#include "dstm-server/net/random_key.hpp"
#include "dstm-server/net/session_quota.hpp"

namespace dstm::server::net {
namespace {

using Tcp = asio::ip::tcp;

constexpr std::size_t lingering_max = 1024;
constexpr int backlog = 1024;
constexpr std::chrono::milliseconds accept_pause(100);  // after "too many open files"
constexpr std::chrono::seconds busy_report_interval(10);

Tcp::endpoint native(const IpEndpoint& endpoint) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&endpoint.address)) {
        return {asio::ip::address_v4(v4->host_order()), endpoint.port};
    }
    return {asio::ip::address_v6(std::get<Ipv6Address>(endpoint.address).bytes()), endpoint.port};
}

IpEndpoint ours(const Tcp::endpoint& endpoint) {
    if (endpoint.address().is_v4()) {
        return {Ipv4Address(endpoint.address().to_v4().to_uint()), endpoint.port()};
    }
    return {unmap(Ipv6Address(endpoint.address().to_v6().to_bytes())), endpoint.port()};
}

struct Listener {
    Listener(asio::io_context& events, io::TlsServer* tls_in)
        : tls(tls_in), acceptor(events), pause(events) {}
    io::TlsServer* tls;  // nullptr: plain TCP
    Tcp::acceptor acceptor;
    asio::steady_timer pause;
    bool reported = false;  // that it cannot accept
};

}  // namespace

class TspServer::Machine {
public:
    Machine(TspServerConfig config, asio::io_context& events, const Clock& clock,
            Authenticator& authenticator, TunnelService& tunnels)
        : config_(std::move(config)),
          events_(events),
          clock_(clock),
          closer_(events, lingering_max),
          throttle_(config_.tries, random_key()),
          around_{{events, clock, authenticator, tunnels, throttle_}, closer_},
          quota_(config_.sessions_max, config_.sessions_per_address_max) {}

    ~Machine() {
        *alive_ = false;
        for (auto& [number, connection] : connections_) connection->abandon();
    }

    Result<void> start() {
        for (const IpEndpoint& endpoint : config_.listen) {
            if (auto listening = listen(endpoint, nullptr); !listening) return listening;
        }
        if (!config_.tls) return {};
        auto tls = io::TlsServer::create(config_.tls->files);
        if (!tls) return tl::unexpected(tls.error());
        tls_ = std::move(*tls);
        return listen(config_.tls->listen, tls_.get());
    }

    void reconfigure(TspServerConfig config) {
        config.listen = std::move(config_.listen);
        config.tls = std::move(config_.tls);
        config_ = std::move(config);
        throttle_.set_limits(config_.tries);
        quota_.set_limits(config_.sessions_max, config_.sessions_per_address_max);
    }

    [[nodiscard]] std::vector<IpEndpoint> local_endpoints() const {
        std::vector<IpEndpoint> all;
        for (const auto& listener : listeners_) {
            const Tcp::endpoint local = listener->acceptor.local_endpoint();
            all.push_back({ours(local).address, local.port()});
        }
        return all;
    }
    [[nodiscard]] std::size_t sessions() const { return quota_.total(); }
    [[nodiscard]] const tsp::Throttle::Counters& throttled() const { return throttle_.refused(); }

private:
    Result<void> listen(const IpEndpoint& endpoint, io::TlsServer* tls) {
        auto listener = std::make_unique<Listener>(events_, tls);
        if (auto error = open(*listener, endpoint)) {
            const bool is_temporary = error == asio::error::address_in_use;
            return fail(is_temporary ? ErrorCode::unavailable : ErrorCode::invalid,
                        "listen on " + to_string(endpoint) + ": " + error.message());
        }
        accept(*listener);
        listeners_.push_back(std::move(listener));
        return {};
    }

    ErrorCodeOfAsio open(Listener& listener, const IpEndpoint& endpoint) {
        const Tcp::endpoint local = native(endpoint);
        ErrorCodeOfAsio error;
        auto& acceptor = listener.acceptor;
        acceptor.open(local.protocol(), error);
        if (error) return error;
        acceptor.set_option(asio::socket_base::reuse_address(true), error);
        if (local.address().is_v6()) {
            const bool has_v4_beside_it =
                std::any_of(config_.listen.begin(), config_.listen.end(), [&](const auto& other) {
                    return other.port == endpoint.port &&
                           std::holds_alternative<Ipv4Address>(other.address);
                });
            acceptor.set_option(asio::ip::v6_only(has_v4_beside_it), error);
        }
        if (!error) acceptor.bind(local, error);
        if (!error) acceptor.listen(backlog, error);
        return error;
    }

    void accept(Listener& listener) {
        listener.acceptor.async_accept(
            [this, alive = alive_, &listener](ErrorCodeOfAsio error, Tcp::socket socket) {
                if (!*alive) return;
                if (!error) {
                    listener.reported = false;
                    welcome(std::move(socket), listener.tls);
                    return accept(listener);
                }
                if (error == asio::error::connection_aborted) return accept(listener);
                if (!std::exchange(listener.reported, true)) {
                    log_error("TSP_CANNOT_ACCEPT", "why={}", error.message());
                }
                listener.pause.expires_after(accept_pause);
                listener.pause.async_wait([this, alive, &listener](auto cancelled) {
                    if (!cancelled && *alive) accept(listener);
                });
            });
    }

    // RFC 5572 s8: what is too much costs no more than this.
    void welcome(Tcp::socket socket, io::TlsServer* tls) {
        ErrorCodeOfAsio error;
        const Tcp::endpoint remote = socket.remote_endpoint(error);
        if (error) return;  // gone already
        const IpEndpoint peer = ours(remote);
        const bool is_welcome =
            throttle_.admit(peer.address, clock_.now()) && quota_.take(peer.address);
        if (!is_welcome) return refuse(std::move(socket), peer, tls != nullptr);
        const std::uint64_t number = ++last_number_;
        auto connection = std::make_shared<Connection>(
            tls == nullptr ? io::make_plain_stream(std::move(socket))
                           : tls->make_stream(std::move(socket)),
            peer, config_.session,
            OutputLimits{config_.output_size_max, config_.write_timeout}, around_,
            [this, number, address = peer.address] {
                quota_.give_back(address);
                connections_.erase(number);
            });
        connections_.emplace(number, connection);
        connection->start();
    }

    // RFC 5572 Appendix B, 530; bare, as everything before the first command is. Who waits for a
    // TLS handshake could not read it.
    void refuse(Tcp::socket socket, const IpEndpoint& peer, bool is_silent) {
        if (!is_silent) {
            const auto reply = tsp::format_redirect(tsp::Status::too_busy, {},
                                                    config_.session.redirect.brokers);
            ErrorCodeOfAsio error;
            socket.non_blocking(true, error);
            if (!error) socket.write_some(asio::buffer(reply), error);
            closer_.close(std::move(socket));
        }
        ++refused_;
        const Instant now = clock_.now();
        if (busy_reported_at_ && now - *busy_reported_at_ < busy_report_interval) return;
        busy_reported_at_ = now;
        const auto& throttled = throttle_.refused();
        log_warning("TSP_TOO_BUSY",
                    "refused={} since the last report, the latest from {}; sessions={}; tries "
                    "refused since the start: by address {}, by prefix {}, by user {}",
                    std::exchange(refused_, 0), to_string(peer), quota_.total(),
                    throttled.by_address, throttled.by_prefix, throttled.by_user);
    }

    TspServerConfig config_;
    asio::io_context& events_;
    const Clock& clock_;
    LingeringCloser closer_;
    tsp::Throttle throttle_;
    Surroundings around_;
    SessionQuota quota_;
    std::unique_ptr<io::TlsServer> tls_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    std::unordered_map<std::uint64_t, std::shared_ptr<Connection>> connections_;
    std::uint64_t last_number_ = 0;
    std::uint64_t refused_ = 0;
    std::optional<Instant> busy_reported_at_;
    const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

TspServer::TspServer(TspServerConfig config, asio::io_context& events, const Clock& clock,
                     Authenticator& authenticator, TunnelService& tunnels)
    : machine_(std::make_unique<Machine>(std::move(config), events, clock, authenticator,
                                         tunnels)) {}
TspServer::~TspServer() = default;

Result<void> TspServer::start() { return machine_->start(); }
void TspServer::reconfigure(TspServerConfig config) { machine_->reconfigure(std::move(config)); }
std::vector<IpEndpoint> TspServer::local_endpoints() const { return machine_->local_endpoints(); }
std::size_t TspServer::sessions() const { return machine_->sessions(); }
const tsp::Throttle::Counters& TspServer::throttled() const { return machine_->throttled(); }

}  // namespace dstm::server::net
