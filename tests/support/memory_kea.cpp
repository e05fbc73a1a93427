// Kea in memory. See memory_kea.hpp.
#include "support/memory_kea.hpp"

#include <algorithm>

#include "common/base/assert.hpp"

namespace dstm::support {

using server::Lease;
using server::LeaseRequest;

void MemoryKea::grant(Lease& lease, const LeaseRequest& request) const {
    lease.client_id = request.client_id;
    lease.context = request.context;
    lease.valid_lifetime_s =
        request.valid_lifetime_s == 0 ? default_lifetime_s : request.valid_lifetime_s;
    lease.expires_at = scheduler_.clock.wall() + std::chrono::seconds(lease.valid_lifetime_s);
}

Result<Lease> MemoryKea::allocate(const LeaseRequest& request) {
    for (auto& [address, lease] : leases) {
        if (lease.client_id != request.client_id) continue;
        grant(lease, request);
        return lease;
    }
    const auto take = [&](Ipv4Address address) {
        Lease& lease = leases[address];
        lease.address = address;
        grant(lease, request);
        return lease;
    };
    const auto is_ours = [&](Ipv4Address address) {
        return address >= first_ && address.host_order() - first_.host_order() < size_;
    };
    if (request.requested && is_ours(*request.requested) && !leases.contains(*request.requested)) {
        return take(*request.requested);
    }
    for (std::uint32_t i = 0; i < size_; ++i) {
        const Ipv4Address address(first_.host_order() + i);
        if (!leases.contains(address)) return take(address);
    }
    return fail(ErrorCode::exhausted, "pool-exhausted");
}

Result<Lease> MemoryKea::renew(Ipv4Address address, const LeaseRequest& request) {
    const auto at = leases.find(address);
    if (at == leases.end()) return fail(ErrorCode::not_found, "not-found");
    if (at->second.client_id != request.client_id) return fail(ErrorCode::conflict, "not-owner");
    if (at->second.context.generation > request.context.generation) {
        return fail(ErrorCode::conflict, "stale");
    }
    grant(at->second, request);
    return at->second;
}

Result<void> MemoryKea::release(Ipv4Address address, const server::ClientId& client_id,
                                Generation up_to) {
    const auto at = leases.find(address);
    if (at == leases.end()) return fail(ErrorCode::not_found, "not-found");
    if (at->second.client_id != client_id) return fail(ErrorCode::conflict, "not-owner");
    if (at->second.context.generation > up_to) return fail(ErrorCode::conflict, "stale");
    leases.erase(at);
    return {};
}

std::vector<Lease> MemoryKea::list() const {
    std::vector<Lease> all;
    for (const auto& [address, lease] : leases) all.push_back(lease);
    return all;
}

void MemoryKea::end(Ipv4Address address, server::LeaseEnd why) {
    const auto at = leases.find(address);
    DSTM_ASSERT(at != leases.end());
    const Lease ended = at->second;
    leases.erase(at);
    for (MemoryLeaseStore* connection : connections_) connection->tell(ended, why);
}

void MemoryKea::reclaim_expired() {
    if (!is_running_) return;
    std::vector<Ipv4Address> over;
    for (const auto& [address, lease] : leases) {
        if (lease.expires_at <= scheduler_.clock.wall()) over.push_back(address);
    }
    for (const Ipv4Address address : over) end(address, server::LeaseEnd::expired);
}

void MemoryKea::stop() {
    is_running_ = false;
    const auto all = connections_;
    for (MemoryLeaseStore* connection : all) connection->disconnect();
}

void MemoryKea::start() { is_running_ = true; }

// --- one server's connection ---------------------------------------------------------------------

MemoryLeaseStore::MemoryLeaseStore(Scheduler& scheduler, MemoryKea& kea, const Fates& fates)
    : scheduler_(scheduler), kea_(kea), wire_(scheduler, fates) {}

MemoryLeaseStore::~MemoryLeaseStore() { std::erase(kea_.connections_, this); }

void MemoryLeaseStore::connect() {
    if (is_connected_ || !kea_.is_running()) return;
    is_connected_ = true;
    ++connection_;
    kea_.connections_.push_back(this);
    if (listener_ != nullptr) listener_->on_lease_store_ready();
}

void MemoryLeaseStore::disconnect() {
    if (!is_connected_) return;
    is_connected_ = false;
    std::erase(kea_.connections_, this);
    wire_.drop();
    if (listener_ != nullptr) listener_->on_lease_store_lost();
}

void MemoryLeaseStore::tell(const Lease& lease, server::LeaseEnd why) {
    scheduler_.post(Duration(1), [this, lease, why, connection = connection_,
                                  alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired() || !is_connected_ || connection != connection_) return;
        if (listener_ != nullptr) listener_->on_lease_ended(lease, why);
    });
}

template <class T>
void MemoryLeaseStore::submit(std::string_view operation, std::function<Result<T>()> effect,
                              server::Done<T> done) {
    if (is_connected_) {
        wire_.submit<T>(operation, std::move(effect), std::move(done));
        return;
    }
    scheduler_.post(Duration(0), [done, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) done(fail(ErrorCode::unavailable, "not connected"));
    });
}

void MemoryLeaseStore::allocate(const LeaseRequest& request, server::Done<Lease> done) {
    submit<Lease>(
        "allocate", [this_kea = &kea_, request] { return this_kea->allocate(request); },
        std::move(done));
}

void MemoryLeaseStore::renew(Ipv4Address address, const LeaseRequest& request,
                             server::Done<Lease> done) {
    submit<Lease>(
        "renew", [this_kea = &kea_, address, request] { return this_kea->renew(address, request); },
        std::move(done));
}

void MemoryLeaseStore::release(Ipv4Address address, const server::ClientId& client_id,
                               Generation up_to, server::Done<void> done) {
    submit<void>(
        "release",
        [this_kea = &kea_, address, client_id, up_to] {
            return this_kea->release(address, client_id, up_to);
        },
        std::move(done));
}

void MemoryLeaseStore::list(server::Done<std::vector<Lease>> done) {
    submit<std::vector<Lease>>(
        "list", [this_kea = &kea_]() -> Result<std::vector<Lease>> { return this_kea->list(); },
        std::move(done));
}

}  // namespace dstm::support
