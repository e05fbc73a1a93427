// See the header.
#include "kea-hook/lease_store.hpp"

#include <stats/stats_mgr.h>

namespace dstm::kea {

using isc::dhcp::Lease;
using isc::stats::StatsMgr;

namespace {

const char* statistic_of(Lease::Type type) {
    switch (type) {
        case Lease::TYPE_V4: return "assigned-addresses";
        case Lease::TYPE_PD: return "assigned-pds";
        case Lease::TYPE_NA:
        case Lease::TYPE_TA: break;
    }
    return "assigned-nas";
}

}  // namespace

ClientLease LeaseStore::with_prefix(const RowPtr& address) const {
    ClientLease lease{.address = address};
    if (family() == AF_INET || !address) return lease;
    for (const auto& row : database_->of_client(client_id_of(*address))) {
        if (is_prefix(*row) && is_live(*row) && is_ours(*row)) lease.prefix = row;
    }
    return lease;
}

std::vector<Number> LeaseStore::in_use(const AddressRange& pool, Number from,
                                       std::size_t limit) const {
    std::vector<Number> numbers;
    Number last = from == 0 ? 0 : from - 1;
    while (true) {
        const auto page = database_->after(to_address(last, family()), limit);
        for (const auto& row : page) {
            last = to_number(row->addr_);
            if (last > pool.last || numbers.size() == limit) return numbers;
            const bool free = row->state_ == Lease::STATE_EXPIRED_RECLAIMED || row->expired();
            if (!free && row->getType() == pool.kind) numbers.push_back(last);
        }
        if (page.size() < limit) return numbers;
    }
}

bool LeaseStore::remove(const RowPtr& row) {
    if (!database_->remove(row)) return false;
    if (row->state_ != Lease::STATE_EXPIRED_RECLAIMED) {
        StatsMgr::instance().addValue(
            StatsMgr::generateName("subnet", row->subnet_id_, statistic_of(row->getType())),
            std::int64_t{-1});
    }
    if (!is_prefix(*row)) forget(row->addr_);
    return true;
}

void LeaseStore::learn_ours() {
    constexpr std::size_t page_size = 1000;
    ours_.clear();
    prefixes_.clear();
    std::map<Bytes, RowPtr> prefixes;
    std::vector<RowPtr> addresses;
    IOAddress last = to_address(0, family());
    while (true) {
        const auto page = database_->after(last, page_size);
        for (const auto& row : page) {
            if (!is_live(*row) || !is_ours(*row)) continue;
            if (is_prefix(*row)) {
                prefixes[client_id_of(*row)] = row;
            } else {
                addresses.push_back(row);
            }
        }
        if (page.size() < page_size) break;
        last = page.back()->addr_;
    }
    for (const auto& address : addresses) {
        const auto prefix = prefixes.find(client_id_of(*address));
        note({address, prefix == prefixes.end() ? nullptr : prefix->second});
    }
    learnt_ = true;
}

void LeaseStore::note(const ClientLease& lease) {
    if (!is_ours(*lease.address)) return;
    forget(lease.address->addr_);
    ours_[lease.address->addr_] = lease;
    if (lease.prefix) prefixes_.insert_or_assign(lease.prefix->addr_, lease.address->addr_);
}

void LeaseStore::forget(const IOAddress& address) {
    const auto found = ours_.find(address);
    if (found == ours_.end()) return;
    if (found->second.prefix) prefixes_.erase(found->second.prefix->addr_);
    ours_.erase(found);
}

ClientLease LeaseStore::ours(const IOAddress& address) const {
    const auto found = ours_.find(address);
    return found == ours_.end() ? ClientLease{} : found->second;
}

ClientLease LeaseStore::ours_with_prefix(const IOAddress& prefix) const {
    const auto found = prefixes_.find(prefix);
    return found == prefixes_.end() ? ClientLease{} : ours(found->second);
}

}  // namespace dstm::kea
