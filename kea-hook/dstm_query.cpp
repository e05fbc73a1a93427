// See the header.
#include "kea-hook/dstm_query.hpp"

#include <boost/make_shared.hpp>

namespace dstm::kea {

using isc::dhcp::ClientId;
using isc::dhcp::Lease4Ptr;
using isc::dhcp::Pkt4Ptr;

void complete_selected_lease(const Pkt4Ptr& query, const Lease4Ptr& lease) {
    if (const auto ours = boost::dynamic_pointer_cast<DstmQuery>(query)) {
        lease->setContext(merged_context(nullptr, ours->user_context()));
        lease->client_id_ = boost::make_shared<ClientId>(ours->client_id());
    } else if (is_ours(*lease)) {
        // An expired lease of ours, given to somebody else: Kea leaves the old context in it.
        lease->setContext(without_our_mark(lease->getContext()));
    }
}

void complete_renewed_lease(const Pkt4Ptr& query, const Lease4Ptr& lease) {
    const auto ours = boost::dynamic_pointer_cast<DstmQuery>(query);
    if (!ours) return;
    lease->setContext(merged_context(lease->getContext(), ours->user_context()));
    lease->client_id_ = boost::make_shared<ClientId>(ours->client_id());
    lease->reuseable_valid_lft_ =
        0;  // cache-threshold would keep the new context from the database
}

}  // namespace dstm::kea
