// The client's ports in memory. See client_host.hpp.
#include "sim/client_host.hpp"

#include <algorithm>

namespace dstm::sim {

using support::Conversation;

namespace {

const IpEndpoint server_address{*parse_ip_address("2001:db8:2::53"), 3653};
constexpr auto connect_timeout = std::chrono::seconds(5);
constexpr auto never = std::chrono::hours(1);

client::EngineConfig engine_config(const ClientHost::Config& host) {
    client::EngineConfig config;
    config.servers = {{"dstm.example", 3653}};
    config.wishes.host_id = host.host_id;
    config.seed = host.seed;
    return config;
}

}  // namespace

// One dialogue at a time with the world's server. From where the host is no more, nothing arrives.
class ClientHost::Talk final : public client::Signalling {
public:
    explicit Talk(ClientHost& host) : host_(host) {}

    void connect(const client::Target&) override {
        close();
        ++host_.attempts_;
        const auto round = round_;
        host_.world_.scheduler.post(host_.config_.delay(), [this, round] {
            if (round == round_) reach_server();
        });
    }
    // The world's server has one address.
    void connect_elsewhere() override { connect({}); }
    void send(const tsp::TunnelMessage& message) override {
        if (conversation_) conversation_->command(message);
    }
    void close() override {
        ++round_;
        const auto old = std::exchange(conversation_, nullptr);
        // What was sent arrives before; of a host that has left, the server hears no end.
        if (old && is_at(source_)) {
            host_.world_.scheduler.post(std::chrono::seconds(2), [old] { old->cut(); });
        }
    }
    std::optional<IpAddress> source_towards(const IpEndpoint&) override { return host_.place_; }

private:
    [[nodiscard]] bool is_at(const IpAddress& source) const {
        return !host_.is_asleep_ && host_.place_ == source;
    }

    void reach_server() {
        if (host_.place_ && host_.world_.has_server()) return begin();
        // A host answers that no server is there; where there is no host or no way, none does.
        const bool is_answered = host_.place_ && host_.config_.delay().count() % 2 == 0;
        const auto round = round_;
        host_.world_.scheduler.post(is_answered ? Duration(0) : connect_timeout, [this, round] {
            fail(round, client::SessionFailed::Cause::unreachable, "nobody answers");
        });
    }

    void begin() {
        source_ = *host_.place_;
        const auto source = source_;
        const auto round = round_;
        Conversation::Hooks hooks;
        hooks.delay = [this, source] { return is_at(source) ? host_.config_.delay() : never; };
        hooks.ready = [this, source, round] {
            tell(round, client::SessionOpened{{source, 40000}, server_address});
        };
        hooks.answered = [this, round](const tsp::client::CommandAnswered& answer) {
            tell(round, client::Answered{answer.status, answer.text, answer.message,
                                         answer.brokers});
        };
        hooks.accept_arrived = [] {};
        hooks.over = [this, round] {
            fail(round, client::SessionFailed::Cause::lost, "the connection broke");
        };
        conversation_ = std::make_shared<Conversation>(
            host_.world_, host_.config_.user,
            server::SessionPeer{{source, 40000}, server::Transport::tcp, false, {}},
            std::move(hooks));
        const auto begun = conversation_;  // it may be over within the call
        begun->start();
    }

    // Nothing is told of a dialogue that was closed.
    void tell(std::uint64_t round, const client::Event& event) {
        host_.when_awake([this, round, event] {
            if (round == round_) host_.driver_.handle(event);
        });
    }

    void fail(std::uint64_t round, client::SessionFailed::Cause cause, const std::string& text) {
        // Its hooks may be running: it goes when they have returned.
        if (round == round_) host_.world_.scheduler.post(Duration(0), [old = conversation_] {});
        tell(round, client::SessionFailed{cause, 0, text, {}});
    }

