// Everything around the engine, in memory and in virtual time: a host, a server, and a network
// that may fail any one step.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "client/engine.hpp"

namespace dstm::client {

inline const Ipv6Address home = *Ipv6Address::parse("2001:db8:1::10");
inline const Ipv6Address elsewhere = *Ipv6Address::parse("2001:db8:9::10");

inline tsp::TunnelMessage offer_message(const std::string& inner, const Ipv6Address& outer,
                                        std::optional<std::uint32_t> lease_seconds,
                                        std::uint32_t keepalive_s = 30) {
    tsp::TunnelMessage message;
    message.action = tsp::Action::info;
    message.type = tsp::RequestType::v4v6;
    message.lifetime_min = lease_seconds ? *lease_seconds / 60 : 1440;
    message.lease_seconds = lease_seconds;
    message.server.emplace();
    message.server->addresses = {{tsp::AddressType::ipv4, "192.0.2.1", std::nullopt},
                                 {tsp::AddressType::ipv6, "2001:db8:2::1", std::nullopt}};
    message.client.emplace();
    message.client->addresses = {{tsp::AddressType::ipv4, inner, std::nullopt},
                                 {tsp::AddressType::ipv6, outer.to_string(), std::nullopt}};
    message.client->keepalive = tsp::Keepalive{
        keepalive_s, tsp::Address{tsp::AddressType::ipv4, "192.0.2.1", std::nullopt}};
    return message;
}

inline const Ipv4Address home_v4 = *Ipv4Address::parse("198.51.100.10");
inline const Ipv4Address elsewhere_v4 = *Ipv4Address::parse("203.0.113.10");
inline const IpEndpoint peer_v4{*Ipv4Address::parse("192.0.2.53"), 3653};

// RFC 5572 Figure 13, with a prefix where one was asked for.
inline tsp::TunnelMessage offer_message_v6(tsp::RequestType type, const std::string& outer,
                                           const std::string& prefix = {}) {
    tsp::TunnelMessage message;
    message.action = tsp::Action::info;
    message.type = type;
    message.lifetime_min = 60;
    message.lease_seconds = 3600;
    message.server.emplace();
    message.server->addresses = {{tsp::AddressType::ipv4, "192.0.2.99", std::nullopt},
                                 {tsp::AddressType::ipv6, "2001:db8:100::1", std::nullopt}};
    message.client.emplace();
    message.client->addresses = {
        {tsp::AddressType::ipv4, outer, std::nullopt},
        {tsp::AddressType::ipv6, "2001:0db8:0100:0000:0000:0000:0000:0007", std::nullopt},
        {tsp::AddressType::dn, "alice.tunnel.example", std::nullopt}};
    message.client->keepalive = tsp::Keepalive{
        30, tsp::Address{tsp::AddressType::ipv6, "2001:db8:100::1", std::nullopt}};
    if (!prefix.empty()) {
        message.client->router.emplace();
        message.client->router->prefix = tsp::Prefix{56, prefix};
    }
    return message;
}

class World {
public:
    enum class Fault { none, lost, temporary, silence };

    explicit World(EngineConfig config = default_config()) : engine(std::move(config)) {}

    static EngineConfig default_config() {
        EngineConfig config;
        config.servers = {{"dstm.example", 3653}};
        config.wishes.host_id = "0123456789abcdef0123456789abcdef";
        config.seed = 7;
        return config;
    }

    void tell(const Event& event) {
        events.push_back(event);
        while (!events.empty()) {
            const auto next = events.front();
            events.pop_front();
            for (const auto& action : engine.handle(next, now)) {
                std::visit([this](const auto& concrete) { carry_out(concrete); }, action);
            }
        }
    }

    // Lets time pass from one deadline to the next, up to `until` from now or until `enough`.
    void pass(Duration span, const std::function<bool()>& enough = [] { return false; }) {
        const auto end = now.at + span;
        for (int bound = 0; bound < 100000 && !enough(); ++bound) {
            const auto deadline = engine.deadline();
            if (!deadline || *deadline > end) {
                move_to(end);
                return;
            }
            move_to(std::max(*deadline, now.at));
            tell(TimePassed{});
        }
    }

    [[nodiscard]] bool host_is_clean() const { return !installed && !routes; }
    [[nodiscard]] unsigned count(Announce::What what) const {
        unsigned number = 0;
        for (const auto& announcement : announced) number += announcement.what == what ? 1U : 0U;
        return number;
    }
    [[nodiscard]] const Announce* last(Announce::What what) const {
        for (auto it = announced.rbegin(); it != announced.rend(); ++it) {
            if (it->what == what) return &*it;
        }
        return nullptr;
    }

