// What happens to the hosts, and what must hold. See client_simulation.hpp.
#include "sim/client_simulation.hpp"

#include <map>

namespace dstm::sim {

using support::Fate;

ClientSimulation::ClientSimulation(std::uint64_t seed, std::size_t hosts)
    : random_(seed), world_(hosts) {
    world_.config.lifetime_s =
        static_cast<std::uint32_t>(std::chrono::seconds(lease_time).count());
    world_.add_endpoint("tep1");
    world_.add_endpoint("tep2");
    world_.start_server();
    for (std::size_t i = 0; i < hosts; ++i) {
        ClientHost::Config config;
        config.user = "user" + std::to_string(i / 2);  // two hosts each
        config.host_id = "host" + std::to_string(i);
        config.seed = seed + i;
        config.delay = [this] { return between(delay_min, delay_max); };
        hosts_.emplace_back(world_, std::move(config)).move_to(address_in(0, i));
    }
}

IpAddress ClientSimulation::address_in(std::size_t network, std::size_t host) {
    return *parse_ip_address("2001:db8:" + std::to_string(network + 11) +
                             "::" + std::to_string(host + 1));
}

Duration ClientSimulation::between(Duration least, Duration most) {
    return least + Duration(static_cast<Duration::rep>(
                       pick(static_cast<std::size_t>((most - least).count()) + 1)));
}

// --- time ----------------------------------------------------------------------------------------

bool ClientSimulation::run_until(const std::function<bool()>& holds, Duration bound) {
    const auto is_over = std::make_shared<bool>(false);
    world_.scheduler.post(bound, [is_over] { *is_over = true; });
    while (!holds()) {
        if (*is_over) return false;
        world_.scheduler.run_one();
        look();
    }
    return true;
}

void ClientSimulation::run_for(Duration span) {
    (void)run_until([] { return false; }, span);
}

bool ClientSimulation::all_up() {
    return std::ranges::all_of(
        hosts_, [](const ClientHost& host) { return host.is_up() && host.works(); });
}

// --- what must hold at any time ------------------------------------------------------------------

void ClientSimulation::look() {
    if (!found_.empty()) return;
    for (const auto& problem : world_.problems_at_any_time()) note(problem);
    std::map<IpAddress, const ClientHost*> holders;
    for (const ClientHost& host : hosts_) {
        const auto problem = host.problem();
        if (!problem.empty()) note(host.name() + " " + problem);
        if (!host.works()) continue;
        const auto [at, is_first] = holders.emplace(*host.inner(), &host);
        if (!is_first) note(host.name() + " has the address of " + at->second->name());
    }
    for (const ClientHost& host : hosts_) {
        const auto& binding = host.engine().binding();
        if (!binding) continue;
        const auto lease = world_.kea.leases.find(binding->offer.inner);
        const bool is_own =
            lease != world_.kea.leases.end() && lease->second.client_id == host.client_id();
        if (is_own && binding->ends_at_wall > lease->second.expires_at) {
            note(host.name() + " believes in its lease for longer than Kea");
        }
    }
    const auto latest = world_.scheduler.clock.wall() + lease_time;
    for (const auto& [address, lease] : world_.kea.leases) {
        if (lease.expires_at > latest) note("the lease of " + to_string(address) + " has no end");
    }
}

// --- a life --------------------------------------------------------------------------------------

void ClientSimulation::live(int events) {
    world_.fates = [this](std::string_view) { return fate(); };
    for (ClientHost& host : hosts_) host.start();
    for (int i = 0; i < events && found_.empty(); ++i) {
        if (chance(75)) {
            host_event(pick(hosts_.size()));
        } else {
            world_event();
        }
        run_for(between(Duration(0), std::chrono::seconds(chance(10) ? 300 : 5)));
    }
    if (found_.empty()) make_peace();
    if (found_.empty()) end_all();
}

Fate ClientSimulation::fate() {
    Fate fate;
    fate.effect_after = between(Duration(0), Duration(30));
    fate.answer_after = between(Duration(0), chance(3) ? Duration(5000) : Duration(50));
    if (!chance(5)) return fate;
    constexpr ErrorCode codes[] = {ErrorCode::refused, ErrorCode::unavailable,
                                   ErrorCode::timed_out, ErrorCode::internal};
    fate.error = codes[pick(std::size(codes))];
    fate.happens = *fate.error != ErrorCode::refused && chance(50);
    return fate;
}

void ClientSimulation::host_event(std::size_t index) {
    ClientHost& host = this->host(index);
    if (host.is_asleep()) return chance(50) ? host.wake() : void();
    switch (pick(10)) {
        case 0:
        case 1:
        case 2: return host.move_to(address_in(pick(3), index));
        case 3: {  // there and back
            const auto home = host.place();
            host.move_to(address_in(pick(3), index));
            run_for(between(Duration(0), Duration(300)));
            return host.move_to(home);
        }
        case 4: return host.move_to(std::nullopt);
        case 5: return host.sleep();
        case 6: return host.stop();
        case 7: return host.start();
        case 8:  // the report comes late
            host.slip_to(address_in(pick(3), index));
            run_for(between(Duration(0), Duration(300)));
            return host.chatter();
        default: return host.chatter();
    }
}

void ClientSimulation::world_event() {
    const auto endpoint = std::next(world_.endpoints.begin(), pick(world_.endpoints.size()));
    switch (pick(7)) {
        case 0:
        case 1:
            if (world_.has_server()) return world_.kill_server(chance(70));
            return world_.start_server();
        case 2:
            if (world_.kea.is_running()) return world_.kea.stop();
            return world_.kea.start();
        case 3:
            if (world_.has_server()) world_.links().disconnect(endpoint->first);
            return;
        case 4:  // it restarts
            if (world_.has_server()) world_.links().disconnect(endpoint->first);
            endpoint->second.tunnels.clear();
            break;
        case 5: return run_for(between(Duration(0), std::chrono::minutes(60)));
        default: break;
    }
    if (world_.has_server()) world_.connect_all();
}

void ClientSimulation::make_peace() {
    world_.fates = nullptr;
    if (!world_.kea.is_running()) world_.kea.start();
    if (!world_.has_server()) world_.start_server();
    world_.connect_all();
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
        host(i).wake();
        if (!host(i).place()) host(i).move_to(address_in(0, i));
    }
    // A stop that is under way is not taken back by a start.
    run_for(std::chrono::seconds(30));
    for (ClientHost& host : hosts_) host.start();
    // The longest wait is that after a refusal, or for three lost keepalives.
    if (!run_until([this] { return all_up(); }, std::chrono::minutes(15))) {
        for (const ClientHost& host : hosts_) {
            const auto state = std::string(client::to_string(host.engine().state()));
            if (!host.is_up()) note(host.name() + " is " + state + " in peace");
            if (host.is_up() && !host.works()) note(host.name() + " is up and has no tunnel");
        }
    }
    run_for(std::chrono::seconds(60));
    for (const auto& problem : world_.problems()) note(problem + ", in peace");
}

// Half of them say good-bye.
void ClientSimulation::end_all() {
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
        if (i % 2 == 0) {
            host(i).stop();
        } else {
            host(i).switch_off();
        }
    }
    run_for(std::chrono::seconds(10));
    for (std::size_t i = 0; i < hosts_.size(); i += 2) {
        if (host(i).inner()) note(host(i).name() + " keeps its tunnel after the stop");
    }
    if (world_.kea.leases.size() > hosts_.size() / 2) note("a lease was not given back");
    run_for(lease_time + std::chrono::minutes(1));
    if (!world_.kea.leases.empty()) note("a lease has no end");
    for (const auto& [name, endpoint] : world_.endpoints) {
        if (!endpoint.tunnels.empty()) note(name + " keeps a tunnel at the end");
    }
}

}  // namespace dstm::sim
