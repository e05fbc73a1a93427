// The leases of Kea's database that matter to the hook, and a copy of those that are ours: when an
// operator deletes one, Kea says so only afterwards, and the copy tells what it was.
//
// Kea's main thread only. Functions that reach the database throw isc::Exception when it fails.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <vector>

#include "kea-hook/free_addresses.hpp"
#include "kea-hook/lease_database.hpp"

namespace dstm::kea {

class LeaseStore {
public:
    using Ours = std::map<IOAddress, ClientLease>;

    explicit LeaseStore(int family) : database_(make_lease_database(family)) {}

    [[nodiscard]] const LeaseDatabase& database() const { return *database_; }
    [[nodiscard]] int family() const { return database_->family(); }

    // The lease that is named by this row, which is an address's: with the live prefix of the same
    // client, straight from Kea.
    [[nodiscard]] ClientLease with_prefix(const RowPtr& address) const;
    // What nobody else can have now (FreeAddresses::InUse).
    [[nodiscard]] std::vector<Number> in_use(const AddressRange& pool, Number from,
                                             std::size_t limit) const;
    // Deletes it and counts it as given back; false if it was gone already.
    bool remove(const RowPtr& row);

    // The copy. It is read once, and kept by whoever changes a lease.
    void learn_ours();
    void learn_ours_once() {
        if (!learnt_) learn_ours();
    }
    void note(const ClientLease& lease);
    void forget(const IOAddress& address);
    // Without an address if there is none of ours.
    [[nodiscard]] ClientLease ours(const IOAddress& address) const;
    [[nodiscard]] ClientLease ours_with_prefix(const IOAddress& prefix) const;
    [[nodiscard]] const Ours& ours() const { return ours_; }

private:
    std::unique_ptr<LeaseDatabase> database_;
    bool learnt_ = false;
    Ours ours_;
    std::map<IOAddress, IOAddress> prefixes_;  // of ours_, to the address of the same lease
};

}  // namespace dstm::kea
