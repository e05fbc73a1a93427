// See the header.
#include "kea-hook/dstm_query.hpp"

#include <algorithm>

#include <boost/make_shared.hpp>

namespace dstm::kea {

using isc::dhcp::ClientId;
using isc::dhcp::Lease;
using isc::dhcp::Lease4;
using isc::dhcp::Lease6;
using isc::dhcp::Pkt;

namespace {

void complete(const Memo& memo, Lease& row, const isc::data::ConstElementPtr& old_context) {
    row.setContext(merged_context(old_context, memo.user_context));
    row.cltt_ = memo.now;
    // RFC 8415 s21.6: Kea bounds each by the subnet's configuration, but not one by the other.
    if (auto* row6 = dynamic_cast<Lease6*>(&row)) {
        row6->preferred_lft_ = std::min(row6->preferred_lft_, row6->valid_lft_);
    }
    // A subnet with "match-client-id" off would store none.
    if (auto* row4 = dynamic_cast<Lease4*>(&row)) {
        row4->client_id_ = boost::make_shared<ClientId>(memo.client_id);
    }
    if (memo.name && !is_prefix(row)) row.hostname_ = memo.name(row.addr_);
}

}  // namespace

bool complete_selected_lease(const Pkt& query, Lease& row) {
    if (const auto* memo = dynamic_cast<const Memo*>(&query)) {
        const auto* row6 = dynamic_cast<const Lease6*>(&row);
        if (memo->prefix_length && row6 && row6->prefixlen_ != *memo->prefix_length) return false;
        complete(*memo, row, nullptr);
    } else if (is_ours(row)) {
        // An expired lease of ours, given to somebody else: Kea leaves the old context in it.
        row.setContext(without_our_mark(row.getContext()));
    }
    return true;
}

void complete_renewed_lease(const Pkt& query, Lease& row) {
    const auto* memo = dynamic_cast<const Memo*>(&query);
    if (memo == nullptr) return;
    complete(*memo, row, row.getContext());
    row.reuseable_valid_lft_ = 0;  // cache-threshold would keep the new context from the database
}

}  // namespace dstm::kea
