// One simulated life. See simulation.hpp.
#include "sim/simulation.hpp"

#include <utility>

#include "dstm-server/broker/client_id.hpp"

namespace dstm::sim {

using support::Conversation;
using support::Fate;
using tsp::Status;

namespace {
constexpr auto success = static_cast<std::uint16_t>(Status::success);

server::SessionPeer peer_at(const std::string& address, std::uint16_t port = 40000,
                            const std::string& relay = {}) {
    const auto transport = relay.empty() ? server::Transport::tcp : server::Transport::udp;
    return {{*parse_ip_address(address), port}, transport, false, relay};
}

// Where the tunnel of a client that signals like this goes.
IpEndpoint outer_of(const server::SessionPeer& peer) {
    return peer.relay.empty() ? IpEndpoint{peer.remote.address, 0} : peer.remote;
}
}  // namespace

Simulation::Simulation(const SimulationConfig& config)
    : config_(config), random_(config.seed), world_(config.pool_size) {
    world_.config.lifetime_s = 1800;
    world_.add_endpoint("tep1");
    world_.add_endpoint("tep2");
    world_.config.idle_tunnels = server::IdleTunnels::remove;
    for (std::size_t i = 0; i < config.clients; ++i) {
        Client client;
        client.user = "user" + std::to_string(i / 4);  // two hosts each, with both families
        client.host = "host" + std::to_string(i / 2);
        const std::string number = std::to_string(i + 1);
        if (i % 2 == 0) {
            for (const char* network : {"2001:db8:1::", "2001:db8:2::", "2001:db8:3::"}) {
                client.sources.push_back(peer_at(network + number));
            }
        } else {
            client.family = server::Family::v6;
            if (i % 4 == 1) client.prefix_length = 56;
            const auto port = static_cast<std::uint16_t>(40000 + i);
            client.sources = {peer_at("203.0.113." + number),
                              peer_at("203.0.113.200", port, "tep1"),
                              peer_at("203.0.113.201", port, "tep2"),
                              peer_at("203.0.113.100")};  // where all go at times
        }
        clients_.push_back(std::move(client));
    }
    world_.fates = [this](std::string_view) { return fate(); };
    world_.start_server();
}

std::vector<std::string> Simulation::run() {
    for (int i = 0; i < config_.events && found_.empty(); ++i) {
        happen();
        run_for(up_to(std::chrono::seconds(3)));
    }
    for (Client& client : clients_) {
        if (client.talk) client.talk->cut();
    }
    world_.settle();
    note_all(world_.problems(), "when all was quiet");
    check_claims();
    delete_everything();
    return found_;
}

void Simulation::happen() {
    if (chance(80)) {
        client_event(clients_[pick(clients_.size())]);
    } else {
        world_event();
    }
}

// Runs event by event, so that what must hold at any time is looked at after each.
void Simulation::run_for(Duration span) {
    bool is_done = false;
    world_.scheduler.post(span, [&is_done] { is_done = true; });
    while (!is_done && found_.empty()) {
        world_.scheduler.run_one();
        note_all(world_.problems_at_any_time(), "at some time");
    }
    // The mark must not outlive this frame.
    while (!is_done) world_.scheduler.run_one();
}

Fate Simulation::fate() {
    Fate fate;
    fate.effect_after = up_to(Duration(30));
    fate.answer_after = up_to(Duration(50));
    if (chance(2)) fate.answer_after = up_to(std::chrono::seconds(8));
    if (!chance(6)) return fate;
    constexpr ErrorCode codes[] = {ErrorCode::refused, ErrorCode::exhausted, ErrorCode::unavailable,
                                   ErrorCode::timed_out, ErrorCode::internal};
    fate.error = codes[pick(std::size(codes))];
    const bool is_definite =
        *fate.error == ErrorCode::refused || *fate.error == ErrorCode::exhausted;
    fate.happens = !is_definite && chance(50);
    if (fate.happens && chance(30)) {
        fate.gives_up_first = true;
        fate.effect_after = up_to(std::chrono::seconds(4));
    }
    return fate;
}

// --- clients -------------------------------------------------------------------------------------

void Simulation::client_event(Client& client) {
    if (chance(15)) {  // it has moved: what it had open is dead
        if (client.talk) client.talk->cut();
        client.at = pick(client.sources.size());
    }
    if (client.talk && chance(25)) {
        client.talk->cut();
    } else if (chance(15)) {
        ask(client, tsp::Action::delete_tunnel);
    } else {
        ask(client, tsp::Action::create);
    }
}

// A new dialogue from where the client is now, or the next command on the one it has.
void Simulation::ask(Client& client, tsp::Action action) {
    if (!world_.has_server()) return;
    if (client.talk) {
        if (client.talk->is_ready() && !client.is_deciding) send(client, action);
        return;
    }
    Conversation::Hooks hooks;
    hooks.delay = [this] { return up_to(Duration(40)); };
    hooks.ready = [this, &client, action] { send(client, action); };
    hooks.answered = [this, &client](const tsp::client::CommandAnswered& answer) {
        on_answer(client, answer);
    };
    hooks.accept_arrived = [this, &client] { on_accept_arrived(client); };
    hooks.over = [this, &client] { on_over(client); };
    client.talk = std::make_shared<Conversation>(world_, client.user, client.sources[client.at],
                                                 std::move(hooks));
    const auto talk = client.talk;
    talk->start();
}

server::ClientId Simulation::id_of(const Client& client) {
    return server::make_client_id(client.family, client.user, client.host);
}

void Simulation::send(Client& client, tsp::Action action) {
    client.asked = action;
    client.is_tainted = false;
    client.calm_when_asked = calm_;
    const server::SessionPeer& peer = client.sources[client.at];
    support::Dialogue from;
    from.source = to_string(peer.remote.address);
    from.relay = peer.relay;
    auto message = support::BrokerWorld::create_message(from);
    if (client.prefix_length) {
        message = support::BrokerWorld::with_router(std::move(message), *client.prefix_length);
    }
    message.action = action;
    message.host_id = client.host;
    if (action != tsp::Action::create) message.client.reset();
    // What the client may rely on hangs in the air until this is answered.
    if (action == tsp::Action::delete_tunnel) client.claim = Claim::unsure;
    const auto talk = client.talk;
    talk->command(message);
}

void Simulation::on_answer(Client& client, const tsp::client::CommandAnswered& answer) {
    if (client.asked == tsp::Action::delete_tunnel) {
        const bool is_done = answer.status == success && !client.is_tainted;
        client.claim = is_done ? Claim::nothing : Claim::unsure;
    } else if (answer.status == success) {
        const auto& message = *answer.message;
        client.offered = support::BrokerWorld::inner_of(message);
        if (client.prefix_length && !message.client->router) {
            note(client.host + " got no prefix");
        }
        client.offered_until =
            world_.scheduler.clock.wall() + std::chrono::seconds(*message.lease_seconds);
        client.is_deciding = true;
        world_.scheduler.post(up_to(std::chrono::seconds(1)), [this, &client, talk = client.talk] {
            if (!talk->is_over() && talk == client.talk) decide(client);
        });
        return;
    }
    // Nothing more to say; some hang up, others leave it to the server.
    if (chance(50)) {
        world_.scheduler.post(Duration(1), [talk = client.talk] { talk->cut(); });
    }
}

void Simulation::decide(Client& client) {
    client.is_deciding = false;
    tsp::TunnelMessage message;
    const auto talk = client.talk;
    if (chance(10)) {
        talk->cut();
    } else if (chance(10)) {
        message.action = tsp::Action::reject;
        talk->command(message);
    } else {
        message.action = tsp::Action::accept;
        talk->command(message);
    }
}

void Simulation::on_accept_arrived(Client& client) {
    ++accepted_;
    if (client.is_tainted) {
        client.claim = Claim::unsure;
        return;
    }
    client.claim = Claim::bound;
    client.address = client.offered;
    client.source = outer_of(client.sources[client.at]);
    client.until = client.offered_until;
    if (client.calm_when_asked != calm_) return;
    bool is_installed = false;
    for (const auto& [name, endpoint] : world_.endpoints) {
        const auto at = endpoint.tunnels.find(client.address);
        is_installed =
            is_installed || (at != endpoint.tunnels.end() &&
                             at->second.outer_client == client.source);
    }
    if (!is_installed) note(client.host + " was told success without a tunnel");
}

void Simulation::on_over(Client& client) {
    client.is_deciding = false;
    // An accept may have arrived after the delete was sent, and nobody knows what came of that.
    if (client.asked == tsp::Action::delete_tunnel && client.claim == Claim::bound) {
        client.claim = Claim::unsure;
    }
    const auto talk = std::exchange(client.talk, nullptr);
    // Its hooks are running: it goes when they have returned.
    world_.scheduler.post(Duration(0), [talk] {});
}

// --- the world -----------------------------------------------------------------------------------

void Simulation::world_event() {
    if (!world_.has_server() && chance(60)) return toggle_server();
    for (auto* kea : {&world_.kea, &world_.kea6}) {
        if (!kea->is_running() && chance(60)) return toggle_kea(*kea);
    }
    switch (pick(9)) {
        case 0: return toggle_kea(some_kea());
        case 1:
        case 2: return toggle_endpoint();
        case 3: return restart_endpoint();
        case 4: return toggle_server();
        case 5: return delete_a_lease();
        case 6: return report_idle();
        case 7: ++calm_; return run_for(up_to(std::chrono::minutes(chance(20) ? 40 : 4)));
        default: break;
    }
    if (world_.has_server()) world_.connect_all();
}

void Simulation::toggle_kea(support::MemoryKea& kea) {
    if (kea.is_running()) {
        kea.stop();
        return;
    }
    kea.start();
    if (!world_.has_server()) return;
    auto& store = &kea == &world_.kea ? world_.lease_store() : world_.lease_store6();
    store.connect();
}

void Simulation::toggle_endpoint() {
    if (!world_.has_server()) return;
    auto& [name, endpoint] = *std::next(world_.endpoints.begin(),
                                        static_cast<std::ptrdiff_t>(pick(world_.endpoints.size())));
    if (world_.links().is_connected(name)) {
        world_.links().disconnect(name);
    } else {
        world_.links().connect(endpoint);
    }
}

void Simulation::restart_endpoint() {
    ++calm_;
    auto& [name, endpoint] = *std::next(world_.endpoints.begin(),
                                        static_cast<std::ptrdiff_t>(pick(world_.endpoints.size())));
    if (world_.has_server()) world_.links().disconnect(name);
    endpoint.tunnels.clear();
    if (world_.has_server()) world_.links().connect(endpoint);
}

void Simulation::toggle_server() {
    if (!world_.has_server()) {
        world_.start_server();
        return;
    }
    ++calm_;
    // What was under way or owed is known to nobody now: the next server takes what Kea has.
    const auto status = world_.broker().status();
    for (Client& client : clients_) {
        const bool has_listed = status.kea.has_listed && status.kea6.has_listed;
        if (status.exchanges + status.debts > 0 || !has_listed) client.claim = Claim::unsure;
        client.is_tainted = true;
    }
    world_.kill_server(chance(70));
}

// What the lease's client was told may not hold any more.
void Simulation::forget(const server::Lease& lease) {
    ++calm_;
    for (Client& client : clients_) {
        if (id_of(client) != lease.client_id) continue;
        client.claim = Claim::unsure;
        client.is_tainted = true;
    }
}

void Simulation::delete_a_lease() {
    support::MemoryKea& kea = some_kea();
    if (kea.leases.empty() || !kea.is_running()) return;
    const auto at =
        std::next(kea.leases.begin(), static_cast<std::ptrdiff_t>(pick(kea.leases.size())));
    forget(at->second);
    kea.end(at->first, server::LeaseEnd::deleted);
}

void Simulation::report_idle() {
    support::MemoryKea& kea = some_kea();
    if (kea.leases.empty() || !world_.has_server()) return;
    const auto at =
        std::next(kea.leases.begin(), static_cast<std::ptrdiff_t>(pick(kea.leases.size())));
    forget(at->second);
    world_.links().report_idle(at->second.context.endpoint, {at->first});
}

// --- what must hold ------------------------------------------------------------------------------

void Simulation::note_all(const std::vector<std::string>& problems, const std::string& when) {
    for (const std::string& problem : problems) note(problem + ", " + when);
}

// What a client was told stands, and what it never accepted is not there.
void Simulation::check_claims() {
    for (const Client& client : clients_) {
        if (client.claim == Claim::unsure) continue;
        const server::Lease* lease = nullptr;
        for (const auto& [address, held] : kea_of(client).leases) {
            if (held.client_id == id_of(client)) lease = &held;
        }
        if (client.claim == Claim::nothing) {
            if (lease != nullptr) note(client.host + " holds a lease that it never accepted");
            continue;
        }
        if (lease == nullptr) {
            if (world_.scheduler.clock.wall() < client.until) {
                note(client.host + " lost its lease before its time");
            }
            continue;
        }
        if (lease->address != client.address) note(client.host + " has another address");
        if (lease->context.outer_client != client.source) {
            note(client.host + " is bound to an outer address that it did not accept");
        }
        if (lease->prefix.has_value() != client.prefix_length.has_value()) {
            note(client.host + " has lost its prefix, or got one unasked");
        }
    }
}

void Simulation::delete_everything() {
    for (Client& client : clients_) {
        ask(client, tsp::Action::delete_tunnel);
        world_.scheduler.run_until([&] { return client.claim == Claim::nothing && !client.talk; });
        if (client.claim != Claim::nothing) note(client.host + " could not delete");
        if (client.talk) client.talk->cut();
    }
    world_.scheduler.run_for(std::chrono::seconds(1));
    const auto status = world_.broker().status();
    if (status.bindings + status.exchanges + status.debts + status.sessions != 0) {
        note("the broker keeps " + std::to_string(status.bindings) + " bindings, " +
             std::to_string(status.exchanges) + " exchanges, " + std::to_string(status.debts) +
             " debts, " + std::to_string(status.sessions) + " sessions at the end");
    }
    if (!world_.kea.leases.empty() || !world_.kea6.leases.empty()) {
        note("Kea keeps a lease at the end");
    }
    for (const auto& [name, endpoint] : world_.endpoints) {
        if (!endpoint.tunnels.empty()) note(name + " keeps a tunnel at the end");
    }
}

}  // namespace dstm::sim
