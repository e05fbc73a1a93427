// See the header. Both lease4-del and lease4-update can name a lease by address; -del also by
// subnet and identifier.
#include "kea-hook/operator_commands.hpp"

#include <optional>
#include <vector>

#include "common/base/ip_address.hpp"
#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

namespace {

using isc::data::ConstElementPtr;
using isc::data::Element;
using isc::dhcp::Lease4Ptr;

bool succeeded(const ConstElementPtr& response) {
    if (!response || response->getType() != Element::map) return false;
    const auto result = response->get("result");
    return result && result->getType() == Element::integer && result->intValue() == 0;
}

std::optional<std::uint32_t> address_in(const ConstElementPtr& arguments) {
    if (!arguments || arguments->getType() != Element::map) return std::nullopt;
    const auto text = arguments->get("ip-address");
    if (!text || text->getType() != Element::string) return std::nullopt;
    const auto address = Ipv4Address::parse(text->stringValue());
    return address ? std::optional(address->host_order()) : std::nullopt;
}

bool same_tunnel(const Lease4Ptr& before, const Lease4Ptr& after) {
    return after && is_live(*after) && is_ours(*after) && before->client_id_ && after->client_id_ &&
           *before->client_id_ == *after->client_id_ &&
           generation_of(after->getContext()) >= generation_of(before->getContext());
}

// A lease that was deleted, or given another meaning.
void check_one(std::uint32_t address, LeaseStore& store, EndingQueue& endings) {
    const auto before = store.ours(address);
    const auto after = store.find(address);
    if (before && !same_tunnel(before, after)) {
        store.forget(address);
        endings.push({EndingKind::deleted, before});
    }
    if (!after || !is_ours(*after) || !is_live(*after)) return;
    const bool unchanged = before && lease_to_element(*before)->equals(*lease_to_element(*after));
    store.note(after);
    if (!unchanged) endings.push({EndingKind::changed, nullptr});
}

// Deleted by something else than the address: whichever of ours is not there any more.
void check_all(LeaseStore& store, EndingQueue& endings) {
    std::vector<std::uint32_t> addresses;
    for (const auto& [address, lease] : store.ours()) addresses.push_back(address);
    for (const std::uint32_t address : addresses) {
        if (!store.find(address)) check_one(address, store, endings);
    }
}

}  // namespace

void follow_operator_command(const std::string& name, const ConstElementPtr& arguments,
                             const ConstElementPtr& response, LeaseStore& store,
                             EndingQueue& endings) {
    if (!succeeded(response)) return;
    if (name == "lease4-del" || name == "lease4-update" || name == "lease4-add") {
        if (const auto address = address_in(arguments)) {
            check_one(*address, store, endings);
        } else {
            check_all(store, endings);
        }
    } else if (name == "lease4-wipe" || name == "ha-sync") {
        endings.push({EndingKind::unknown, nullptr});
    }
}

}  // namespace dstm::kea
