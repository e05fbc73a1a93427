// The way to one lease store, with what makes up for its failures: debts (leases that must go back)
// and lists (to compare what Kea holds with what we believe).
//
// One rule for repair: whoever cannot know what an operation did calls doubt(), and a list of all
// leases, taken after it, tells. Lists start at once when the store becomes ready, else not more
// often than the repair interval. It knows no endpoint and no session.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "common/base/clock.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

// What to do with a list that has come.
struct LeaseList {
    std::vector<Lease> leases;
    // Clients for which something was asked of Kea, or happened to their lease, after the list was
    // asked for: it says nothing about them.
    std::set<ClientId> touched;
    bool all_may_have_changed = false;  // the store was away, or events were lost
};

class LeaseDesk {
public:
    using Listed = std::function<void(const LeaseList&)>;

    // `store` may be nullptr: leases of this family are not given out here.
    LeaseDesk(const BrokerConfig& config, LeaseStore* store, Family family, const Clock& clock,
              Listed listed);
    [[nodiscard]] bool is_used() const { return store_ != nullptr; }

    // As LeaseStore says; `done` is not called once the desk is gone.
    void allocate(const LeaseRequest& request, Done<Lease> done);
    void renew(const Lease& lease, Done<Lease> done);   // with the lease's context
    // A renewal that also gives the lease's prefix back, or takes away what it had none of, where
    // Kea has exchanged it since. When that prefix cannot be had any more, it keeps what there is.
    void put_back(const Lease& lease, Done<Lease> done);
    void release(const Lease& lease, Done<void> done);  // up to the lease's generation
    // A release whose failure becomes a debt.
    void give_back(const Lease& lease, std::function<void()> done);

    // What the client has in Kea with a generation of at most `up_to` was never accepted: it is to
    // go back, or to be replaced by the binding that was.
    void owe(const ClientId& id, Generation up_to);
    // What was owed up to this generation is gone, or a newer lease stands for it.
    void settle(const ClientId& id, Generation up_to);
    [[nodiscard]] bool owes(const ClientId& id, Generation generation) const;
    // 0: nothing.
    [[nodiscard]] Generation owed(const ClientId& id) const;
    [[nodiscard]] bool owes_any(const ClientId& id) const { return debts_.contains(id); }
    [[nodiscard]] std::size_t debt_count() const { return debts_.size(); }
    // Forgets the debts that a list has shown to be void: Kea holds no such lease.
    void forgive(const LeaseList& list);

    void doubt();
    // Something happened to the client's lease without our asking.
    void touch(const ClientId& id);

    void ready();
    void lost() { is_up_ = false; }
    void tick();
    [[nodiscard]] bool is_up() const { return is_up_; }
    // The first list has come: the table is what Kea holds.
    [[nodiscard]] bool has_listed() const { return has_listed_; }
    [[nodiscard]] std::uint32_t subnet_id() const;

private:
    void list_if_wanted();
    void on_list(Result<std::vector<Lease>> leases);
    [[nodiscard]] LeaseRequest request_of(const Lease& lease) const;

    const BrokerConfig& config_;
    LeaseStore* const store_;
    const Family family_;
    const Clock& clock_;
    Listed listed_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

    std::map<ClientId, Generation> debts_;
    bool is_up_ = false;
    bool has_listed_ = false;
    bool is_listing_ = false;
    bool wants_list_ = false;
    bool wants_all_ = false;  // the list wanted follows a loss
    bool lists_all_ = false;  // the one under way does
    Instant list_not_before_{};
    std::set<ClientId> touched_;
};

// The operation may have been carried out although it failed for us.
[[nodiscard]] bool may_have_happened(const Error& error);

}  // namespace dstm::server
