// Sessions, and which request may start when. What a request then does is in the exchanges, what
// happens without one in the ledger. See broker.hpp.
#include "dstm-server/broker/broker.hpp"

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "common/base/assert.hpp"
#include "common/log/log.hpp"
#include "dstm-server/broker/create_exchange.hpp"
#include "dstm-server/broker/delete_exchange.hpp"
#include "dstm-server/broker/ledger.hpp"
#include "dstm-server/broker/reply.hpp"
#include "dstm-server/broker/terms.hpp"

namespace dstm::server {

using tsp::Status;
using tsp::TunnelAnswered;

namespace {

// What one of Kea's two servers reports.
class StoreListener final : public LeaseListener {
public:
    StoreListener(Ledger& ledger, Family family) : ledger_(ledger), family_(family) {}

    void on_lease_ended(const Lease& lease, LeaseEnd why) override {
        ledger_.on_lease_ended(lease, why);
    }
    void on_lease_store_ready() override { ledger_.leases(family_).ready(); }
    void on_lease_store_lost() override {
        log_warning("BROKER_LEASE_STORE_LOST", "family={} bindings={}",
                    family_ == Family::v4 ? 4 : 6, ledger_.table.active_count());
        ledger_.leases(family_).lost();
    }

private:
    Ledger& ledger_;
    const Family family_;
};

}  // namespace

class Broker::Machine {
public:
    Machine(BrokerConfig config, LeaseStores stores, EndpointLinks& links, AuditLog& audit,
            ReverseDelegation* dns, const Clock& clock)
        : ledger(std::move(config), stores, links, audit, dns, clock,
                 [this](const ClientId& id) { on_retired(id); }) {}

    struct Session {
        Asker asker;
        bool is_authenticated = false;
        std::optional<ClientId> client;     // of its exchange, until that is over
        std::optional<ClientId> waits_for;  // the exchange of another that is being withdrawn
    };

    void request(SessionId session, const tsp::TunnelMessage& message, Answer answer);
    void confirm(SessionId session, bool is_accepted);
    void close(SessionId session);
    void take_down_idle(const std::string& endpoint, const std::vector<IpAddress>& inner);

    Ledger ledger;
    StoreListener kea{ledger, Family::v4};
    StoreListener kea6{ledger, Family::v6};
    std::map<SessionId, Session> sessions;
    SessionId last_session = 0;

private:
    using Start = std::function<void()>;
    struct Waiting {
        SessionId session = 0;
        Start start;
    };

    void create(SessionId session, const tsp::TunnelMessage& message, Answer answer);
    [[nodiscard]] tl::expected<ClientName, Refusal> client_of(
        const Session& session, const tsp::TunnelMessage& message) const;
    void remove(SessionId session, const tsp::TunnelMessage& message, Answer answer);
    void info(const Session& session, const tsp::TunnelMessage& message, const Answer& answer);
    [[nodiscard]] std::optional<Refusal> check_relay(const CreateTerms& terms) const;
    [[nodiscard]] std::optional<Refusal> check_limits(const CreateTerms& terms) const;
    void start_or_wait(SessionId session, const ClientId& id, const Answer& answer, Start start);
    void begin_create(SessionId session, const CreateTerms& terms, Answer answer);
    void begin_delete(SessionId session, const ClientName& client, Answer answer);
    void take_down(const Lease& active, const std::string& reason);
    [[nodiscard]] std::optional<Refusal> free_mapping(const CreateTerms& terms);
    void own(SessionId session, const ClientId& id, std::shared_ptr<Exchange> exchange);
    void on_retired(const ClientId& id);

