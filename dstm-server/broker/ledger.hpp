// What exchanges work with: the table of bindings, the desks (one to the endpoints, one to each of
// Kea's two servers), and the rules that keep table,
// lease stores and endpoints equal when something happens that no client asked for (a lease ends, a
// list comes, an endpoint connects). A list of one family says nothing about the bindings of the
// other. It knows no session.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "dstm-server/broker/binding_table.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/broker/delegations.hpp"
#include "dstm-server/broker/endpoint_desk.hpp"
#include "dstm-server/broker/exchange.hpp"
#include "dstm-server/broker/generations.hpp"
#include "dstm-server/broker/lease_desk.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

class Ledger {
    // First, because what is public below is built with references to them.
    BrokerConfig config_;
    AuditLog& audit_;
    const Clock& clock_;
    Generations generations_;

public:
    // `retired` is told when a client's exchange is over.
    Ledger(BrokerConfig config, LeaseStores stores, EndpointLinks& links, AuditLog& audit,
           ReverseDelegation* dns, const Clock& clock,
           std::function<void(const ClientId&)> retired);

    // --- for exchanges ---------------------------------------------------------------------------

    [[nodiscard]] const BrokerConfig& config() const { return config_; }
    void reconfigure(BrokerConfig config) { config_ = std::move(config); }
    [[nodiscard]] WallTime wall() const { return clock_.wall(); }
    [[nodiscard]] Generation next_generation() { return generations_.next(clock_.wall()); }

    BindingTable table;
    EndpointDesk endpoints;
    Delegations delegations;
    [[nodiscard]] LeaseDesk& leases(Family family) {
        return family == Family::v4 ? leases_v4_ : leases_v6_;
    }
    [[nodiscard]] const LeaseDesk& leases(Family family) const {
        return family == Family::v4 ? leases_v4_ : leases_v6_;
    }
    [[nodiscard]] LeaseDesk& leases_of(const Lease& lease) {
        return leases(family_of(lease.context.type));
    }

    [[nodiscard]] const EndpointInfo* choose_endpoint(const EndpointWish& wish) const;
    [[nodiscard]] std::vector<const EndpointInfo*> carriers(TunnelType type) const;
    // nullopt when its endpoint is not connected (any more), or cannot carry it.
    [[nodiscard]] std::optional<TunnelSpec> spec_of(const Lease& lease) const;
    void audit(AuditRecord::Event event, const Lease& lease, const std::string& reason);

    enum class AtEndpoint { remove, is_removed };
    // The binding is over: out of the table, off its endpoint, into the audit log. Nothing happens
    // when there is none. `up_to`: its endpoint may hold it in generations up to this.
    void end_active(const ClientId& id, const std::string& reason, AtEndpoint at_endpoint,
                    Generation up_to = 0);
    // Off its endpoint, if that is connected; else the sync at its return does it.
    void remove_at_endpoint(const Lease& lease);
    // Makes Kea and the endpoint hold the active binding again, in a new generation, whatever they
    // were told since. Kea first: an endpoint never holds a generation that Kea has not heard of,
    // or a server started again could not tell what is right. What cannot be done now is owed.
    void restore(const ClientId& id, std::function<void()> done);
    // The audit log tells of a change that was not accepted: it is to tell of the way back, too,
    // once that is done.
    void owe_audit_of_restore(const ClientId& id) { unaccepted_.insert(id); }
    // The highest generation in which Kea or the endpoint may know this binding.
    [[nodiscard]] Generation newest_generation(const Lease& active) const;

    // --- exchanges -------------------------------------------------------------------------------

    [[nodiscard]] std::shared_ptr<Exchange> exchange(const ClientId& id) const;
    void begin(const ClientId& id, std::shared_ptr<Exchange> exchange);
    // Called by the exchange as its last act.
    void retire(const ClientId& id);
    [[nodiscard]] const std::map<ClientId, std::shared_ptr<Exchange>>& exchanges() const {
        return exchanges_;
    }

    // --- what happens by itself ------------------------------------------------------------------

    void on_lease_ended(const Lease& lease, LeaseEnd why);
    void tick();

private:
    [[nodiscard]] std::vector<TunnelSpec> desired(const EndpointInfo& endpoint) const;
    [[nodiscard]] std::size_t load(const std::string& endpoint) const {
        return table.count_of_endpoint(endpoint);
    }
    void reconcile(Family family, const LeaseList& list);
    [[nodiscard]] bool knows_all_leases() const;
    void compare(const Lease& held, const Lease& active);
    void adopt_or_return(const Lease& held);
    void on_restored(const Lease& sent, Result<Lease> result, std::function<void()> done);
    void end_unlisted(Family family, const std::set<ClientId>& listed,
                      const std::set<ClientId>& touched);

    LeaseDesk leases_v4_;
    LeaseDesk leases_v6_;
    std::function<void(const ClientId&)> retired_;
    std::map<ClientId, std::shared_ptr<Exchange>> exchanges_;
    std::set<ClientId> unaccepted_;  // see owe_audit_of_restore
    // Clients that a list could not be compared with because an exchange was under way.
    std::set<ClientId> compare_later_;
};

}  // namespace dstm::server
