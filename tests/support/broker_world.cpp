// A campus in memory. See broker_world.hpp.
#include "support/broker_world.hpp"

#include <set>

namespace dstm::support {

using server::Lease;

namespace {
const Ipv4Prefix pool = *Ipv4Prefix::parse("192.0.2.0/24");
const Ipv6Prefix pool6 = *Ipv6Prefix::parse("2001:db8:100::/64");
const Ipv6Prefix prefixes = *Ipv6Prefix::parse("2001:db8:f00::/40");
}  // namespace

BrokerWorld::Server::Server(BrokerWorld& world)
    : store(world.scheduler, world.kea, world.fates),
      store6(world.scheduler, world.kea6, world.fates),
      links(world.scheduler, world.fates),
      broker(world.config, {&store, &store6}, links, world.audit, &world.dns,
             world.scheduler.clock) {}

BrokerWorld::BrokerWorld(std::size_t pool_size)
    : kea(scheduler, server::Family::v4, pool_size),
      kea6(scheduler, server::Family::v6, pool_size) {
    config.tunnel_types = {TunnelType::v4v6, TunnelType::v6v4, TunnelType::v6udpv4};
    beat();
}

BrokerWorld::~BrokerWorld() = default;

// What goes on by itself, once a second.
void BrokerWorld::beat() {
    scheduler.post(std::chrono::seconds(1), [this] {
        for (auto& [name, endpoint] : endpoints) endpoint.drop_expired(scheduler.clock.wall());
        if (++beats_ % 10 == 0) {
            kea.reclaim_expired();
            kea6.reclaim_expired();
        }
        if (server_) server_->broker.tick();
        beat();
    });
}

server::EndpointInfo BrokerWorld::endpoint_info(const std::string& name) {
    server::EndpointInfo info;
    info.name = name;
    info.group = "campus";
    info.types = {TunnelType::v4v6, TunnelType::v6v4, TunnelType::v6udpv4};
    const std::string number = std::to_string(name.back() - '0');
    info.outer_ipv6 = Ipv6Address::parse("2001:db8:2::" + number);
    info.outer_ipv4 = Ipv4Address::parse("198.51.100." + number);
    info.inner_ipv4 = *Ipv4Address::parse("192.0.2.1");
    info.inner_ipv6 = Ipv6Address::parse("2001:db8:100::1");
    info.pools = {pool};
    info.pools_ipv6 = {pool6, prefixes};
    info.data_plane = "model";
    return info;
}

MemoryEndpoint& BrokerWorld::add_endpoint(const std::string& name) {
    auto& endpoint = endpoints.emplace(name, MemoryEndpoint(endpoint_info(name))).first->second;
    if (server_) server_->links.connect(endpoint);
    return endpoint;
}

void BrokerWorld::start_server() {
    ++server_life_;
    server_ = std::make_unique<Server>(*this);
    connect_all();
}

void BrokerWorld::connect_all() {
    server_->store.connect();
    server_->store6.connect();
    for (auto& [name, endpoint] : endpoints) server_->links.connect(endpoint);
}

void BrokerWorld::kill_server(bool requests_survive) {
    if (requests_survive) {
        server_->store.let_requests_survive();
        server_->store6.let_requests_survive();
        server_->links.let_requests_survive();
    }
    server_.reset();
}

// --- dialogues -----------------------------------------------------------------------------------

std::shared_ptr<Dialogue> BrokerWorld::open(const std::string& user, const std::string& source,
                                            const std::string& relay, std::uint16_t port) {
    auto dialogue = std::make_shared<Dialogue>();
    dialogue->source = source;
    dialogue->relay = relay;
    const IpEndpoint remote{*parse_ip_address(source), port};
    const auto transport = relay.empty() ? server::Transport::tcp : server::Transport::udp;
    dialogue->session = broker().open({remote, transport, false, relay});
    broker().authenticated(dialogue->session, user);
    return dialogue;
}

void BrokerWorld::ask(const std::shared_ptr<Dialogue>& dialogue,
                      const tsp::TunnelMessage& message) {
    broker().request(dialogue->session, message, [dialogue](tsp::TunnelAnswered answer) {
        dialogue->answers.push_back(std::move(answer));
    });
}

tsp::TunnelMessage BrokerWorld::create_message(const std::string& address) {
    tsp::TunnelMessage message;
    message.action = tsp::Action::create;
    const bool is_v4 = Ipv4Address::parse(address).has_value();
    message.type = is_v4 ? tsp::RequestType::v6v4 : tsp::RequestType::v4v6;
    tsp::Party client;
    client.addresses = {{is_v4 ? tsp::AddressType::ipv4 : tsp::AddressType::ipv6, address, {}}};
    message.client = client;
    return message;
}

tsp::TunnelMessage BrokerWorld::create_message(const Dialogue& dialogue) {
    if (dialogue.relay.empty()) return create_message(dialogue.source);
    auto message = create_message(behind_nat);
    message.type = tsp::RequestType::v6anyv4;
    return message;
}

tsp::TunnelMessage BrokerWorld::with_router(tsp::TunnelMessage message, std::uint32_t length) {
    message.client->router = tsp::Router{tsp::Prefix{length, ""}, {}};
    return message;
}

void BrokerWorld::ask_create(const std::shared_ptr<Dialogue>& dialogue) {
    ask(dialogue, create_message(*dialogue));
}

void BrokerWorld::ask_delete(const std::shared_ptr<Dialogue>& dialogue) {
    tsp::TunnelMessage message;
    message.action = tsp::Action::delete_tunnel;
    ask(dialogue, message);
}

void BrokerWorld::ask_info(const std::shared_ptr<Dialogue>& dialogue) {
    tsp::TunnelMessage message;
    message.action = tsp::Action::info;
    ask(dialogue, message);
}

bool BrokerWorld::wait_answer(const std::shared_ptr<Dialogue>& dialogue) {
    const std::size_t before = dialogue->answers.size();
    return scheduler.run_until([&] { return dialogue->answers.size() > before; });
}

IpAddress BrokerWorld::inner_of(const tsp::TunnelMessage& answer) {
    const auto type = answer.type == tsp::RequestType::v4v6 ? tsp::AddressType::ipv4
                                                            : tsp::AddressType::ipv6;
    return *parse_ip_address(answer.client->find(type)->text);
}

std::optional<IpAddress> BrokerWorld::set_up(const std::string& user, const std::string& source,
                                             const std::string& relay, std::uint16_t port) {
    const auto dialogue = open(user, source, relay, port);
    ask_create(dialogue);
    if (!dialogue->is_answered()) wait_answer(dialogue);
    if (!dialogue->is_answered() || dialogue->status() != tsp::Status::success) {
        return std::nullopt;
    }
    broker().accept(dialogue->session);
    broker().close(dialogue->session);
    return inner_of(*dialogue->answers.back().message);
}

// --- what must hold ------------------------------------------------------------------------------

void BrokerWorld::settle() {
    fates = nullptr;
    if (!kea.is_running()) kea.start();
    if (!kea6.is_running()) kea6.start();
    if (!server_) start_server();
    connect_all();
    scheduler.run_for(std::chrono::seconds(60));
}

std::vector<std::string> BrokerWorld::problems_at_any_time() const {
    std::vector<std::string> found;
    std::set<server::ClientId> clients;
    for (const MemoryKea* one : {&kea, &kea6}) {
        for (const auto& [address, lease] : one->leases) {
            if (!clients.insert(lease.client_id).second) {
                found.push_back("two leases of one client, one is " + to_string(address));
            }
        }
    }
    return found;
}

void BrokerWorld::check_tunnels(std::vector<std::string>& found) {
    for (const auto& [name, endpoint] : endpoints) {
        for (const auto& [inner, tunnel] : endpoint.tunnels) {
            const std::string what = name + " carries " + to_string(inner);
            const auto& leases = kea_of(inner).leases;
            const auto at = leases.find(inner);
            if (at == leases.end()) {
                found.push_back(what + " without a lease");
                continue;
            }
            const Lease& lease = at->second;
            if (lease.context.endpoint != name)
                found.push_back(what + ", its lease says elsewhere");
            if (lease.context.generation != tunnel.generation) {
                found.push_back(what + " in another generation than its lease");
            }
            if (lease.prefix != tunnel.inner_prefix) {
                found.push_back(what + " with another prefix than its lease");
            }
            if (lease.context.outer_client != tunnel.outer_client) {
                found.push_back(what + " for another outer address than its lease");
            }
            if (lease.expires_at != tunnel.expires_at) {
                found.push_back(what + " until another time than its lease");
            }
        }
    }
}

void BrokerWorld::check_bindings(std::vector<std::string>& found) {
    std::set<IpAddress> bound;
    std::set<IpEndpoint> direct;  // protocol 41 has no ports: one address, one tunnel
    for (const auto& binding : broker().bindings()) {
        const Lease& lease = binding.lease;
        const std::string what = "the binding of " + to_string(lease.address);
        bound.insert(lease.address);
        if (lease.context.type == TunnelType::v6v4 &&
            !direct.insert(lease.context.outer_client).second) {
            found.push_back(what + " has the outer address of another");
        }
        const auto& leases = kea_of(lease.address).leases;
        const auto at = leases.find(lease.address);
        if (at == leases.end()) {
            found.push_back(what + " has no lease");
        } else if (at->second != lease) {
            found.push_back(what + " differs from its lease");
        }
        // Its endpoint ends a tunnel to the second, Kea gets to the lease a little later.
        if (lease.expires_at <= scheduler.clock.wall()) continue;
        const auto endpoint = endpoints.find(lease.context.endpoint);
        if (endpoint == endpoints.end() || !endpoint->second.tunnels.contains(lease.address)) {
            found.push_back(what + " is not installed");
        }
    }
    for (const MemoryKea* one : {&kea, &kea6}) {
        for (const auto& [address, lease] : one->leases) {
            if (!bound.contains(address)) found.push_back("leaked lease " + to_string(address));
        }
    }
}

std::vector<std::string> BrokerWorld::problems() {
    std::vector<std::string> found = problems_at_any_time();
    check_tunnels(found);
    check_bindings(found);
    const auto status = broker().status();
    if (status.debts != 0) found.push_back(std::to_string(status.debts) + " debts");
    return found;
}

}  // namespace dstm::support
