// Keys that no daemon asked for.
#pragma once

#include <vector>

#include "common/config/node.hpp"

namespace dstm::config {

// Only inside objects that were read: an unknown object is one mistake, not many.
void find_unknown(const Node& root, std::vector<Mistake>& mistakes);

}  // namespace dstm::config
