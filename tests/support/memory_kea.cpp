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

IpAddress MemoryKea::address_at(std::size_t index) const {
    const auto last = static_cast<std::uint8_t>(10 + index);
    if (family_ == server::Family::v4) return Ipv4Address(0xc0000200u + last);
    auto bytes = Ipv6Address::parse("2001:db8:100::")->bytes();
    bytes.back() = last;
    return Ipv6Address(bytes);
}

bool MemoryKea::is_free(const Ipv6Prefix& prefix) const {
    return std::none_of(leases.begin(), leases.end(), [&](const auto& held) {
        const auto& other = held.second.prefix;
        return other && (other->contains(prefix.address) || prefix.contains(other->address));
    });
}

std::optional<Ipv6Prefix> MemoryKea::free_prefix(std::uint8_t length) const {
    if (!prefix_lengths.contains(length)) return std::nullopt;
    for (unsigned index = 0; index < 256; ++index) {  // a /48 each
        auto bytes = Ipv6Address::parse("2001:db8:f00::")->bytes();
        bytes[5] = static_cast<std::uint8_t>(index);
        const Ipv6Prefix prefix{Ipv6Address(bytes), length};
        if (is_free(prefix)) return prefix;
    }
    return std::nullopt;
}

Result<Lease> MemoryKea::allocate(const LeaseRequest& request) {
    Lease lease;
    for (const auto& [address, held] : leases) {
        if (held.client_id == request.client_id) lease = held;
    }
    const bool has_address = !lease.client_id.empty();
    if (!has_address) {
        std::vector<IpAddress> free;
        for (std::size_t i = 0; i < size_; ++i) {
            if (!leases.contains(address_at(i))) free.push_back(address_at(i));
        }
        if (free.empty()) return fail(ErrorCode::exhausted, "pool-exhausted");
        const auto is_free = [&](const auto& one) { return one && std::ranges::count(free, *one); };
        const auto former = former_.find(request.client_id);
        const auto own = former == former_.end() ? std::nullopt : std::optional(former->second);
        lease.address = is_free(request.requested) ? *request.requested
                        : is_free(own)             ? *own
                                                   : free.front();
    }
    const auto length = request.prefix_length;
    if (!length) {
        lease.prefix.reset();
    } else if (!lease.prefix || lease.prefix->length != *length) {
        const auto& wish = request.requested_prefix;
        lease.prefix = wish && is_free(*wish) ? wish : free_prefix(*length);
        if (!lease.prefix) return fail(ErrorCode::not_found, "prefix-unavailable");
    }
    if (!request.hostname.empty()) lease.hostname = request.hostname;
    grant(lease, request);
    leases[lease.address] = lease;
    former_[request.client_id] = lease.address;
    return lease;
}

Result<Lease> MemoryKea::renew(const IpAddress& address, const LeaseRequest& request) {
    const auto at = leases.find(address);
    if (at == leases.end()) return fail(ErrorCode::not_found, "not-found");
    if (at->second.client_id != request.client_id) return fail(ErrorCode::conflict, "not-owner");
    if (at->second.context.generation > request.context.generation) {
        return fail(ErrorCode::conflict, "stale");
    }
    grant(at->second, request);
    return at->second;
}

Result<void> MemoryKea::release(const IpAddress& address, const server::ClientId& client_id,
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

void MemoryKea::end(const IpAddress& address, server::LeaseEnd why) {
    const auto at = leases.find(address);
    DSTM_ASSERT(at != leases.end());
    const Lease ended = at->second;
    leases.erase(at);
    announce(ended, why);
}

void MemoryKea::announce(const Lease& ended, server::LeaseEnd why) {
    for (MemoryLeaseStore* connection : connections_) connection->tell(ended, why);
}

void MemoryKea::reclaim_expired() {
    if (!is_running_) return;
    std::vector<IpAddress> over;
    for (const auto& [address, lease] : leases) {
        if (lease.expires_at <= scheduler_.clock.wall()) over.push_back(address);
    }
    for (const IpAddress& address : over) end(address, server::LeaseEnd::expired);
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

void MemoryLeaseStore::renew(const IpAddress& address, const LeaseRequest& request,
                             server::Done<Lease> done) {
    submit<Lease>(
        "renew", [this_kea = &kea_, address, request] { return this_kea->renew(address, request); },
        std::move(done));
}

void MemoryLeaseStore::release(const IpAddress& address, const server::ClientId& client_id,
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
