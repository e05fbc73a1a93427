// The hook's parameters in Kea's configuration, checked one by one. Knows the file system, for the
// folder of the socket; opens nothing.
#pragma once

#include <string>

#include <sys/types.h>

#include <cc/data.h>

#include "common/base/result.hpp"

namespace dstm::kea {

struct Parameters {
    std::string socket_name;  // path of the stream socket
    mode_t socket_mode = 0660;
};

// `parameters` may be null. The error's text names the parameter.
[[nodiscard]] Result<Parameters> read_parameters(const isc::data::ConstElementPtr& parameters);

}  // namespace dstm::kea