    ClientHost& host_;
    std::shared_ptr<Conversation> conversation_;
    IpAddress source_;         // of the conversation
    std::uint64_t round_ = 0;  // tells what was closed from the present dialogue
};

class ClientHost::Ground final : public client::HostNetwork {
public:
    explicit Ground(ClientHost& host) : host_(host) {}
    Result<void> install(const TunnelSpec& spec) override {
        // As the kernel, which lets nothing run from an address that this host does not have.
        if (spec.outer_client.address != host_.place_) {
            return fail(ErrorCode::unavailable, "no interface has the address");
        }
        host_.installed_ = spec;
        return {};
    }
    Result<void> set_routes() override {
        host_.has_routes_ = true;
        return {};
    }
    Result<void> clear_routes() override {
        host_.has_routes_ = false;
        return {};
    }
    Result<void> remove(const IpAddress& inner) override {
        if (host_.installed_ && host_.installed_->inner == inner) host_.installed_.reset();
        return {};
    }
    std::optional<dataplane::TunnelCounters> counters() const override { return std::nullopt; }

private:
    ClientHost& host_;
};

class ClientHost::Echo final : public client::EchoProbe {
public:
    explicit Echo(ClientHost& host) : host_(host) {}
    void send(const client::SendKeepalive& echo) override {
        if (!host_.works()) return;
        host_.world_.scheduler.post(host_.config_.delay(), [this, sequence = echo.sequence] {
            if (!host_.is_asleep_) host_.tell(client::KeepaliveAnswered{sequence});
        });
    }
    std::uint64_t sent() const override { return 0; }
    std::optional<std::chrono::microseconds> round_trip() const override { return std::nullopt; }
    void close() override {}

private:
    ClientHost& host_;
};

ClientHost::ClientHost(support::BrokerWorld& world, Config config)
    : world_(world),
      config_(std::move(config)),
      talk_(std::make_unique<Talk>(*this)),
      ground_(std::make_unique<Ground>(*this)),
      echo_(std::make_unique<Echo>(*this)),
      driver_(client::Engine(engine_config(config_)),
              {*talk_, *ground_, *echo_, world.scheduler.clock,
               [this](std::optional<Instant> at) { set_timer(at); }}) {
    driver_.observe([this](const client::Announce& one) { ++announced_[one.what]; });
}

void ClientHost::when_awake(std::function<void()> run) {
    if (!is_asleep_) return run();
    missed_.push_back(std::move(run));
}

void ClientHost::tell(const client::Event& event) {
    when_awake([this, event] { driver_.handle(event); });
}

void ClientHost::set_timer(std::optional<Instant> at) {
    timer_ = at;
    if (!at) return;
    const auto left = std::max(Duration{0}, *at - world_.scheduler.clock.now());
    world_.scheduler.post(left, [this, round = ++timer_round_] {
        if (round == timer_round_ && timer_ && !is_asleep_) driver_.wake();
    });
}

void ClientHost::move_to(std::optional<IpAddress> place) {
    place_ = place;
    look_at_network();
}

void ClientHost::look_at_network() {
    if (!is_asleep_) driver_.host_changed();
}

void ClientHost::sleep() { is_asleep_ = true; }

void ClientHost::wake() {
    if (!std::exchange(is_asleep_, false)) return;
    if (timer_ && *timer_ <= world_.scheduler.clock.now()) driver_.wake();
    set_timer(timer_);
    for (const auto& run : std::exchange(missed_, {})) run();
    look_at_network();
}

std::optional<IpAddress> ClientHost::inner() const {
    if (!installed_) return std::nullopt;
    return installed_->inner;
}

bool ClientHost::works() const {
    if (!installed_ || !place_ || is_asleep_) return false;
    return std::ranges::any_of(world_.endpoints, [this](const auto& one) {
        const auto& tunnels = one.second.tunnels;
        const auto tunnel = tunnels.find(installed_->inner);
        return installed_->outer_server == IpAddress(*one.second.info.outer_ipv6) &&
               installed_->outer_client.address == *place_ && tunnel != tunnels.end() &&
               tunnel->second.outer_client.address == *place_;
    });
}

std::size_t ClientHost::count(client::Announce::What what) const {
    const auto at = announced_.find(what);
    return at == announced_.end() ? 0 : at->second;
}

std::string ClientHost::problem() const {
    if (is_asleep_) return {};
    const auto& binding = engine().binding();
    if (binding.has_value() != installed_.has_value()) {
        return binding ? "has a binding and no tunnel" : "has a tunnel and no binding";
    }
    if (has_routes_ != installed_.has_value()) return "has routes and no tunnel, or no routes";
    if (!binding) return {};
    if (binding->ends_at < world_.scheduler.clock.now()) return "has a tunnel past its lease";
    if (binding->offer.inner != installed_->inner) return "has another tunnel than its binding";
    if (binding->outer.address != installed_->outer_client.address) {
        return "sends from another address than its binding's";
    }
    return {};
}

}  // namespace dstm::sim
