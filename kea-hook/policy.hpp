// Who gets which address: asks Kea's own allocation engine, so that pools, classes, reservations,
// lifetimes, statistics, DDNS and HA are Kea's. Bounded work for each request.
//
// Kea's main thread only, inside a critical section when Kea runs packet threads. The one file that
// needs Kea's largest headers is policy.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include <dhcpsrv/lease.h>

#include "kea-hook/free_addresses.hpp"
#include "kea-hook/kea_values.hpp"
#include "kea-hook/lease_store.hpp"
#include "kea-hook/reply.hpp"

namespace dstm::kea {

struct LeaseRequest {
    Bytes client_id;
    std::uint32_t subnet_id = 0;              // 0: the first that fits
    std::optional<std::uint32_t> address;     // wished for
    std::uint32_t valid_lifetime_s = 0;       // 0: the subnet's own
    std::optional<std::string> hostname;      // absent: as before, or the reservation's
    isc::data::ConstElementPtr user_context;  // may be null
    std::vector<std::string> classes;         // besides those that Kea's configuration gives
};

struct Grant {
    isc::dhcp::Lease4Ptr lease;
    bool reused = false;            // the client had it already
    isc::dhcp::Lease4Ptr replaced;  // another one of the client's, live or ended, gone now
};

class Policy {
public:
    explicit Policy(LeaseStore& store);
    ~Policy();

    [[nodiscard]] tl::expected<Grant, Refusal> allocate(const LeaseRequest& request);
    // `lease` is the client's own, live one.
    [[nodiscard]] tl::expected<Grant, Refusal> renew(const isc::dhcp::Lease4Ptr& lease,
                                                     const LeaseRequest& request);
    // False if it was gone already.
    bool release(const isc::dhcp::Lease4Ptr& lease);

    [[nodiscard]] FreeAddresses& free_addresses() { return free_; }

private:
    class Engine;
    struct Attempt;

    [[nodiscard]] std::optional<Grant> allocate_known(const LeaseRequest& request,
                                                      std::vector<Attempt>& attempts);
    [[nodiscard]] std::optional<Grant> allocate_free(const LeaseRequest& request,
                                                     std::vector<Attempt>& attempts);

    LeaseStore& store_;
    FreeAddresses free_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace dstm::kea
