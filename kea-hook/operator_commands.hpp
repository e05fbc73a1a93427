// Commands of Kea's lease_cmds library: what one of them, done by an operator or an HA partner,
// means for the leases that are ours. Kea tells a hook of them only afterwards, by name, arguments
// and response.
#pragma once

#include <string>

#include <cc/data.h>

#include "kea-hook/ending_queue.hpp"
#include "kea-hook/lease_store.hpp"

namespace dstm::kea {

// Pushes what ended. Throws isc::Exception when the lease database fails.
void follow_operator_command(const std::string& name, const isc::data::ConstElementPtr& arguments,
                             const isc::data::ConstElementPtr& response, LeaseStore& store,
                             EndingQueue& endings);

}  // namespace dstm::kea
