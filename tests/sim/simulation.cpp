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
}

Simulation::Simulation(const SimulationConfig& config)
    : config_(config), random_(config.seed), world_(config.pool_size) {
    world_.config.lifetime_s = 1800;
    world_.add_endpoint("tep1");
    world_.add_endpoint("tep2");
    for (std::size_t i = 0; i < config.clients; ++i) {
        Client client;
        client.user = "user" + std::to_string(i / 2);  // two hosts each
        client.host = "host" + std::to_string(i);
        for (const char* network : {"2001:db8:1::", "2001:db8:2::", "2001:db8:3::"}) {
            client.sources.push_back(network + std::to_string(i + 1));
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

void Simulation::send(Client& client, tsp::Action action) {
    client.asked = action;
    client.is_tainted = false;
    client.calm_when_asked = calm_;
    auto message = support::BrokerWorld::create_message(client.sources[client.at]);
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
        client.offered = *Ipv4Address::parse(message.client->find(tsp::AddressType::ipv4)->text);
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
    client.source = client.sources[client.at];
    client.until = client.offered_until;
    if (client.calm_when_asked != calm_) return;
    bool is_installed = false;
    for (const auto& [name, endpoint] : world_.endpoints) {
        const auto at = endpoint.tunnels.find(client.address);
        is_installed =
            is_installed || (at != endpoint.tunnels.end() &&
                             to_string(at->second.outer_client.address) == client.source);
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
    if (!world_.kea.is_running() && chance(60)) return toggle_kea();
    switch (pick(8)) {
        case 0: return toggle_kea();
        case 1:
        case 2: return toggle_endpoint();
        case 3: return restart_endpoint();
        case 4: return toggle_server();
        case 5: return delete_a_lease();
        case 6: ++calm_; return run_for(up_to(std::chrono::minutes(chance(20) ? 40 : 4)));
        default: break;
    }
    // Links that broke come back by themselves.
    if (!world_.has_server()) return;
    world_.lease_store().connect();
    for (auto& [name, endpoint] : world_.endpoints) world_.links().connect(endpoint);
}

void Simulation::toggle_kea() {
    if (world_.kea.is_running()) {
        world_.kea.stop();
        return;
    }
    world_.kea.start();
    if (world_.has_server()) world_.lease_store().connect();
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
        if (status.exchanges + status.debts > 0 || !status.ready) client.claim = Claim::unsure;
        client.is_tainted = true;
    }
    world_.kill_server(chance(70));
}

void Simulation::delete_a_lease() {
    if (world_.kea.leases.empty() || !world_.kea.is_running()) return;
    ++calm_;
    const auto at = std::next(world_.kea.leases.begin(),
                              static_cast<std::ptrdiff_t>(pick(world_.kea.leases.size())));
    for (Client& client : clients_) {
        if (server::make_client_id(client.user, client.host) != at->second.client_id) continue;
        client.claim = Claim::unsure;
        client.is_tainted = true;
    }
    world_.kea.end(at->first, server::LeaseEnd::deleted);
}

// --- what must hold ------------------------------------------------------------------------------

void Simulation::note_all(const std::vector<std::string>& problems, const std::string& when) {
    for (const std::string& problem : problems) note(problem + ", " + when);
}

// What a client was told stands, and what it never accepted is not there.
void Simulation::check_claims() {
    for (const Client& client : clients_) {
        if (client.claim == Claim::unsure) continue;
        const auto id = server::make_client_id(client.user, client.host);
        const server::Lease* lease = nullptr;
        for (const auto& [address, held] : world_.kea.leases) {
            if (held.client_id == id) lease = &held;
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
        if (to_string(lease->context.outer_client.address) != client.source) {
            note(client.host + " is bound to an outer address that it did not accept");
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
    if (!world_.kea.leases.empty()) note("Kea keeps a lease at the end");
    for (const auto& [name, endpoint] : world_.endpoints) {
        if (!endpoint.tunnels.empty()) note(name + " keeps a tunnel at the end");
    }
}

}  // namespace dstm::sim
