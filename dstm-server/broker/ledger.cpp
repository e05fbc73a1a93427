// Table, lease store and endpoints kept equal. See ledger.hpp.
#include "dstm-server/broker/ledger.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "common/log/log.hpp"

namespace dstm::server {
namespace {

const char* reason_of(LeaseEnd why) {
    switch (why) {
        case LeaseEnd::expired: return "expired";
        case LeaseEnd::released: return "released by DHCP";
        case LeaseEnd::declined: return "declined by DHCP";
        case LeaseEnd::deleted: return "deleted by operator";
    }
    return "";
}

std::optional<TunnelSpec> spec_at(const Lease& lease, const EndpointInfo& endpoint) {
    const auto outer_server = outer_address(endpoint, lease.context.type);
    if (!outer_server) return std::nullopt;
    return TunnelSpec{.type = lease.context.type,
                      .inner = lease.address,
                      .inner_prefix = lease.prefix,
                      .outer_client = lease.context.outer_client,
                      .outer_server = *outer_server,
                      .generation = lease.context.generation,
                      .expires_at = lease.expires_at};
}

}  // namespace

Ledger::Ledger(BrokerConfig config, LeaseStores stores, EndpointLinks& links, AuditLog& audit,
               ReverseDelegation* dns, const Clock& clock,
               std::function<void(const ClientId&)> retired)
    : config_(std::move(config)),
      audit_(audit),
      clock_(clock),
      generations_(clock.wall()),
      endpoints(config_, links, clock, generations_,
                [this](const EndpointInfo& endpoint) { return desired(endpoint); }),
      delegations(dns, clock),
      leases_v4_(config_, stores.v4, Family::v4, clock,
                 [this](const LeaseList& list) { reconcile(Family::v4, list); }),
      leases_v6_(config_, stores.v6, Family::v6, clock,
                 [this](const LeaseList& list) { reconcile(Family::v6, list); }),
      retired_(std::move(retired)) {}

const EndpointInfo* Ledger::choose_endpoint(const EndpointWish& wish) const {
    return endpoints.choose(wish, [this](const std::string& name) { return load(name); });
}

std::vector<const EndpointInfo*> Ledger::carriers(TunnelType type) const {
    return endpoints.carriers(type, [this](const std::string& name) { return load(name); });
}

std::optional<TunnelSpec> Ledger::spec_of(const Lease& lease) const {
    const EndpointInfo* endpoint = endpoints.find(lease.context.endpoint);
    return endpoint == nullptr ? std::nullopt : spec_at(lease, *endpoint);
}

// Accepted bindings and what is being offered. Where both are of one client on one endpoint, the
// offer stands: it has the higher generation.
std::vector<TunnelSpec> Ledger::desired(const EndpointInfo& endpoint) const {
    std::vector<TunnelSpec> specs;
    // Whether the lease is for a tunnel at this endpoint.
    const auto add = [&](const Lease& lease) {
        if (lease.context.endpoint != endpoint.name) return false;
        auto spec = spec_at(lease, endpoint);
        if (spec) specs.push_back(*std::move(spec));
        return true;
    };
    std::set<ClientId> replaced;
    for (const auto& [id, exchange] : exchanges_) {
        const Lease* offered = exchange->offered();
        const bool is_here = offered != nullptr && add(*offered);
        if (is_here || exchange->takes_down()) replaced.insert(id);
    }
    table.for_each_active([&](const Lease& lease) {
        if (!replaced.contains(lease.client_id)) add(lease);
    });
    return specs;
}

void Ledger::audit(AuditRecord::Event event, const Lease& lease, const std::string& reason) {
    const BindingContext& context = lease.context;
    audit_.write(AuditRecord{.event = event,
                             .time = clock_.wall(),
                             .user = context.user,
                             .host = context.host,
                             .type = context.type,
                             .inner = lease.address,
                             .prefix = lease.prefix,
                             .outer_client = context.outer_client,
                             .endpoint = context.endpoint,
                             .expires_at = lease.expires_at,
                             .reason = reason});
}

void Ledger::end_active(const ClientId& id, const std::string& reason, AtEndpoint at_endpoint,
                        Generation up_to) {
    const Lease* active = table.active(id);
    if (active == nullptr) return;
    Lease ended = *active;
    table.clear_active(id);
    unaccepted_.erase(id);
    delegations.ended(ended);
    audit(AuditRecord::Event::ended, ended, reason);
    log_info("BROKER_BINDING_ENDED", "user={} address={} reason={}",
             log::quoted(ended.context.user), to_string(ended.address), reason);
    if (at_endpoint == AtEndpoint::is_removed) return;
    ended.context.generation = std::max(newest_generation(ended), up_to);
    remove_at_endpoint(ended);
}

void Ledger::remove_at_endpoint(const Lease& lease) {
    if (endpoints.find(lease.context.endpoint) == nullptr) return;
    endpoints.remove(lease.context.endpoint, lease.address, lease.context.generation,
                     [](const Result<void>&) {});
}

Generation Ledger::newest_generation(const Lease& active) const {
    const LeaseDesk& desk = leases(family_of(active.context.type));
    return std::max(active.context.generation, desk.owed(active.client_id));
}

void Ledger::restore(const ClientId& id, std::function<void()> done) {
    const Lease* active = table.active(id);
    DSTM_ASSERT(active != nullptr);
    Lease sent = *active;
    sent.context.generation = next_generation();
    leases_of(sent).put_back(sent, [this, sent, done = std::move(done)](Result<Lease> result) {
        on_restored(sent, std::move(result), done);
    });
}

void Ledger::on_restored(const Lease& sent, Result<Lease> result, std::function<void()> done) {
    const ClientId& id = sent.client_id;
    const Generation generation = sent.context.generation;
    LeaseDesk& desk = leases_of(sent);
    const Lease* active = table.active(id);
    const bool is_current = active != nullptr && active->address == sent.address &&
                            active->context.generation < generation;
    if (active == nullptr) {  // it ended while we asked: Kea may have it anew
        Lease anew = result ? *std::move(result) : sent;
        anew.context = sent.context;
        desk.give_back(anew, std::move(done));
        return;
    }
    if (!is_current) {  // a newer one stands for it
        done();
        return;
    }
    if (!result) {
        switch (result.error().code) {
            case ErrorCode::not_found:
                end_active(id, "lease gone", AtEndpoint::remove, generation);
                break;
            case ErrorCode::conflict: desk.doubt(); break;
            default: desk.owe(id, generation); break;
        }
        done();
        return;
    }
    result->context = sent.context;
    if (result->address != sent.address) {  // it ended without our hearing of it
        end_active(id, "lease gone", AtEndpoint::remove, generation);
        desk.give_back(*result, std::move(done));
        return;
    }
    const bool is_same = result->prefix == active->prefix;
    if (unaccepted_.erase(id) != 0 || !is_same) {
        audit(AuditRecord::Event::changed, *result,
              is_same ? "restored, change not accepted" : "restored with another prefix");
    }
    delegations.started(active, *result);
    table.set_active(*result);
    desk.settle(id, generation);
    const auto spec = spec_of(*result);
    if (!spec) {  // the sync at its return does it
        done();
        return;
    }
    endpoints.install(sent.context.endpoint, *spec,
                      [done = std::move(done)](const Result<void>&) { done(); });
}

// --- exchanges -----------------------------------------------------------------------------------

std::shared_ptr<Exchange> Ledger::exchange(const ClientId& id) const {
    const auto at = exchanges_.find(id);
    return at == exchanges_.end() ? nullptr : at->second;
}

void Ledger::begin(const ClientId& id, std::shared_ptr<Exchange> exchange) {
    const bool is_new = exchanges_.emplace(id, std::move(exchange)).second;
    DSTM_ASSERT(is_new);
}

void Ledger::retire(const ClientId& id_given) {
    const ClientId id = id_given;  // the caller's may live in the exchange
    const auto retired = exchanges_.extract(id);
    DSTM_ASSERT(!retired.empty());
    if (compare_later_.erase(id) == 1) leases(retired.mapped()->family()).doubt();
    retired_(id);
}

// --- what happens by itself ----------------------------------------------------------------------

void Ledger::on_lease_ended(const Lease& lease, LeaseEnd why) {
    const Generation generation = lease.context.generation;
    generations_.saw(generation);
    leases_of(lease).touch(lease.client_id);

    const Lease* active = table.active(lease.client_id);
    // A newer generation is a newer binding, which this event, being late, says nothing about.
    if (active != nullptr && active->address == lease.address &&
        active->context.generation <= generation) {
        end_active(lease.client_id, reason_of(why), AtEndpoint::remove, generation);
    }
    // Also where no binding of ours says so: an offer, or one from before our restart.
    remove_at_endpoint(lease);
    if (const auto running = exchange(lease.client_id)) running->on_lease_ended(lease);
}

void Ledger::tick() {
    leases_v4_.tick();
    leases_v6_.tick();
    delegations.tick();
    endpoints.sync_marked();
}

bool Ledger::knows_all_leases() const {
    return (leases_v4_.has_listed() || !leases_v4_.is_used()) &&
           (leases_v6_.has_listed() || !leases_v6_.is_used());
}

// Kea's list is the truth, except for clients of which we know something newer.
void Ledger::reconcile(Family family, const LeaseList& list) {
    LeaseDesk& desk = leases(family);
    std::map<ClientId, const Lease*> newest;
    for (const Lease& lease : list.leases) {
        generations_.saw(lease.context.generation);
        const Lease*& known = newest[lease.client_id];
        if (known == nullptr || known->context.generation < lease.context.generation) {
            known = &lease;
        }
    }
    std::set<ClientId> listed;
    for (const Lease& lease : list.leases) {
        listed.insert(lease.client_id);
        if (list.touched.contains(lease.client_id)) continue;
        if (exchanges_.contains(lease.client_id)) {
            compare_later_.insert(lease.client_id);
        } else if (newest.at(lease.client_id) != &lease) {
            desk.give_back(lease, [] {});  // one client, one lease
        } else if (const Lease* active = table.active(lease.client_id)) {
            compare(lease, *active);
        } else {
            adopt_or_return(lease);
        }
    }
    end_unlisted(family, listed, list.touched);
    desk.forgive(list);

    endpoints.allow_syncs(knows_all_leases());
    if (list.all_may_have_changed) endpoints.mark_all();
    endpoints.sync_marked();
    log_info("BROKER_LEASES_COMPARED", "family={} leases={} bindings={}",
             family == Family::v4 ? 4 : 6, list.leases.size(), table.active_count());
}

void Ledger::adopt_or_return(const Lease& held) {
    LeaseDesk& desk = leases_of(held);
    if (desk.owes(held.client_id, held.context.generation)) {
        desk.give_back(held, [] {});
        return;
    }
    if (held.expires_at <= clock_.wall()) return;  // Kea has not got to it yet
    table.set_active(held);
    endpoints.mark(held.context.endpoint);
}

// Both say that the client has a binding. The higher generation is right, unless it was never
// accepted.
void Ledger::compare(const Lease& held, const Lease& active_now) {
    const Lease active = active_now;  // the table is changed below
    if (held.address != active.address) {
        end_active(active.client_id, "replaced by " + to_string(held.address), AtEndpoint::remove);
        adopt_or_return(held);
        return;
    }
    const bool is_older = held.context.generation < active.context.generation;
    if (is_older || leases_of(held).owes_any(active.client_id)) {
        // Kea was set back to an older lease file, or holds what a failed exchange left.
        restore(active.client_id, [] {});
        return;
    }
    if (held == active) return;
    endpoints.mark(active.context.endpoint);
    endpoints.mark(held.context.endpoint);
    table.set_active(held);
}

void Ledger::end_unlisted(Family family, const std::set<ClientId>& listed,
                          const std::set<ClientId>& touched) {
    std::vector<ClientId> gone;
    table.for_each_active([&](const Lease& lease) {
        const ClientId& id = lease.client_id;
        if (family_of(lease.context.type) != family) return;
        if (listed.contains(id) || touched.contains(id)) return;
        if (exchanges_.contains(id)) {
            compare_later_.insert(id);
        } else {
            gone.push_back(id);
        }
    });
    // An offer whose lease Kea has lost is found when its exchange is over.
    for (const auto& [id, exchange] : exchanges_) {
        if (exchange->family() != family) continue;
        if (!listed.contains(id) && !touched.contains(id)) compare_later_.insert(id);
    }
    for (const ClientId& id : gone) end_active(id, "lease gone", AtEndpoint::remove);
}

}  // namespace dstm::server
