// What engine4.cpp and engine6.cpp share: the classes and reservations of a query, as Kea's server
// finds them for a packet; subnets; and the hook point that Kea HA listens to.
#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include <boost/make_shared.hpp>

#include <dhcp/pkt.h>
#include <dhcpsrv/alloc_engine.h>
#include <dhcpsrv/cfgmgr.h>
#include <dhcpsrv/shared_network.h>
#include <hooks/hooks_manager.h>

#include "kea-hook/engine.hpp"
#include "kea-hook/names.hpp"

namespace dstm::kea {

// Addresses that Kea's engine looks at on its own after ours were refused.
inline constexpr std::uint64_t engine_attempts_max = 16;

inline constexpr const char* vendor_class = "dstm";

// All classes whose expression is true, in the order of the configuration; those that ask for KNOWN
// or UNKNOWN in a second pass.
void add_configured_classes(isc::dhcp::Pkt& query, bool depend_on_known);
// The classes that need no reservation.
void add_first_classes(isc::dhcp::Pkt& query, const std::vector<std::string>& classes);
void add_classes_of_host(isc::dhcp::Pkt& query, bool known,
                         const isc::dhcp::ClientClasses& host_classes);

// The subnet of that number and those of its shared network; all for 0.
template <class SharedNetwork, class Subnets>
[[nodiscard]] std::vector<SubnetPtr> subnets_of(const Subnets& subnets, std::uint32_t subnet_id) {
    if (subnet_id == 0) return {subnets.begin(), subnets.end()};
    std::vector<SubnetPtr> result;
    for (const auto& wanted : subnets) {
        if (wanted->getID() != subnet_id) continue;
        result.push_back(wanted);
        boost::shared_ptr<SharedNetwork> network;
        wanted->getSharedNetwork(network);
        if (!network) break;
        for (const auto& subnet : *network->getAllSubnets()) {
            if (subnet != wanted) result.push_back(subnet);
        }
        break;
    }
    return result;
}

// HA may keep the query for the partner's answer; nobody waits for it here.
template <class Lease, class PacketPtr>
void call_committed(const std::string& family, const PacketPtr& query,
                    const std::vector<RowPtr>& rows, const std::vector<RowPtr>& deleted) {
    using isc::hooks::CalloutHandle;
    using isc::hooks::HooksManager;
    using Leases = std::vector<boost::shared_ptr<Lease>>;
    const std::string point = "leases" + family + "_committed";
    const int index = isc::hooks::ServerHooks::getServerHooks().findIndex(point);
    if (index < 0 || !HooksManager::calloutsPresent(index)) return;
    const auto leases_of = [](const std::vector<RowPtr>& all) {
        const auto leases = boost::make_shared<Leases>();
        for (const auto& row : all) leases->push_back(boost::dynamic_pointer_cast<Lease>(row));
        return leases;
    };
    const auto handle = HooksManager::createCalloutHandle();
    handle->setArgument("query" + family, query);
    handle->setArgument("leases" + family, leases_of(rows));
    handle->setArgument("deleted_leases" + family, leases_of(deleted));
    HooksManager::park(point, query, [] {});
    try {
        HooksManager::callCallouts(index, *handle);
    } catch (...) {
        HooksManager::drop(point, query);
        throw;
    }
    if (handle->getStatus() != CalloutHandle::NEXT_STEP_PARK) HooksManager::drop(point, query);
}

}  // namespace dstm::kea
