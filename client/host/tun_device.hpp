// Takes away a TUN device that outlived its program.
#pragma once

#include <string>

#include "common/base/result.hpp"

namespace dstm::client {

// conflict: a living program holds it. invalid: it is no TUN device. Only to be called for a device
// that is there (it would be made and unmade otherwise).
[[nodiscard]] Result<void> remove_tun_device(const std::string& name);

}  // namespace dstm::client
