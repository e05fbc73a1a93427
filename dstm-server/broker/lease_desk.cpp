// The way to the lease store. See lease_desk.hpp.
#include "dstm-server/broker/lease_desk.hpp"

#include <algorithm>
#include <utility>

#include "common/log/log.hpp"

namespace dstm::server {
namespace {

// More than this can only be owed after Kea failed in the middle of as many requests; what is not
// remembered goes back when its lease expires.
constexpr std::size_t debts_max = 65536;

// Calls `done` unless the desk is gone.
template <class T>
Done<T> guard(const std::shared_ptr<bool>& alive, Done<T> done) {
    return [watch = std::weak_ptr<bool>(alive), done = std::move(done)](Result<T> result) {
        if (!watch.expired()) done(std::move(result));
    };
}

}  // namespace

bool may_have_happened(const Error& error) {
    switch (error.code) {
        case ErrorCode::unavailable:
        case ErrorCode::timed_out:
        case ErrorCode::closed:
        case ErrorCode::internal: return true;
        case ErrorCode::invalid:
        case ErrorCode::not_found:
        case ErrorCode::exhausted:
        case ErrorCode::refused:
        case ErrorCode::conflict: return false;
    }
    return true;
}

LeaseDesk::LeaseDesk(const BrokerConfig& config, LeaseStore* store, Family family,
                     const Clock& clock, Listed listed)
    : config_(config),
      store_(store),
      family_(family),
      clock_(clock),
      listed_(std::move(listed)) {}

std::uint32_t LeaseDesk::subnet_id() const {
    return family_ == Family::v4 ? config_.subnet_id : config_.subnet_id_v6;
}

void LeaseDesk::allocate(const LeaseRequest& request, Done<Lease> done) {
    touch(request.client_id);
    store_->allocate(request, guard(alive_, std::move(done)));
}

void LeaseDesk::renew(const Lease& lease, Done<Lease> done) {
    touch(lease.client_id);
    store_->renew(lease.address, request_of(lease), guard(alive_, std::move(done)));
}

void LeaseDesk::put_back(const Lease& lease, Done<Lease> done) {
    renew(lease, [this, lease, done = std::move(done)](Result<Lease> kept) {
        if (!kept || kept->prefix == lease.prefix) {
            done(std::move(kept));
            return;
        }
        LeaseRequest request = request_of(lease);
        if (lease.prefix) request.prefix_length = lease.prefix->length;
        request.requested_prefix = lease.prefix;
        allocate(request, [kept = std::move(kept), done](Result<Lease> got) {
            const bool is_refused = !got && !may_have_happened(got.error());
            done(is_refused ? kept : std::move(got));
        });
    });
}

void LeaseDesk::release(const Lease& lease, Done<void> done) {
    touch(lease.client_id);
    store_->release(lease.address, lease.client_id, lease.context.generation,
                   guard(alive_, std::move(done)));
}

void LeaseDesk::give_back(const Lease& lease, std::function<void()> done) {
    release(lease, [this, lease, done = std::move(done)](const Result<void>& released) {
        const ClientId& id = lease.client_id;
        const bool is_gone = released || released.error().code == ErrorCode::not_found;
        if (is_gone || released.error().code == ErrorCode::conflict) {
            settle(id, lease.context.generation);
            if (!is_gone) doubt();  // somebody renewed it
        } else {
            owe(id, lease.context.generation);
        }
        done();
    });
}

LeaseRequest LeaseDesk::request_of(const Lease& lease) const {
    return LeaseRequest{.client_id = lease.client_id,
                        .context = lease.context,
                        .requested = lease.address,
                        .prefix_length = std::nullopt,
                        .valid_lifetime_s = config_.lifetime_s,
                        .subnet_id = subnet_id()};
}

void LeaseDesk::owe(const ClientId& id, Generation up_to) {
    touch(id);
    const auto known = debts_.find(id);
    if (known != debts_.end()) {
        known->second = std::max(known->second, up_to);
    } else if (debts_.size() < debts_max) {
        debts_.emplace(id, up_to);
    }
    doubt();
}

void LeaseDesk::settle(const ClientId& id, Generation up_to) {
    if (owes_any(id) && debts_.at(id) <= up_to) debts_.erase(id);
}

bool LeaseDesk::owes(const ClientId& id, Generation generation) const {
    return generation <= owed(id);
}

Generation LeaseDesk::owed(const ClientId& id) const {
    const auto at = debts_.find(id);
    return at == debts_.end() ? 0 : at->second;
}

void LeaseDesk::forgive(const LeaseList& list) {
    std::set<ClientId> held;
    for (const Lease& lease : list.leases) held.insert(lease.client_id);
    std::erase_if(debts_, [&](const auto& debt) {
        return !held.contains(debt.first) && !list.touched.contains(debt.first);
    });
}

void LeaseDesk::touch(const ClientId& id) {
    if (is_listing_) touched_.insert(id);
}

void LeaseDesk::doubt() {
    wants_list_ = true;
    list_if_wanted();
}

void LeaseDesk::ready() {
    is_up_ = true;
    wants_list_ = true;
    wants_all_ = true;
    list_not_before_ = clock_.now();
    list_if_wanted();
}

// A list may say nothing of a debtor (it was touched meanwhile), so they go on until none is left.
void LeaseDesk::tick() {
    if (!debts_.empty()) wants_list_ = true;
    list_if_wanted();
}

void LeaseDesk::list_if_wanted() {
    if (!wants_list_ || is_listing_ || !is_up_ || clock_.now() < list_not_before_) return;
    wants_list_ = false;
    is_listing_ = true;
    lists_all_ = std::exchange(wants_all_, false);
    list_not_before_ = clock_.now() + config_.repair_interval;
    touched_.clear();
    store_->list(guard<std::vector<Lease>>(
        alive_, [this](Result<std::vector<Lease>> leases) { on_list(std::move(leases)); }));
}

void LeaseDesk::on_list(Result<std::vector<Lease>> leases) {
    is_listing_ = false;
    if (!leases) {
        log_warning("BROKER_LEASE_LIST_FAILED", "error={}", to_string(leases.error()));
        wants_list_ = true;
        wants_all_ = wants_all_ || lists_all_;
        return;  // tick() tries again
    }
    has_listed_ = true;
    listed_(LeaseList{std::move(*leases), std::move(touched_), lists_all_});
    touched_.clear();
    list_if_wanted();
}

}  // namespace dstm::server
