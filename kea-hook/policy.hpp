// Who gets which address and prefix: asks Kea's own allocation engine, so that pools, classes,
// reservations, lifetimes, statistics, DDNS and HA are Kea's. Bounded work for each request. The
// same for both families; in family 6 an address and a prefix are looked for one after the other,
// and given and taken together.
//
// Kea's main thread only, inside a critical section when Kea runs packet threads.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <tl/expected.hpp>

#include "kea-hook/ending_queue.hpp"
#include "kea-hook/engine.hpp"
#include "kea-hook/free_addresses.hpp"
#include "kea-hook/lease_store.hpp"
#include "kea-hook/reply.hpp"

namespace dstm::kea {

struct Grant {
    ClientLease lease;
    bool reused = false;  // the client had it already
};

// Leases that a call ends on the way are told to `endings`, but not to `cause`.
class Policy {
public:
    Policy(LeaseStore& store, EndingQueue& endings);

    [[nodiscard]] tl::expected<Grant, Refusal> allocate(const LeaseRequest& request,
                                                        ConnectionId cause);
    // `lease` is the client's own, live one.
    [[nodiscard]] tl::expected<Grant, Refusal> renew(const ClientLease& lease,
                                                     const LeaseRequest& request,
                                                     ConnectionId cause);
    // False if it was gone already.
    bool release(const ClientLease& lease, ConnectionId cause);
    // Takes away what is left of a lease of which Kea has ended one half; tells nobody.
    void end_rest(const RowPtr& rest);

    [[nodiscard]] FreeAddresses& free_addresses() { return free_; }
    void freed(const isc::dhcp::Lease& row);

private:
    struct Attempt;
    using Found = std::optional<Outcome>;

    [[nodiscard]] Found find(const LeaseRequest& request, const Wanted& wanted,
                             const std::vector<SubnetPtr>& subnets,
                             const std::vector<RowPtr>& rows);
    [[nodiscard]] Found find_known(const LeaseRequest& request, const Wanted& wanted,
                                   std::vector<Attempt>& attempts);
    [[nodiscard]] Found find_free(const LeaseRequest& request, const Wanted& wanted,
                                  std::vector<Attempt>& attempts);
    [[nodiscard]] Found ask(const LeaseRequest& request, const Wanted& wanted, Attempt& attempt,
                            const std::optional<IOAddress>& address);
    void abandon(const Outcome* prefix);
    [[nodiscard]] Grant conclude(const Outcome& address, const Found& prefix,
                                 const std::vector<RowPtr>& rows, ConnectionId cause);
    void end_if_left(const RowPtr& row, const ClientLease& granted);
    void tell(EndingKind kind, const RowPtr& row, ConnectionId cause);

    LeaseStore& store_;
    EndingQueue& endings_;
    FreeAddresses free_;
    std::unique_ptr<Engine> engine_;
    std::vector<RowPtr> gone_;  // ended by the engine during this call
};

}  // namespace dstm::kea
