// Kea's lease database, one family of it, seen as rows of either. The one place that knows which of
// Kea's functions belong to which family.
//
// Kea's main thread only. All functions throw isc::Exception when the database fails.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

class LeaseDatabase {
public:
    virtual ~LeaseDatabase() = default;

    // AF_INET or AF_INET6.
    [[nodiscard]] virtual int family() const = 0;
    // In any state; null if there is none.
    [[nodiscard]] virtual RowPtr find_address(const IOAddress& address) const = 0;
    [[nodiscard]] virtual RowPtr find_prefix(const IOAddress& prefix) const = 0;
    // All of a client's, addresses and prefixes, in any state.
    [[nodiscard]] virtual std::vector<RowPtr> of_client(const Bytes& client_id) const = 0;
    // Addresses and prefixes in their order, those above `address`.
    [[nodiscard]] virtual std::vector<RowPtr> after(const IOAddress& address,
                                                    std::size_t limit) const = 0;
    // False if it was gone already.
    [[nodiscard]] virtual bool remove(const RowPtr& row) = 0;
};

[[nodiscard]] std::unique_ptr<LeaseDatabase> make_lease_database(int family);

}  // namespace dstm::kea