    Engine engine;
    Moment now{Instant(std::chrono::hours(1)), from_unix(1'800'000'000)};

    // The network and the server.
    IpAddress source = home;
    IpEndpoint peer{*Ipv6Address::parse("2001:db8:3::1"), 3653};
    std::function<tsp::TunnelMessage()> offer;  // instead of a v4v6 one
    std::vector<Target> found;  // in the DNS
    bool is_finding_slow = false;
    bool reachable = true;
    bool echo_answers = true;
    std::uint16_t create_status = 200;
    std::vector<tsp::Broker> create_brokers;
    std::string inner = "192.0.2.7";
    std::optional<std::uint32_t> lease_seconds = 3600;
    bool offered = false;
    bool leased = false;
    bool session = false;
    std::function<void(const Connect&)> on_connect;

    // The host.
    std::optional<IpAddress> installed;
    bool routes = false;
    TunnelSpec spec;
    ErrorCode install_error = ErrorCode::refused;

    // The step that fails, counted from 1, and how many do from there on.
    unsigned step = 0;
    unsigned fault_step = 0;
    unsigned faults = 1;
    Fault fault = Fault::none;
    std::string faulty;  // what the step was

    std::vector<Connect> connects;
    std::vector<Instant> connected_at;
    std::vector<tsp::TunnelMessage> commands;
    std::vector<SendKeepalive> echoes;
    std::vector<Instant> echoed_at;
    std::vector<Announce> announced;
    std::deque<Event> events;

private:
    void move_to(Instant at) {
        const auto elapsed = at - now.at;
        now.at = at;
        part_ += elapsed;
        const auto whole = std::chrono::duration_cast<std::chrono::seconds>(part_);
        now.wall += whole;
        part_ -= whole;
    }

    bool fails(const char* what) {
        ++step;
        if (step < fault_step || step >= fault_step + faults) return false;
        faulty = what;
        return true;
    }

    void lose_session() {
        session = false;
        offered = false;
        events.push_back(SessionFailed{SessionFailed::Cause::lost, 0, "lost", {}});
    }

    void carry_out(const FindServers&) {
        events.push_back(AttemptBegan{source});
        if (is_finding_slow) return;
        events.push_back(ServersFound{found, found.empty() ? "the DNS names none" : ""});
    }

    void carry_out(const Connect& action) {
        connects.push_back(action);
        connected_at.push_back(now.at);
        events.push_back(AttemptBegan{source});
        if (on_connect) {
            on_connect(action);
            return;
        }
        const bool failed = fails("connect");
        if (failed && fault == Fault::silence) return;
        if (failed || !reachable) {
            events.push_back(
                SessionFailed{SessionFailed::Cause::unreachable, 0, "no route", {}});
            return;
        }
        session = true;
        events.push_back(SessionOpened{{source, 40000}, peer});
    }

    void carry_out(const SendCommand& action) {
        commands.push_back(action.message);
        switch (action.message.action) {
            case tsp::Action::accept:
                leased = leased || offered;
                offered = false;
                return;
            case tsp::Action::reject: offered = false; return;
            default: break;
        }
        const bool is_delete = action.message.action == tsp::Action::delete_tunnel;
        if (fails(is_delete ? "delete" : "create")) {
            if (fault == Fault::lost) lose_session();
            if (fault == Fault::temporary) events.push_back(Answered{530, "busy", {}, {}});
            return;
        }
        if (is_delete) {
            leased = false;
            events.push_back(Answered{200, "Success", {}, {}});
        } else if (create_status != 200) {
            events.push_back(Answered{create_status, "text", {}, create_brokers});
        } else {
            offered = true;
            const auto message =
                offer ? offer()
                      : offer_message(inner, std::get<Ipv6Address>(source), lease_seconds);
            events.push_back(Answered{200, "Success", message, {}});
        }
    }

    void carry_out(const Disconnect&) {
        session = false;
        offered = false;
    }
    void carry_out(const InstallTunnel& action) {
        if (fails("install")) {
            events.push_back(TunnelInstalled{Error{install_error, "as the test wants it"}});
            return;
        }
        installed = action.spec.inner;
        spec = action.spec;
        events.push_back(TunnelInstalled{});
    }
    void carry_out(const SetRoutes&) {
        if (fails("routes")) {
            routes = true;  // half of them
            events.push_back(RoutesSet{Error{install_error, "as the test wants it"}});
            return;
        }
        routes = true;
        events.push_back(RoutesSet{});
    }
    void carry_out(const ClearRoutes&) { routes = false; }
    void carry_out(const RemoveTunnel& action) {
        if (installed && *installed == action.inner) installed.reset();
    }
    void carry_out(const SendKeepalive& action) {
        echoes.push_back(action);
        echoed_at.push_back(now.at);
        if (echo_answers) events.push_back(KeepaliveAnswered{action.sequence});
    }
    void carry_out(const Announce& action) { announced.push_back(action); }

    Duration part_{0};
};

}  // namespace dstm::client
