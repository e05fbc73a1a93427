// The composition of dstm-server. What is declared later goes first when it ends.
#include "dstm-server/server.hpp"

#include <algorithm>

#include "common/io/asio.hpp"
#include "common/io/line_server.hpp"
#include "common/io/timer.hpp"
#include "common/log/log.hpp"
#include "dstm-server/admin/audit_file.hpp"
#include "dstm-server/admin/commands.hpp"
#include "dstm-server/broker/broker.hpp"
#include "dstm-server/net/tunnel_service.hpp"
#include "dstm-server/tep/link_registry.hpp"

namespace dstm::server {
namespace {

constexpr Duration tick_interval = std::chrono::seconds(1);
constexpr Duration stop_time_max = std::chrono::seconds(3);
constexpr Duration stop_poll_interval = std::chrono::milliseconds(20);

// The broker as the network side wants it.
class BrokerService final : public net::TunnelService {
public:
    explicit BrokerService(Broker& broker) : broker_(broker) {}

    std::uint64_t open(const SessionPeer& peer) override { return broker_.open(peer); }
    void authenticated(std::uint64_t session, std::string user) override {
        broker_.authenticated(session, std::move(user));
    }
    void request(std::uint64_t session, const tsp::TunnelMessage& message,
                 Answer answer) override {
        broker_.request(session, message, std::move(answer));
    }
    void accept(std::uint64_t session) override { broker_.accept(session); }
    void reject(std::uint64_t session) override { broker_.reject(session); }
    void close(std::uint64_t session) override { broker_.close(session); }

private:
    Broker& broker_;
};

// Ends the workers before what they refer to goes.
class Workers {
public:
    explicit Workers(std::size_t count) : pool_(count) {}
    ~Workers() {
        pool_.stop();
        pool_.join();
    }
    [[nodiscard]] asio::thread_pool& pool() { return pool_; }

private:
    asio::thread_pool pool_;
};

}  // namespace

class Server::Machine {
public:
    Machine(Settings settings, asio::io_context& events, const Clock& clock)
        : settings_(std::move(settings)),
          events_(events),
          clock_(clock),
          links_(events, clock, settings_.name),
          workers_(settings_.sasl_workers),
          tick_(events),
          stop_poll_(events) {}

    Result<void> start() {
        if (auto opened = open_audit_log(); !opened) return opened;
        if (auto made = make_dns(); !made) return made;
        kea_ = lease_store(settings_.kea);
        kea6_ = lease_store(settings_.kea6);
        broker_ = std::make_unique<Broker>(settings_.broker, LeaseStores{kea_.get(), kea6_.get()},
                                           links_, *audit_, dns_.get(), clock_);
        service_ = std::make_unique<BrokerService>(*broker_);
        auto authenticator = SaslAuthenticator::create(settings_.sasl, workers_.pool(), events_);
        if (!authenticator) return tl::unexpected(authenticator.error());
        authenticator_ = std::move(*authenticator);
        // On a channel that offers all there is.
        if (authenticator_->mechanisms({{}, true, "anybody"}).empty()) {
            return fail(ErrorCode::invalid, "none of tsp.mechanisms can be offered");
        }
        if (auto listening = listen_for_endpoints(); !listening) return listening;
        if (auto listening = listen_for_operators(); !listening) return listening;
        if (auto listening = listen_for_clients(); !listening) return listening;
        if (kea_) kea_->start();
        if (kea6_) kea6_->start();
        tick();
        return {};
    }

    void reload(Settings fresh) {
        if (audit_file_ != nullptr) audit_file_->reopen();
        if (!log::set_level(fresh.log_level)) return;
        // These need an edge that is there from the start or not.
        fresh.broker.delegates_reverse_zones = settings_.broker.delegates_reverse_zones;
        fresh.broker.tunnel_types = settings_.broker.tunnel_types;
        fresh.tsp.session.tunnel_types = settings_.tsp.session.tunnel_types;
        fresh.udp.session = udp_session(fresh);
        udp_->reconfigure(std::move(fresh.udp));
        tsp_->reconfigure(std::move(fresh.tsp));
        broker_->reconfigure(std::move(fresh.broker));
        log_info("SERVER_RELOADED", "limits, lifetimes, log level, audit log");
    }

    void stop(std::function<void()> done) {
        tsp_.reset();
        udp_stopped_ = udp_->status();
        udp_.reset();
        stop_done_ = std::move(done);
        stop_deadline_ = clock_.now() + stop_time_max;
        poll_stop();
    }

private:
    [[nodiscard]] std::unique_ptr<KeaStream> lease_store(
        const std::optional<KeaStreamConfig>& config) {
        return config ? std::make_unique<KeaStream>(*config, events_, clock_) : nullptr;
    }

    Result<void> make_dns() {
        if (!settings_.reverse_delegation) return {};
        auto made = make_reverse_delegation(events_, *settings_.reverse_delegation);
        if (!made) return tl::unexpected(made.error());
        dns_ = std::move(*made);
        return {};
    }

