// Names of clients in DNS, for both families: which name a lease gets, and what kea-dhcp-ddns is
// told. The client is taken for one that leaves all updates to the server, so that there is nothing
// for ddns-override-no-update and ddns-override-client-update to override.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include <dhcp_ddns/ncr_msg.h>
#include <dhcpsrv/host.h>
#include <dhcpsrv/srv_config.h>

#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

struct Name {
    std::string hostname;  // final; fully qualified where DNS is updated
    bool update = false;   // forward and reverse
    std::function<std::string(const IOAddress&)> from_address = {};  // instead of `hostname`
};

// `asked` is absent for "as before"; `held` is the client's live row, and `host` its reservation,
// if any.
[[nodiscard]] Name choose_name(const std::optional<std::string>& asked, const RowPtr& held,
                               const isc::dhcp::ConstHostPtr& host,
                               const isc::dhcp::DdnsParamsPtr& params);

// Queues nothing for a row without a name, or without the flags that say it was registered.
void queue_dns(isc::dhcp_ddns::NameChangeType change, const RowPtr& row);
// After a grant: `before` may be null.
void queue_dns_changes(const RowPtr& before, const RowPtr& row, bool on_renewal);

}  // namespace dstm::kea
