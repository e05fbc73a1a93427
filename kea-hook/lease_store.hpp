// Kea's lease database as the hook uses it, and a copy of the leases that are ours: when an
// operator deletes one, Kea says so only afterwards, and the copy tells what it was.
//
// Kea's main thread only. Functions that reach the database throw isc::Exception when it fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include <dhcpsrv/lease.h>

#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

class LeaseStore {
public:
    using Lease4Ptr = isc::dhcp::Lease4Ptr;

    // Straight from Kea, in any state; null if there is none.
    [[nodiscard]] Lease4Ptr find(std::uint32_t address) const;
    [[nodiscard]] std::vector<Lease4Ptr> of_client(const Bytes& client_id) const;
    // In the order of addresses, those above `address`.
    [[nodiscard]] std::vector<Lease4Ptr> after(std::uint32_t address, std::size_t limit) const;
    // Addresses from `from` on that nobody else can have now (FreeAddresses::InUse).
    [[nodiscard]] std::vector<std::uint32_t> in_use(std::uint32_t from, std::size_t limit) const;
    // Deletes it and counts it as given back; false if it was gone already.
    bool remove(const Lease4Ptr& lease);

    // The copy. It is read once, and kept by whoever changes a lease.
    void learn_ours();
    void learn_ours_once() {
        if (!learnt_) learn_ours();
    }
    void note(const Lease4Ptr& lease);
    void forget(std::uint32_t address) { ours_.erase(address); }
    // Null if that one is not ours.
    [[nodiscard]] Lease4Ptr ours(std::uint32_t address) const;
    [[nodiscard]] const std::map<std::uint32_t, Lease4Ptr>& ours() const { return ours_; }

private:
    bool learnt_ = false;
    std::map<std::uint32_t, Lease4Ptr> ours_;
};

}  // namespace dstm::kea
