// Kea's values and ours, for both families: addresses, client identifiers, leases as JSON, and what
// of a lease's user-context belongs to DSTM. Pure; knows no lease database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <asiolink/io_address.h>
#include <cc/data.h>
#include <dhcp/hwaddr.h>
#include <dhcpsrv/lease.h>

#include "common/base/result.hpp"
#include "kea-hook/free_addresses.hpp"

namespace dstm::kea {

using Bytes = std::vector<std::uint8_t>;
using isc::asiolink::IOAddress;

// One row of Kea's lease database, of either family.
using RowPtr = isc::dhcp::LeasePtr;

// What one client holds. Both end together.
struct ClientLease {
    RowPtr address = nullptr;  // names the lease; null: the client holds nothing
    RowPtr prefix = nullptr;   // delegated (IA_PD); null in family 4
};

// "00:8f:1c", any case, one or two digits never mixed up: each byte has two.
[[nodiscard]] std::optional<Bytes> parse_hex_bytes(std::string_view text);

// A locally administered unicast address made from the client identifier: Kea looks leases up by
// it, and leases that share one make every look-up slower.
[[nodiscard]] isc::dhcp::HWAddrPtr hardware_address_of(const Bytes& client_id);

[[nodiscard]] Number to_number(const IOAddress& address);
[[nodiscard]] IOAddress to_address(Number number, int family);

// Live: given to a client now. Neither declined, nor reclaimed, nor past its end.
[[nodiscard]] bool is_live(const isc::dhcp::Lease& row);
// Marked with user-context.dstm.
[[nodiscard]] bool is_ours(const isc::dhcp::Lease& row);
[[nodiscard]] inline bool is_prefix(const isc::dhcp::Lease& row) {
    return row.getType() == isc::dhcp::Lease::TYPE_PD;
}
// The client identifier or DUID; empty when there is none.
[[nodiscard]] Bytes client_id_of(const isc::dhcp::Lease& row);
[[nodiscard]] RowPtr copy_of(const isc::dhcp::Lease& row);
// user-context.dstm.generation; 0 when there is none.
[[nodiscard]] std::int64_t generation_of(const isc::data::ConstElementPtr& user_context);

// `changes` over `old`, member by member, and always marked as ours. Either may be null.
[[nodiscard]] isc::data::ElementPtr merged_context(const isc::data::ConstElementPtr& old,
                                                   const isc::data::ConstElementPtr& changes);
// Null when nothing is left.
[[nodiscard]] isc::data::ElementPtr without_our_mark(const isc::data::ConstElementPtr& context);

// LEASE in docs/wire/kea-stream.md.
[[nodiscard]] isc::data::ElementPtr lease_to_element(const ClientLease& lease);

// The numbers that Kea's headers were compiled with here are those of the running library.
[[nodiscard]] Result<void> check_library_tables();

}  // namespace dstm::kea
