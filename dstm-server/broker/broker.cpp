// Sessions, and which request may start when. What a request then does is in the exchanges, what
// happens without one in the ledger. See broker.hpp.
#include "dstm-server/broker/broker.hpp"

#include <map>
#include <optional>
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

class Broker::Machine {
public:
    Machine(BrokerConfig config, LeaseStore& leases, EndpointLinks& links, AuditLog& audit,
            const Clock& clock)
        : ledger(std::move(config), leases, links, audit, clock,
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

    Ledger ledger;
    std::map<SessionId, Session> sessions;
    SessionId last_session = 0;

private:
    using Start = std::function<void()>;
    struct Waiting {
        SessionId session = 0;
        Start start;
    };

    void create(SessionId session, const tsp::TunnelMessage& message, Answer answer);
    void remove(SessionId session, const tsp::TunnelMessage& message, Answer answer);
    void info(const Session& session, const tsp::TunnelMessage& message, const Answer& answer);
    [[nodiscard]] std::optional<Refusal> check_quota(const CreateTerms& terms) const;
    void start_or_wait(SessionId session, const ClientId& id, const Answer& answer, Start start);
    void begin_create(SessionId session, const CreateTerms& terms, Answer answer);
    void begin_delete(SessionId session, const ClientId& id, Answer answer);
    void own(SessionId session, const ClientId& id, std::shared_ptr<Exchange> exchange);
    void on_retired(const ClientId& id);

    std::map<ClientId, SessionId> owners_;  // of the exchanges under way
    std::map<ClientId, Waiting> waiting_;   // for the end of one
};

namespace {

void refuse(const Broker::Answer& answer, const Refusal& refusal) {
    answer(TunnelAnswered{refusal.status, {}, refusal.text, {}});
}

}  // namespace

// --- requests ------------------------------------------------------------------------------------

void Broker::Machine::request(SessionId id, const tsp::TunnelMessage& message, Answer answer) {
    const auto at = sessions.find(id);
    if (at == sessions.end()) return;
    DSTM_ASSERT(at->second.is_authenticated);
    if (!ledger.leases.has_listed()) {
        refuse(answer, {Status::too_busy, "The lease server is away, try again later"});
        return;
    }
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
    if (const auto refusal = check_quota(*terms)) {
        refuse(answer, *refusal);
        return;
    }
    // Not tried at all: an attempt whose end nobody sees would have to be cleared up later.
    if (!ledger.leases.is_up()) {
        refuse(answer, {Status::too_busy, "The lease server is away, try again later"});
        return;
    }
    start_or_wait(session, terms->client_id, answer, [this, session, terms = *terms, answer] {
        begin_create(session, terms, answer);
    });
}

// RFC 5572 s8. The client's own tunnel does not count: its create is an update.
std::optional<Refusal> Broker::Machine::check_quota(const CreateTerms& terms) const {
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
    return std::nullopt;
}

void Broker::Machine::remove(SessionId session, const tsp::TunnelMessage& message, Answer answer) {
    const auto id = read_client_id(ledger.config(), sessions.at(session).asker, message);
    if (!id) {
        refuse(answer, id.error());
        return;
    }
    start_or_wait(session, *id, answer,
                  [this, session, id = *id, answer] { begin_delete(session, id, answer); });
}

void Broker::Machine::info(const Session& session, const tsp::TunnelMessage& message,
                           const Answer& answer) {
    const auto id = read_client_id(ledger.config(), session.asker, message);
    if (!id) {
        refuse(answer, id.error());
        return;
    }
    const Lease* lease = ledger.table.active(*id);
    const auto exchange = ledger.exchange(*id);
    if (exchange && !exchange->is_awaited() && exchange->offered() != nullptr) {
        lease = exchange->offered();
    }
    if (lease == nullptr || lease->expires_at <= ledger.wall()) {
        refuse(answer, {Status::server_error, "You have no tunnel"});
        return;
    }
    const EndpointInfo* endpoint = ledger.endpoints.find(lease->context.endpoint);
    if (endpoint == nullptr || !endpoint->outer_ipv6) {
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
    auto exchange = std::make_shared<CreateExchange>(ledger, terms, std::move(answer));
    own(session, terms.client_id, exchange);
    exchange->start();
}

void Broker::Machine::begin_delete(SessionId session, const ClientId& id, Answer answer) {
    const Lease* active = ledger.table.active(id);
    if (active == nullptr && ledger.leases.owes_any(id)) {
        refuse(answer, {Status::too_busy, "The lease is given back when the lease server answers"});
        return;
    }
    if (active == nullptr) {
        answer(TunnelAnswered{Status::success, {}, {}, {}});  // as the client wants it
        return;
    }
    Lease binding = *active;
    binding.context.generation = ledger.newest_generation(binding);
    auto exchange = std::make_shared<DeleteExchange>(ledger, binding, std::move(answer));
    own(session, id, exchange);
    exchange->start();
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
    const auto owner = owners_.extract(id);
    DSTM_ASSERT(!owner.empty());
    const auto session = sessions.find(owner.mapped());
    if (session != sessions.end() && session->second.client == id) session->second.client.reset();

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

Broker::Broker(BrokerConfig config, LeaseStore& leases, EndpointLinks& links, AuditLog& audit,
               const Clock& clock)
    : leases_(leases),
      links_(links),
      machine_(std::make_unique<Machine>(std::move(config), leases, links, audit, clock)) {
    leases_.set_listener(this);
    links_.set_listener(this);
}

Broker::~Broker() {
    leases_.set_listener(nullptr);
    links_.set_listener(nullptr);
}

SessionId Broker::open(const SessionPeer& peer) {
    const SessionId id = ++machine_->last_session;
    machine_->sessions[id].asker.source = peer.remote.address;
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
    return BrokerStatus{.ready = ledger.leases.has_listed(),
                        .lease_store_up = ledger.leases.is_up(),
                        .sessions = machine_->sessions.size(),
                        .bindings = ledger.table.active_count(),
                        .exchanges = ledger.exchanges().size(),
                        .debts = ledger.leases.debt_count()};
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

void Broker::on_lease_ended(const Lease& lease, LeaseEnd why) {
    machine_->ledger.on_lease_ended(lease, why);
}

void Broker::on_lease_store_ready() { machine_->ledger.leases.ready(); }

void Broker::on_lease_store_lost() {
    log_warning("BROKER_LEASE_STORE_LOST", "bindings={}", machine_->ledger.table.active_count());
    machine_->ledger.leases.lost();
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

// A tunnel nobody uses costs nothing but its lease, which ends by time.
void Broker::on_tunnels_idle(const std::string& name, const std::vector<IpAddress>& inner) {
    log_debug("BROKER_TUNNELS_IDLE", "endpoint={} tunnels={}", log::quoted(name), inner.size());
}

}  // namespace dstm::server
