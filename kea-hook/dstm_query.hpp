// The DHCP message that stands for one request to the hook: Kea's allocation engine and other hooks
// want one. It carries what the lease is to remember through Kea's own write.
#pragma once

#include <dhcp/dhcp4.h>
#include <dhcp/pkt4.h>
#include <dhcpsrv/lease.h>

#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

class DstmQuery : public isc::dhcp::Pkt4 {
public:
    DstmQuery(const Bytes& client_id, isc::data::ConstElementPtr user_context)
        : Pkt4(isc::dhcp::DHCPREQUEST, 0),
          client_id_(client_id),
          user_context_(std::move(user_context)) {}

    [[nodiscard]] const Bytes& client_id() const { return client_id_; }
    [[nodiscard]] const isc::data::ConstElementPtr& user_context() const { return user_context_; }

private:
    Bytes client_id_;
    isc::data::ConstElementPtr user_context_;
};

using DstmQueryPtr = boost::shared_ptr<DstmQuery>;

// lease4_select and lease4_renew: what is written into the lease just before Kea stores it. On any
// thread; the lease is the engine's own copy.
void complete_selected_lease(const isc::dhcp::Pkt4Ptr& query, const isc::dhcp::Lease4Ptr& lease);
void complete_renewed_lease(const isc::dhcp::Pkt4Ptr& query, const isc::dhcp::Lease4Ptr& lease);

}  // namespace dstm::kea