    Result<void> open_audit_log() {
        if (settings_.audit_log.empty()) {
            audit_ = std::make_unique<NoAuditLog>();
            return {};
        }
        auto opened = AuditFile::open(settings_.audit_log);
        if (!opened) return tl::unexpected(opened.error());
        audit_file_ = opened->get();
        audit_ = std::move(*opened);
        return {};
    }

    Result<void> listen_for_clients() {
        tsp_ = std::make_unique<net::TspServer>(settings_.tsp, events_, clock_, *authenticator_,
                                                *service_);
        if (auto listening = tsp_->start(); !listening) return listening;
        settings_.udp.session = udp_session(settings_);
        udp_ = std::make_unique<net::UdpListener>(settings_.udp, events_, clock_, *authenticator_,
                                                  *service_, links_,
                                                  [this] { return is_serving(); });
        return udp_->start();
    }

    [[nodiscard]] tsp::ServerSessionConfig udp_session(const Settings& settings) const {
        auto session = settings.tsp.session;
        session.mechanisms = authenticator_->mechanisms({});
        return session;
    }

    // Somebody who asked for a tunnel now would get one, as far as can be told.
    [[nodiscard]] bool is_serving() const {
        const BrokerStatus status = broker_->status();
        if (!status.kea.has_listed && !status.kea6.has_listed) return false;
        const auto endpoints = broker_->endpoints();
        return std::any_of(endpoints.begin(), endpoints.end(),
                           [](const auto& one) { return one.connected && one.in_sync; });
    }

    Result<void> listen_for_endpoints() {
        if (!settings_.endpoint_socket.empty()) {
            if (auto ok = links_.listen_unix(settings_.endpoint_socket); !ok) return ok;
        }
        if (settings_.endpoint_tls) {
            const EndpointTls& tls = *settings_.endpoint_tls;
            auto port = links_.listen_tls(tls.listen, {tls.certificate, tls.key, tls.ca});
            if (!port) return tl::unexpected(port.error());
        }
        return {};
    }

    Result<void> listen_for_operators() {
        if (settings_.admin_socket.empty()) return {};
        AdminSource source;
        source.name = settings_.name;
        source.started_at = clock_.wall();
        source.now = [this] { return clock_.wall(); };
        source.status = [this] { return broker_->status(); };
        source.udp = [this] { return udp_ ? udp_->status() : udp_stopped_; };
        source.throttled = [this] {
            return tsp_ ? tsp_->throttled() : tsp::Throttle::Counters{};
        };
        source.bindings = [this] { return broker_->bindings(); };
        source.endpoints = [this] { return broker_->endpoints(); };
        auto listening = io::LineServer::listen(
            events_, settings_.admin_socket,
            [source = std::move(source)](const std::string& line) {
                return answer_command(line, source);
            });
        if (!listening) return tl::unexpected(listening.error());
        operators_ = std::move(*listening);
        return {};
    }

    void tick() {
        broker_->tick();
        tick_.after(tick_interval, [this] { tick(); });
    }

    // What the ended dialogues held is on its way back to Kea and the endpoints.
    void poll_stop() {
        const BrokerStatus status = broker_->status();
        const bool is_clean = status.exchanges == 0 && status.debts == 0;
        if (is_clean || clock_.now() >= stop_deadline_) {
            if (!is_clean) {
                log_warning("SERVER_STOPPED_OWING", "exchanges={} debts={}", status.exchanges,
                            status.debts);
            }
            return std::exchange(stop_done_, nullptr)();
        }
        stop_poll_.after(stop_poll_interval, [this] { poll_stop(); });
    }

    Settings settings_;
    asio::io_context& events_;
    const Clock& clock_;
    std::unique_ptr<AuditLog> audit_;
    AuditFile* audit_file_ = nullptr;  // the same, when it is a file
    std::unique_ptr<KeaStream> kea_;   // leases IPv4 addresses, if configured
    std::unique_ptr<KeaStream> kea6_;  // IPv6 addresses and prefixes
    std::unique_ptr<ReverseDelegation> dns_;  // delegates reverse zones, if configured
    LinkRegistry links_;
    Workers workers_;
    std::unique_ptr<SaslAuthenticator> authenticator_;
    std::unique_ptr<Broker> broker_;
    std::unique_ptr<BrokerService> service_;
    std::unique_ptr<io::LineServer> operators_;
    std::unique_ptr<net::TspServer> tsp_;
    std::unique_ptr<net::UdpListener> udp_;
    net::UdpListenerStatus udp_stopped_;  // the last of it, while the server stops
    io::Timer tick_;
    io::Timer stop_poll_;
    Instant stop_deadline_;
    std::function<void()> stop_done_;
};

Server::Server(Settings settings, asio::io_context& events, const Clock& clock)
    : machine_(std::make_unique<Machine>(std::move(settings), events, clock)) {}
Server::~Server() = default;

Result<void> Server::start() { return machine_->start(); }
void Server::reload(Settings settings) { machine_->reload(std::move(settings)); }
void Server::stop(std::function<void()> done) { machine_->stop(std::move(done)); }

}  // namespace dstm::server