    std::map<ClientId, SessionId> owners_;  // of the exchanges under way
    std::map<ClientId, Waiting> waiting_;   // for the end of one
};

namespace {

void refuse(const Broker::Answer& answer, const Refusal& refusal) {
    answer(TunnelAnswered{refusal.status, {}, refusal.text, refusal.brokers});
}

const char* const kea_away = "The lease server is away, try again later";

}  // namespace

// --- requests ------------------------------------------------------------------------------------

void Broker::Machine::request(SessionId id, const tsp::TunnelMessage& message, Answer answer) {
    const auto at = sessions.find(id);
    if (at == sessions.end()) return;
    DSTM_ASSERT(at->second.is_authenticated);
    switch (message.action) {
        case tsp::Action::create: create(id, message, std::move(answer)); return;
        case tsp::Action::delete_tunnel: remove(id, message, std::move(answer)); return;
        case tsp::Action::info: info(at->second, message, answer); return;
        case tsp::Action::accept:
        case tsp::Action::reject:
        case tsp::Action::list: break;
    }
    refuse(answer, {Status::invalid_format, ""});
}

void Broker::Machine::create(SessionId session, const tsp::TunnelMessage& message, Answer answer) {
    auto terms = read_create(ledger.config(), sessions.at(session).asker, message);
    if (!terms) {
        refuse(answer, terms.error());
        return;
    }
    if (const auto refusal = check_relay(*terms)) {
        refuse(answer, *refusal);
        return;
    }
    // Not tried at all: an attempt whose end nobody sees would have to be cleared up later.
    const LeaseDesk& leases = ledger.leases(family_of(terms->context.type));
    if (!leases.has_listed() || !leases.is_up()) {
        refuse(answer, {Status::too_busy, kea_away});
        return;
    }
    if (const auto refusal = check_limits(*terms)) {
        refuse(answer, *refusal);
        return;
    }
    start_or_wait(session, terms->client_id, answer, [this, session, terms = *terms, answer] {
        begin_create(session, terms, answer);
    });
}

// RFC 5572 s4.5.2: a v6udpv4 tunnel has the address and port pair of its signalling, so that must
// go through an endpoint which carries it. Others are sent to such endpoints (s4.7.4).
std::optional<Refusal> Broker::Machine::check_relay(const CreateTerms& terms) const {
    if (terms.context.type != TunnelType::v6udpv4) return std::nullopt;
    Refusal refusal{Status::unsupported_tunnel_type};
    for (const EndpointInfo* endpoint : ledger.carriers(TunnelType::v6udpv4)) {
        if (endpoint->name == terms.relay) return std::nullopt;
        refusal.brokers.push_back(
            {{{tsp::AddressType::ipv4, endpoint->outer_ipv4->to_string(), {}}}});
    }
    return refusal;
}

// RFC 5572 s8. The client's own tunnel does not count: its create is an update.
std::optional<Refusal> Broker::Machine::check_limits(const CreateTerms& terms) const {
    const BrokerConfig& config = ledger.config();
    const BindingContext& context = terms.context;
    const auto is_full = [](std::size_t count, std::size_t limit) {
        return limit != 0 && count >= limit;
    };
    if (!context.user.empty() && is_full(ledger.table.count_of_user(context.user, terms.client_id),
                                         config.tunnels_per_user)) {
        return Refusal{Status::no_more_tunnels, "You have as many tunnels as a user may have"};
    }
    if (is_full(ledger.table.count_of_source(context.outer_client.address, terms.client_id),
                config.tunnels_per_address)) {
        return Refusal{Status::no_more_tunnels,
                       "There are as many tunnels as one address may have"};
    }
    // Protocol 41 has no ports: one address, one tunnel.
    if (context.type == TunnelType::v6v4 &&
        ledger.table.other_at(context.outer_client, terms.client_id)) {
        return Refusal{Status::ipv4_address_in_use};
    }
    return std::nullopt;
}

tl::expected<ClientName, Refusal> Broker::Machine::client_of(
    const Session& session, const tsp::TunnelMessage& message) const {
    auto client = read_client(ledger.config(), session.asker, message);
    if (!client || !client->otherwise) return client;
    const bool is_known =
        ledger.table.active(client->id) != nullptr || ledger.exchange(client->id) != nullptr;
    if (!is_known) client->id = *client->otherwise;
    return client;
}

void Broker::Machine::remove(SessionId session, const tsp::TunnelMessage& message, Answer answer) {
    const auto client = client_of(sessions.at(session), message);
    if (!client) {
        refuse(answer, client.error());
        return;
    }
    if (!ledger.leases(client->family).has_listed()) {
        refuse(answer, {Status::too_busy, kea_away});
        return;
    }
    start_or_wait(session, client->id, answer, [this, session, client = *client, answer] {
        begin_delete(session, client, answer);
    });
}

void Broker::Machine::info(const Session& session, const tsp::TunnelMessage& message,
                           const Answer& answer) {
    const auto client = client_of(session, message);
    if (!client) {
        refuse(answer, client.error());
        return;
    }
    if (!ledger.leases(client->family).has_listed()) {
        refuse(answer, {Status::too_busy, kea_away});
        return;
    }
    const Lease* lease = ledger.table.active(client->id);
    const auto exchange = ledger.exchange(client->id);
    if (exchange && !exchange->is_awaited() && exchange->offered() != nullptr) {
        lease = exchange->offered();
    }
    if (lease == nullptr || lease->expires_at <= ledger.wall()) {
        refuse(answer, {Status::server_error, "You have no tunnel"});
        return;
    }
    const EndpointInfo* endpoint = ledger.endpoints.find(lease->context.endpoint);
    if (endpoint == nullptr || !outer_address(*endpoint, lease->context.type)) {
        refuse(answer, {Status::too_busy, "The tunnel endpoint is away, try again later"});
        return;
    }
    TunnelAnswered found;
    found.status = Status::success;
    found.message =
        describe_tunnel(ledger.config(), *lease, *endpoint, keepalive_wish(message), ledger.wall());
    answer(std::move(found));
}

// --- one exchange a client -----------------------------------------------------------------------

// An exchange that somebody waits for goes first: 521. One that was answered (an offer not yet
// accepted) is withdrawn: its client has lost it, or would not ask again.
void Broker::Machine::start_or_wait(SessionId session, const ClientId& id, const Answer& answer,
                                    Start start) {
    const auto running = ledger.exchange(id);
    if (!running) {
        start();
        return;
    }
    Session& asking = sessions.at(session);
    if (running->is_awaited() || waiting_.contains(id) || asking.waits_for) {
        refuse(answer, {Status::in_progress, ""});
        return;
    }
    asking.waits_for = id;
    waiting_[id] = Waiting{session, std::move(start)};
    running->withdraw();
}

void Broker::Machine::begin_create(SessionId session, const CreateTerms& terms, Answer answer) {
    // It may have waited, and others may have come meanwhile.
    if (const auto refusal = check_limits(terms)) {
        refuse(answer, *refusal);
        return;
    }
    if (const auto refusal = free_mapping(terms)) {
        refuse(answer, *refusal);
        return;
    }
    auto exchange = std::make_shared<CreateExchange>(ledger, terms, std::move(answer));
    own(session, terms.client_id, exchange);
    exchange->start();
}

void Broker::Machine::begin_delete(SessionId session, const ClientName& client, Answer answer) {
    const ClientId& id = client.id;
    const Lease* active = ledger.table.active(id);
    if (active == nullptr && ledger.leases(client.family).owes_any(id)) {
        refuse(answer, {Status::too_busy, "The lease is given back when the lease server answers"});
        return;
    }
    if (active == nullptr) {
        answer(TunnelAnswered{Status::success, {}, {}, {}});  // as the client wants it
        return;
    }
    Lease binding = *active;
    binding.context.generation = ledger.newest_generation(binding);
    auto exchange =
        std::make_shared<DeleteExchange>(ledger, binding, "deleted by client", std::move(answer));
    own(session, id, exchange);
    exchange->start();
}

// A delete that no session asked for.
void Broker::Machine::take_down(const Lease& active, const std::string& reason) {
    Lease binding = active;
    binding.context.generation = ledger.newest_generation(binding);
    auto exchange = std::make_shared<DeleteExchange>(ledger, binding, reason, nullptr);
    ledger.begin(binding.client_id, exchange);
    exchange->start();
}

// RFC 5572 s4.5.2: who signals through the mapping of a tunnel has it now, and the tunnel that was
// there goes first. (That of the same client is updated in one step instead.)
std::optional<Refusal> Broker::Machine::free_mapping(const CreateTerms& terms) {
    if (terms.context.type != TunnelType::v6udpv4) return std::nullopt;
    const auto other = ledger.table.other_at(terms.context.outer_client, terms.client_id);
    if (!other) return std::nullopt;
    if (const auto exchange = ledger.exchange(*other)) {
        // What it leaves behind is seen at the next try.
        if (!exchange->is_awaited()) exchange->withdraw();
        return Refusal{Status::in_progress};
    }
    take_down(*ledger.table.active(*other), "its NAT mapping is another client's now");
    return std::nullopt;
}

// RFC 5572 s4.6: tunnels that nobody uses may be dropped. One whose client signals is in use.
void Broker::Machine::take_down_idle(const std::string& endpoint,
                                     const std::vector<IpAddress>& inner) {
    const std::set<IpAddress> idle(inner.begin(), inner.end());
    std::vector<Lease> found;
    ledger.table.for_each_active([&](const Lease& lease) {
        const bool is_it = lease.context.endpoint == endpoint && idle.contains(lease.address);
        const bool is_reachable = ledger.leases_of(lease).is_up();
        if (is_it && is_reachable && !ledger.exchange(lease.client_id)) found.push_back(lease);
    });
    for (const Lease& lease : found) take_down(lease, "idle");
}

// A session has one exchange: a new one means that the client will not accept the last offer.
void Broker::Machine::own(SessionId session, const ClientId& id,
                          std::shared_ptr<Exchange> exchange) {
    Session& owner = sessions.at(session);
    if (owner.client) {
        if (const auto last = ledger.exchange(*owner.client)) last->withdraw();
    }
    owner.client = id;
    owners_[id] = session;
    ledger.begin(id, std::move(exchange));
}

void Broker::Machine::on_retired(const ClientId& id) {
    if (const auto owner = owners_.extract(id); !owner.empty()) {
        const auto session = sessions.find(owner.mapped());
        if (session != sessions.end() && session->second.client == id) {
            session->second.client.reset();
        }
    }

    const auto next = waiting_.extract(id);
    if (next.empty()) return;
    sessions.at(next.mapped().session).waits_for.reset();
    next.mapped().start();
}

void Broker::Machine::confirm(SessionId id, bool is_accepted) {
    const auto at = sessions.find(id);
    if (at == sessions.end() || !at->second.client) return;
    const auto exchange = ledger.exchange(*at->second.client);
    if (!exchange) return;
    if (is_accepted) {
        exchange->accept();
    } else {
        exchange->withdraw();
    }
}

void Broker::Machine::close(SessionId id) {
    auto session = sessions.extract(id);
    if (session.empty()) return;
    if (session.mapped().waits_for) waiting_.erase(*session.mapped().waits_for);
    if (!session.mapped().client) return;
    if (const auto exchange = ledger.exchange(*session.mapped().client)) exchange->withdraw();
}

// --- the face ------------------------------------------------------------------------------------

Broker::Broker(BrokerConfig config, LeaseStores stores, EndpointLinks& links, AuditLog& audit,
               ReverseDelegation* dns, const Clock& clock)
    : stores_(stores),
      links_(links),
      machine_(std::make_unique<Machine>(std::move(config), stores, links, audit, dns, clock)) {
    if (stores_.v4 != nullptr) stores_.v4->set_listener(&machine_->kea);
    if (stores_.v6 != nullptr) stores_.v6->set_listener(&machine_->kea6);
    links_.set_listener(this);
}

Broker::~Broker() {
    if (stores_.v4 != nullptr) stores_.v4->set_listener(nullptr);
    if (stores_.v6 != nullptr) stores_.v6->set_listener(nullptr);
    links_.set_listener(nullptr);
}

SessionId Broker::open(const SessionPeer& peer) {
    const SessionId id = ++machine_->last_session;
    machine_->sessions[id].asker = Asker{"", peer.remote, peer.relay};
    return id;
}

void Broker::authenticated(SessionId session, std::string user) {
    const auto at = machine_->sessions.find(session);
    if (at == machine_->sessions.end()) return;
    DSTM_ASSERT(!at->second.is_authenticated);
    at->second.asker.user = std::move(user);
    at->second.is_authenticated = true;
}

void Broker::request(SessionId session, const tsp::TunnelMessage& message, Answer answer) {
    machine_->request(session, message, std::move(answer));
}

void Broker::accept(SessionId session) { machine_->confirm(session, true); }
void Broker::reject(SessionId session) { machine_->confirm(session, false); }
void Broker::close(SessionId session) { machine_->close(session); }
void Broker::tick() { machine_->ledger.tick(); }

void Broker::reconfigure(BrokerConfig config) { machine_->ledger.reconfigure(std::move(config)); }

BrokerStatus Broker::status() const {
    const Ledger& ledger = machine_->ledger;
    const LeaseDesk& v4 = ledger.leases(Family::v4);
    const LeaseDesk& v6 = ledger.leases(Family::v6);
    return BrokerStatus{.kea = {v4.is_used(), v4.is_up(), v4.has_listed()},
                        .kea6 = {v6.is_used(), v6.is_up(), v6.has_listed()},
                        .sessions = machine_->sessions.size(),
                        .bindings = ledger.table.active_count(),
                        .exchanges = ledger.exchanges().size(),
                        .debts = v4.debt_count() + v6.debt_count()};
}

std::vector<BindingView> Broker::bindings() const {
    std::vector<BindingView> views;
    machine_->ledger.table.for_each_active([&](const Lease& lease) {
        views.push_back(BindingView{lease, true});
    });
    for (const auto& [id, exchange] : machine_->ledger.exchanges()) {
        if (const Lease* offered = exchange->offered()) {
            views.push_back(BindingView{*offered, false});
        }
    }
    return views;
}

std::vector<EndpointView> Broker::endpoints() const {
    std::vector<EndpointView> views;
    for (const auto& endpoint : machine_->ledger.endpoints.views()) {
        const auto count = machine_->ledger.table.count_of_endpoint(endpoint.info.name);
        views.push_back(EndpointView{endpoint.info, endpoint.connected, endpoint.in_sync, count});
    }
    return views;
}

void Broker::on_endpoint_up(const EndpointInfo& info) {
    log_info("BROKER_ENDPOINT_UP", "endpoint={} group={} data-plane={} tunnels={}",
             log::quoted(info.name), log::quoted(info.group), log::quoted(info.data_plane),
             info.tunnels);
    machine_->ledger.endpoints.up(info);
}

void Broker::on_endpoint_gone(const std::string& name) {
    log_warning("BROKER_ENDPOINT_GONE", "endpoint={} bindings={}", log::quoted(name),
                machine_->ledger.table.count_of_endpoint(name));
    machine_->ledger.endpoints.gone(name);
}

void Broker::on_tunnels_idle(const std::string& name, const std::vector<IpAddress>& inner) {
    log_debug("BROKER_TUNNELS_IDLE", "endpoint={} tunnels={}", log::quoted(name), inner.size());
    if (machine_->ledger.config().idle_tunnels == IdleTunnels::remove) {
        machine_->take_down_idle(name, inner);
    }
}

}  // namespace dstm::server
