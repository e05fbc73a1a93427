// A campus in memory. See broker_world.hpp.
#include "support/broker_world.hpp"

#include <set>

namespace dstm::support {

using server::Lease;

namespace {
const Ipv4Prefix pool = *Ipv4Prefix::parse("192.0.2.0/24");
}  // namespace

BrokerWorld::Server::Server(BrokerWorld& world)
    : store(world.scheduler, world.kea, world.fates),
      links(world.scheduler, world.fates),
      broker(world.config, store, links, world.audit, world.scheduler.clock) {}

BrokerWorld::BrokerWorld(std::size_t pool_size)
    : kea(scheduler, *Ipv4Address::parse("192.0.2.10"), pool_size) {
    beat();
}

BrokerWorld::~BrokerWorld() = default;

// What goes on by itself, once a second.
void BrokerWorld::beat() {
    scheduler.post(std::chrono::seconds(1), [this] {
        for (auto& [name, endpoint] : endpoints) endpoint.drop_expired(scheduler.clock.wall());
        if (++beats_ % 10 == 0) kea.reclaim_expired();
        if (server_) server_->broker.tick();
        beat();
    });
}

server::EndpointInfo BrokerWorld::endpoint_info(const std::string& name) {
    server::EndpointInfo info;
    info.name = name;
    info.group = "campus";
    info.types = {TunnelType::v4v6};
    info.outer_ipv6 = Ipv6Address::parse("2001:db8:2::" + std::to_string(name.back() - '0'));
    info.inner_ipv4 = *Ipv4Address::parse("192.0.2.1");
    info.pools = {pool};
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
    server_->store.connect();
    for (auto& [name, endpoint] : endpoints) server_->links.connect(endpoint);
}

void BrokerWorld::kill_server(bool requests_survive) {
    if (requests_survive) {
        server_->store.let_requests_survive();
        server_->links.let_requests_survive();
    }
    server_.reset();
}

// --- dialogues -----------------------------------------------------------------------------------

std::shared_ptr<Dialogue> BrokerWorld::open(const std::string& user, const std::string& source) {
    auto dialogue = std::make_shared<Dialogue>();
    dialogue->source = source;
    const IpEndpoint remote{*parse_ip_address(source), 40000};
    dialogue->session = broker().open({remote, server::Transport::tcp, false});
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
    message.type = tsp::RequestType::v4v6;
    tsp::Party client;
    client.addresses = {{tsp::AddressType::ipv6, address, {}}};
    message.client = client;
    return message;
}

void BrokerWorld::ask_create(const std::shared_ptr<Dialogue>& dialogue) {
    ask(dialogue, create_message(dialogue->source));
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

std::optional<Ipv4Address> BrokerWorld::set_up(const std::string& user, const std::string& source) {
    const auto dialogue = open(user, source);
    ask_create(dialogue);
    if (!dialogue->is_answered()) wait_answer(dialogue);
    if (!dialogue->is_answered() || dialogue->status() != tsp::Status::success) {
        return std::nullopt;
    }
    broker().accept(dialogue->session);
    broker().close(dialogue->session);
    const auto& client = dialogue->answers.back().message->client;
    return Ipv4Address::parse(client->find(tsp::AddressType::ipv4)->text);
}

// --- what must hold ------------------------------------------------------------------------------

void BrokerWorld::settle() {
    fates = nullptr;
    if (!kea.is_running()) kea.start();
    if (!server_) start_server();
    server_->store.connect();
    for (auto& [name, endpoint] : endpoints) server_->links.connect(endpoint);
    scheduler.run_for(std::chrono::seconds(60));
}

std::vector<std::string> BrokerWorld::problems_at_any_time() const {
    std::vector<std::string> found;
    std::set<server::ClientId> clients;
    for (const auto& [address, lease] : kea.leases) {
        if (!clients.insert(lease.client_id).second) {
            found.push_back("two leases of one client, one is " + address.to_string());
        }
    }
    return found;
}

void BrokerWorld::check_tunnels(std::vector<std::string>& found) const {
    for (const auto& [name, endpoint] : endpoints) {
        for (const auto& [inner, tunnel] : endpoint.tunnels) {
            const std::string what = name + " carries " + to_string(inner);
            const auto at = kea.leases.find(std::get<Ipv4Address>(inner));
            if (at == kea.leases.end()) {
                found.push_back(what + " without a lease");
                continue;
            }
            const Lease& lease = at->second;
            if (lease.context.endpoint != name)
                found.push_back(what + ", its lease says elsewhere");
            if (lease.context.generation != tunnel.generation) {
                found.push_back(what + " in another generation than its lease");
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
    std::set<Ipv4Address> bound;
    for (const auto& binding : broker().bindings()) {
        const Lease& lease = binding.lease;
        const std::string what = "the binding of " + lease.address.to_string();
        bound.insert(lease.address);
        const auto at = kea.leases.find(lease.address);
        if (at == kea.leases.end()) {
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
    for (const auto& [address, lease] : kea.leases) {
        if (!bound.contains(address)) found.push_back("leaked lease " + address.to_string());
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
