// One action after another, then the events that came of them.
#include "client/driver.hpp"

#include <utility>
#include <variant>

#include "common/log/log.hpp"

namespace dstm::client {
namespace {

std::optional<Error> error_of(const Result<void>& result) {
    if (result) return std::nullopt;
    return result.error();
}

// The engine has no use for a failed removal: what stays is in the host record, and the next start
// takes it away. The operator should know.
void log_if_failed(const Result<void>& result) {
    if (!result) log_warning("CLIENT_CLEANUP_FAILED", "{}", to_string(result.error()));
}

}  // namespace

Driver::Driver(Engine engine, Ports ports) : engine_(std::move(engine)), ports_(std::move(ports)) {}

void Driver::handle(const Event& event) {
    if (std::holds_alternative<KeepaliveAnswered>(event)) ++keepalives_;
    waiting_.push_back(event);
    if (running_) return;
    running_ = true;
    bool has_lived = engine_.state() != State::stopped;
    while (!waiting_.empty()) {
        const auto next = std::move(waiting_.front());
        waiting_.pop_front();
        const auto actions = engine_.handle(next, {ports_.clock.now(), ports_.clock.wall()});
        for (const auto& action : actions) {
            std::visit([this](const auto& concrete) { carry_out(concrete); }, action);
        }
        has_lived = has_lived || engine_.state() != State::stopped;
    }
    running_ = false;
    ports_.set_timer(engine_.deadline());
    if (has_lived && engine_.state() == State::stopped && stopped_) stopped_();
}

void Driver::host_changed() { handle(OuterAddressChanged{source()}); }

std::optional<IpAddress> Driver::source() const {
    return ports_.signalling.source_towards(engine_.peer());
}

void Driver::carry_out(const FindServers&) {
    if (ports_.find_servers) ports_.find_servers();
    waiting_.push_back(AttemptBegan{source()});
}
void Driver::carry_out(const Connect& action) {
    if (action.is_elsewhere) {
        ports_.signalling.connect_elsewhere();
    } else {
        ports_.signalling.connect(action.server);
    }
    waiting_.push_back(AttemptBegan{source()});
}
void Driver::carry_out(const SendCommand& action) { ports_.signalling.send(action.message); }
void Driver::carry_out(const Disconnect&) { ports_.signalling.close(); }

void Driver::carry_out(const InstallTunnel& action) {
    const auto installed = ports_.host.install(action.spec);
    ports_.signalling.data_plane_reads(installed && action.spec.type == TunnelType::v6udpv4);
    waiting_.push_back(TunnelInstalled{error_of(installed)});
}

void Driver::carry_out(const SetRoutes&) {
    waiting_.push_back(RoutesSet{error_of(ports_.host.set_routes())});
}

void Driver::carry_out(const ClearRoutes&) { log_if_failed(ports_.host.clear_routes()); }

void Driver::carry_out(const RemoveTunnel& action) {
    ports_.echo.close();
    log_if_failed(ports_.host.remove(action.inner));
    ports_.signalling.data_plane_reads(false);
}

void Driver::carry_out(const SendKeepalive& action) {
    ++keepalives_;
    ports_.echo.send(action);
}

void Driver::carry_out(const Announce& action) {
    if (observer_) observer_(action);
}

}  // namespace dstm::client
