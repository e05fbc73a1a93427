// See the header.
#include "kea-hook/lease_store.hpp"

#include <dhcpsrv/lease_mgr_factory.h>
#include <stats/stats_mgr.h>

namespace dstm::kea {

using isc::asiolink::IOAddress;
using isc::dhcp::ClientId;
using isc::dhcp::Lease;
using isc::dhcp::Lease4Ptr;
using isc::dhcp::LeaseMgrFactory;
using isc::dhcp::LeasePageSize;
using isc::stats::StatsMgr;

Lease4Ptr LeaseStore::find(std::uint32_t address) const {
    return LeaseMgrFactory::instance().getLease4(IOAddress(address));
}

std::vector<Lease4Ptr> LeaseStore::of_client(const Bytes& client_id) const {
    return LeaseMgrFactory::instance().getLease4(ClientId(client_id));
}

std::vector<Lease4Ptr> LeaseStore::after(std::uint32_t address, std::size_t limit) const {
    return LeaseMgrFactory::instance().getLeases4(IOAddress(address), LeasePageSize(limit));
}

std::vector<std::uint32_t> LeaseStore::in_use(std::uint32_t from, std::size_t limit) const {
    std::vector<std::uint32_t> addresses;
    std::uint32_t last = from == 0 ? 0 : from - 1;
    while (true) {
        const auto page = after(last, limit);
        for (const auto& lease : page) {
            last = lease->addr_.toUint32();
            const bool free = lease->state_ == Lease::STATE_EXPIRED_RECLAIMED || lease->expired();
            if (!free) addresses.push_back(last);
            if (addresses.size() == limit) return addresses;
        }
        if (page.size() < limit) return addresses;
    }
}

bool LeaseStore::remove(const Lease4Ptr& lease) {
    if (!LeaseMgrFactory::instance().deleteLease(lease)) return false;
    if (lease->state_ != Lease::STATE_EXPIRED_RECLAIMED) {
        StatsMgr::instance().addValue(
            StatsMgr::generateName("subnet", lease->subnet_id_, "assigned-addresses"),
            std::int64_t{-1});
    }
    forget(lease->addr_.toUint32());
    return true;
}

void LeaseStore::learn_ours() {
    constexpr std::size_t page_size = 1000;
    ours_.clear();
    std::uint32_t last = 0;
    while (true) {
        const auto page = after(last, page_size);
        for (const auto& lease : page) {
            if (is_live(*lease)) note(lease);
        }
        if (page.size() < page_size) break;
        last = page.back()->addr_.toUint32();
    }
    learnt_ = true;
}

void LeaseStore::note(const Lease4Ptr& lease) {
    if (is_ours(*lease)) ours_[lease->addr_.toUint32()] = lease;
}

Lease4Ptr LeaseStore::ours(std::uint32_t address) const {
    const auto found = ours_.find(address);
    return found == ours_.end() ? nullptr : found->second;
}

}  // namespace dstm::kea
