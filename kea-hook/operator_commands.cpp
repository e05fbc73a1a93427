// See the header. -del and -update can name a lease by address; -del also by subnet and identifier.
#include "kea-hook/operator_commands.hpp"

#include <vector>

#include "common/base/ip_address.hpp"
#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

namespace {

using isc::data::ConstElementPtr;
using isc::data::Element;

bool succeeded(const ConstElementPtr& response) {
    if (!response || response->getType() != Element::map) return false;
    const auto result = response->get("result");
    return result && result->getType() == Element::integer && result->intValue() == 0;
}

void add_address(const ConstElementPtr& lease, std::vector<IOAddress>& addresses) {
    const auto text =
        lease && lease->getType() == Element::map ? lease->get("ip-address") : nullptr;
    if (!text || text->getType() != Element::string) return;
    if (const auto address = parse_ip_address(text->stringValue())) {
        addresses.emplace_back(to_string(*address));
    }
}

// Those that the command names: one, or in lease6-bulk-apply two lists of them.
std::vector<IOAddress> addresses_in(const ConstElementPtr& arguments) {
    std::vector<IOAddress> addresses;
    if (!arguments || arguments->getType() != Element::map) return addresses;
    add_address(arguments, addresses);
    for (const char* name : {"deleted-leases", "leases"}) {
        const auto list = arguments->get(name);
        if (!list || list->getType() != Element::list) continue;
        for (const auto& lease : list->listValue()) add_address(lease, addresses);
    }
    return addresses;
}

bool same_tunnel(const RowPtr& before, const RowPtr& after) {
    return after && is_live(*after) && is_ours(*after) &&
           client_id_of(*before) == client_id_of(*after) &&
           generation_of(after->getContext()) >= generation_of(before->getContext());
}

void check_prefix(const IOAddress& prefix, LeaseStore& store, EndingQueue& endings) {
    const auto before = store.ours_with_prefix(prefix).prefix;
    if (before && !same_tunnel(before, store.database().find_prefix(prefix))) {
        endings.push({EndingKind::deleted, {.address = {}, .prefix = before}});
    }
}

// A row that was deleted, or given another meaning.
void check_one(const IOAddress& address, LeaseStore& store, EndingQueue& endings) {
    check_prefix(address, store, endings);
    const auto before = store.ours(address);
    const auto row = store.database().find_address(address);
    if (before.address && !same_tunnel(before.address, row)) {
        endings.push({EndingKind::deleted, before});
    }
    if (!row || !is_ours(*row) || !is_live(*row)) return;
    const auto after = store.with_prefix(row);
    const bool unchanged =
        before.address && lease_to_element(before)->equals(*lease_to_element(after));
    store.note(after);
    if (!unchanged) endings.push({EndingKind::changed});
}

// Deleted by something else than the address: whichever of ours is not there any more.
void check_all(LeaseStore& store, EndingQueue& endings) {
    for (const auto& [address, lease] : LeaseStore::Ours(store.ours())) {
        if (!store.database().find_address(address)) check_one(address, store, endings);
        if (lease.prefix) check_prefix(lease.prefix->addr_, store, endings);
    }
}

}  // namespace

void follow_operator_command(const std::string& name, const ConstElementPtr& arguments,
                             const ConstElementPtr& response, LeaseStore& store,
                             EndingQueue& endings) {
    if (!succeeded(response)) return;
    const std::string prefix = store.family() == AF_INET ? "lease4-" : "lease6-";
    const std::string verb = name.starts_with(prefix) ? name.substr(prefix.size()) : std::string();
    if (verb == "del" || verb == "update" || verb == "add" || verb == "bulk-apply") {
        const auto addresses = addresses_in(arguments);
        for (const auto& address : addresses) check_one(address, store, endings);
        if (addresses.empty()) check_all(store, endings);
    } else if (verb == "wipe" || name == "ha-sync") {
        endings.push({EndingKind::unknown});
    }
}

}  // namespace dstm::kea
